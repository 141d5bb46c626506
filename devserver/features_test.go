package devserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"
)

// patient is a workflow that answers queries and updates, and ends after a signal.
func patient(ctx workflow.Context, name string) (string, error) {
	state := "waiting"
	if err := workflow.SetQueryHandler(ctx, "state", func() (string, error) { return state, nil }); err != nil {
		return "", err
	}
	// An update is a signal with an answer. The validator refuses it before anything is
	// recorded; it must not change the workflow's state.
	err := workflow.SetUpdateHandlerWithOptions(ctx, "rename", func(_ workflow.Context, to string) (string, error) {
		old := name
		name = to
		return old, nil
	}, workflow.UpdateHandlerOptions{Validator: func(to string) error {
		if to == "" {
			return errors.New("a name is needed")
		}
		return nil
	}})
	if err != nil {
		return "", err
	}
	// Wait for the signal.
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	state = "going"
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	var greeting string
	if err := workflow.ExecuteActivity(ctx, "greet", name).Get(ctx, &greeting); err != nil {
		return "", err
	}
	if err := workflow.ExecuteChildWorkflow(ctx, "child", 1).Get(ctx, nil); err != nil {
		return "", err
	}
	return greeting, workflow.Sleep(ctx, time.Millisecond)
}

// child continues as new: its run ends, and another begins under the same id with an
// empty history. So a workflow can go on for ever, and stay below the limits of a history.
func child(ctx workflow.Context, left int) error {
	if left > 0 {
		return workflow.NewContinueAsNewError(ctx, "child", left-1)
	}
	return nil
}

func greet(_ context.Context, name string) (string, error) { return "hello " + name, nil }

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ok, err := condition()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: it never came: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestFeatures checks that what people use a server for works, in spite of what
// makes this one fast.
func TestFeatures(t *testing.T) {
	t.Parallel()
	attributes := map[string]enumspb.IndexedValueType{
		"Seat": enumspb.INDEXED_VALUE_TYPE_KEYWORD, "Guests": enumspb.INDEXED_VALUE_TYPE_INT, "Wishes": enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
		"Remark": enumspb.INDEXED_VALUE_TYPE_TEXT, "Due": enumspb.INDEXED_VALUE_TYPE_DATETIME,
	}
	for database, options := range map[string]Options{
		"memory": {UI: true},
		"file":   {UI: true, DatabaseFile: "x.db"},
	} {
		for way, clientOptions := range waysIn {
			t.Run(database+", "+way, func(t *testing.T) {
				t.Parallel()
				options := options
				if options.DatabaseFile != "" {
					options.DatabaseFile = filepath.Join(t.TempDir(), options.DatabaseFile)
				}
				options.SearchAttributes = attributes
				// A workflow is deleted when the end of it is known to be over and done with,
				// which is looked at every 30 s otherwise.
				options.DynamicConfig = map[string]any{"history.transferProcessorUpdateAckInterval": "100ms", "history.visibilityProcessorUpdateAckInterval": "100ms"}
				server, _ := startTalking(t, options)
				testFeatures(t, server, clientOptions(server))
			})
		}
	}
}

func testFeatures(t *testing.T, server *Server, options client.Options) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := connect(t, options)
	startWorker := func(queue string, options worker.Options) worker.Worker {
		w := worker.New(c, queue, options)
		w.RegisterWorkflow(patient)
		w.RegisterWorkflow(child)
		w.RegisterActivity(greet)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
		return w
	}
	const queue = "features"
	startWorker(queue, worker.Options{})
	begin := func(t *testing.T, options client.StartWorkflowOptions) client.WorkflowRun {
		t.Helper()
		if options.ID == "" {
			options.ID = uuid.NewString()
		}
		if options.TaskQueue == "" {
			options.TaskQueue = queue
		}
		run, err := c.ExecuteWorkflow(ctx, options, patient, "world")
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	count := func(query string) (int64, error) {
		got, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		return got.GetCount(), err
	}

	t.Run("query, update, signal, activity, child, timer", func(t *testing.T) {
		run := begin(t, client.StartWorkflowOptions{})
		value, err := c.QueryWorkflow(ctx, run.GetID(), "", "state")
		var state string
		if err == nil {
			err = value.Get(&state)
		}
		if err != nil || state != "waiting" {
			t.Errorf("the state is %q, %v", state, err)
		}
		update, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "rename", Args: []any{"moon"},
			WaitForStage: client.WorkflowUpdateStageCompleted})
		var old string
		if err == nil {
			err = update.Get(ctx, &old)
		}
		if err != nil || old != "world" {
			t.Errorf("it was %q, %v", old, err)
		}
		update, err = c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: "rename", Args: []any{""},
			WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = update.Get(ctx, nil)
		}
		if err == nil || !strings.Contains(err.Error(), "a name is needed") {
			t.Errorf("an update that was refused: %v", err)
		}
		if err := c.SignalWorkflow(ctx, run.GetID(), "", "go", nil); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := run.Get(ctx, &got); err != nil || got != "hello moon" {
			t.Errorf("got %q, %v", got, err)
		}
	})

	t.Run("search attributes, lists and counts", func(t *testing.T) {
		seat := temporal.NewSearchAttributeKeyKeyword("Seat").ValueSet("by the window")
		run := begin(t, client.StartWorkflowOptions{ID: "searched", TypedSearchAttributes: temporal.NewSearchAttributes(seat,
			temporal.NewSearchAttributeKeyInt64("Guests").ValueSet(4), temporal.NewSearchAttributeKeyKeywordList("Wishes").ValueSet([]string{"quiet", "light"}),
			temporal.NewSearchAttributeKeyString("Remark").ValueSet("a very quick brown fox"),
			temporal.NewSearchAttributeKeyTime("Due").ValueSet(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)))})
		for _, query := range []string{
			`Seat = 'by the window'`, `Guests > 3 AND Guests < 5`, `Wishes = 'light'`, `Wishes IN ('dark', 'quiet')`, `Remark = 'brown'`, `Due < '2027-01-01T00:00:00Z'`,
			`WorkflowId = 'searched'`, `WorkflowId STARTS_WITH 'sea'`, `WorkflowType = 'patient' AND ExecutionStatus = 'Running' AND Seat IS NOT NULL`,
			`TaskQueue = 'features' AND Guests BETWEEN 1 AND 9`,
		} {
			eventually(t, query, func() (bool, error) {
				n, err := count(query)
				return n == 1, err
			})
			list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
			if err != nil || len(list.GetExecutions()) != 1 || list.GetExecutions()[0].GetExecution().GetRunId() != run.GetRunID() {
				t.Errorf("%s lists %v, %v", query, list.GetExecutions(), err)
			}
		}
		for _, query := range []string{`Seat = 'in the cellar'`, `Guests > 4`, `Remark = 'slow'`, `Wishes = 'l'`} {
			if n, err := count(query); n != 0 || err != nil {
				t.Errorf("%s counts %d, %v", query, n, err)
			}
		}
		if err := c.TerminateWorkflow(ctx, run.GetID(), "", "enough"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the status", func() (bool, error) {
			grouped, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: `Seat = 'by the window' GROUP BY ExecutionStatus`})
			return len(grouped.GetGroups()) == 1 && strings.Contains(grouped.GetGroups()[0].String(), "Terminated"), err
		})
	})

	t.Run("search attribute added later", func(t *testing.T) {
		_, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: "default",
			SearchAttributes: map[string]enumspb.IndexedValueType{"Later": enumspb.INDEXED_VALUE_TYPE_BOOL}})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "Later", func() (bool, error) {
			_, err := count(`Later = true`)
			return err == nil, err
		})
	})

	// A schedule starts workflows by a calendar or at intervals. What is started has the
	// schedule's workflow id with the time appended.
	t.Run("schedule", func(t *testing.T) {
		handle, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: "hourly", Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
			Action: &client.ScheduleWorkflowAction{ID: "scheduled", Workflow: child, Args: []any{1}, TaskQueue: queue}})
		if err != nil {
			t.Fatal(err)
		}
		if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the scheduled workflow", func() (bool, error) {
			n, err := count(`WorkflowId STARTS_WITH 'scheduled' AND ExecutionStatus = 'Completed'`)
			return n == 1, err
		})
		if err := handle.Pause(ctx, client.SchedulePauseOptions{}); err != nil {
			t.Error(err)
		}
		eventually(t, "the schedule", func() (bool, error) {
			described, err := handle.Describe(ctx)
			return err == nil && described.Info.NumActions == 1 && described.Schedule.State.Paused, err
		})
		eventually(t, "the list of schedules", func() (bool, error) {
			list, err := c.ScheduleClient().List(ctx, client.ScheduleListOptions{})
			return err == nil && list.HasNext(), err
		})
		if err := handle.Delete(ctx); err != nil {
			t.Error(err)
		}
	})

	t.Run("batch operation", func(t *testing.T) {
		for i := range 3 {
			begin(t, client.StartWorkflowOptions{ID: fmt.Sprint("batch-", i)})
		}
		eventually(t, "three", func() (bool, error) {
			n, err := count(`WorkflowId STARTS_WITH 'batch-'`)
			return n == 3, err
		})
		_, err := c.WorkflowService().StartBatchOperation(ctx, &workflowservice.StartBatchOperationRequest{Namespace: "default", JobId: "job", Reason: "test",
			VisibilityQuery: `WorkflowId STARTS_WITH 'batch-'`,
			Operation:       &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{}}})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the batch", func() (bool, error) {
			n, err := count(`WorkflowId STARTS_WITH 'batch-' AND ExecutionStatus = 'Terminated'`)
			return n == 3, err
		})
		eventually(t, "the end of the batch", func() (bool, error) {
			got, err := c.WorkflowService().DescribeBatchOperation(ctx, &workflowservice.DescribeBatchOperationRequest{Namespace: "default", JobId: "job"})
			return got.GetState() == enumspb.BATCH_OPERATION_STATE_COMPLETED && got.GetCompleteOperationCount() == 3, err
		})
	})

	t.Run("worker deployment", func(t *testing.T) {
		version := worker.WorkerDeploymentVersion{DeploymentName: "cafe", BuildID: "1.0"}
		startWorker("deployed", worker.Options{DeploymentOptions: worker.DeploymentOptions{UseVersioning: true, Version: version,
			DefaultVersioningBehavior: workflow.VersioningBehaviorPinned}})
		handle := c.WorkerDeploymentClient().GetHandle("cafe")
		eventually(t, "the version", func() (bool, error) {
			_, err := handle.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: "1.0"})
			return err == nil, err
		})
		run := begin(t, client.StartWorkflowOptions{TaskQueue: "deployed"})
		if err := c.SignalWorkflow(ctx, run.GetID(), "", "go", nil); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := run.Get(ctx, &got); err != nil || got != "hello world" {
			t.Errorf("got %q, %v", got, err)
		}
		described, err := c.DescribeWorkflowExecution(ctx, run.GetID(), "")
		if info := described.GetWorkflowExecutionInfo().GetVersioningInfo(); err != nil || info.GetDeploymentVersion().GetBuildId() != "1.0" {
			t.Errorf("it ran on %v, %v", info, err)
		}
	})

	t.Run("reset", func(t *testing.T) {
		run := begin(t, client.StartWorkflowOptions{ID: "reset"})
		for range 2 { // the second signal goes to the new run
			if err := c.SignalWorkflow(ctx, "reset", "", "go", nil); err != nil {
				t.Fatal(err)
			}
			if err := c.GetWorkflow(ctx, "reset", "").Get(ctx, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{Namespace: "default",
				WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "reset"}, Reason: "again", RequestId: uuid.NewString(),
				WorkflowTaskFinishEventId: 4, ResetReapplyExcludeTypes: []enumspb.ResetReapplyExcludeType{enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL}}); err != nil {
				t.Fatal(err)
			}
		}
		if now := c.GetWorkflow(ctx, "reset", ""); now.GetRunID() == run.GetRunID() {
			t.Error("it is the same run")
		}
		if err := c.CancelWorkflow(ctx, "reset", ""); err != nil {
			t.Error(err)
		}
	})

	// What else the Temporal CLI asks for.
	t.Run("operator", func(t *testing.T) {
		service := c.WorkflowService()
		if _, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: "second",
			WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)}); err != nil {
			t.Error(err)
		}
		if _, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "second"}); err != nil {
			t.Error(err)
		}
		if _, err := service.GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{}); err != nil {
			t.Error(err)
		}
		if _, err := service.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); err != nil {
			t.Error(err)
		}
		queues, err := service.DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{Namespace: "default",
			TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW})
		if err != nil || len(queues.GetPollers()) == 0 {
			t.Errorf("the pollers are %v, %v", queues.GetPollers(), err)
		}
		if _, err := c.OperatorService().ListNexusEndpoints(ctx, &operatorservice.ListNexusEndpointsRequest{}); err != nil {
			t.Error(err)
		}
		history := c.GetWorkflowHistory(ctx, "reset", "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		event, err := history.Next()
		if err != nil || event.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED {
			t.Errorf("the first event is %v, %v", event, err)
		}
		reverse, err := service.GetWorkflowExecutionHistoryReverse(ctx, &workflowservice.GetWorkflowExecutionHistoryReverseRequest{Namespace: "default",
			Execution: &commonpb.WorkflowExecution{WorkflowId: "searched"}})
		if err != nil || reverse.GetHistory().GetEvents()[0].GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED {
			t.Errorf("the last event is %v, %v", reverse, err)
		}
		if _, err := service.DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{Namespace: "default",
			WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "searched"}}); err != nil {
			t.Error(err)
		}
		eventually(t, "the deletion", func() (bool, error) {
			_, err := c.DescribeWorkflowExecution(ctx, "searched", "")
			var gone *serviceerror.NotFound
			n, _ := count(`WorkflowId = 'searched'`)
			return errors.As(err, &gone) && n == 0, err
		})
	})

	t.Run("Web UI", func(t *testing.T) {
		for path, want := range map[string]string{"/": "<!doctype html>", "/api/v1/namespaces/default/workflows?query=WorkflowId%3D'reset'": `"workflowId": "reset"`} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.UIURL()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				t.Errorf("%s: %s, %v\n%.300s", path, response.Status, err, body)
			}
		}
	})
}
