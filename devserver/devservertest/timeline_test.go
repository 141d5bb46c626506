package devservertest_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/devserver/devservertest"
	"example.com/coffee/timeline"
)

func act(_ context.Context, how string) (string, error) {
	switch how {
	case "fail":
		return "", temporal.NewNonRetryableApplicationError("out of milk", "Milk", nil)
	case "jam":
		return "", errors.New("jammed")
	}
	return how, nil
}

// flaky fails twice.
func flaky(ctx context.Context) error {
	if attempt(ctx) < 3 {
		return errors.New("jammed")
	}
	return nil
}

func withActivities(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
}

func do(ctx workflow.Context, how string) error {
	return workflow.ExecuteActivity(withActivities(ctx), act, how).Get(ctx, nil)
}

func wfSteps(ctx workflow.Context) error {
	if err := workflow.Sleep(ctx, time.Hour); err != nil {
		return err
	}
	if err := do(ctx, "go"); err != nil {
		return err
	}
	return workflow.ExecuteActivity(withActivities(ctx), flaky).Get(ctx, nil)
}

func wfFail(ctx workflow.Context) error { return do(ctx, "fail") }

func wfChildren(ctx workflow.Context) error {
	good := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: "good"}), wfVersions)
	bad := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: "bad"}), wfFail)
	if err := good.Get(ctx, nil); err != nil {
		return err
	}
	if bad.Get(ctx, nil) == nil {
		return errors.New("the child that fails did not")
	}
	again := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: "good", WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE}), wfVersions)
	if again.Get(ctx, nil) == nil {
		return errors.New("the same child was started twice")
	}
	return nil
}

func wfVersions(ctx workflow.Context) error {
	workflow.GetVersion(ctx, "roast", workflow.DefaultVersion, 1)
	workflow.SideEffect(ctx, func(workflow.Context) any { return 1 })
	if err := workflow.UpsertMemo(ctx, map[string]any{"note": "hot"}); err != nil {
		return err
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, temporal.NewSearchAttributeKeyKeyword("TemporalNamespaceDivision").ValueSet("x")); err != nil {
		workflow.GetLogger(ctx).Warn("no search attribute", "error", err)
	}
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 10 * time.Second})
	return workflow.ExecuteLocalActivity(ctx, act, "go").Get(ctx, nil)
}

func wfUpdates(ctx workflow.Context) error {
	done := false
	err := errors.Join(
		workflow.SetUpdateHandler(ctx, "resize", func(ctx workflow.Context, how string) error { return do(ctx, how) }),
		workflow.SetUpdateHandlerWithOptions(ctx, "refuse", func(workflow.Context) error { return nil },
			workflow.UpdateHandlerOptions{Validator: func(workflow.Context) error { return errors.New("too late") }}))
	if err != nil {
		return err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		workflow.GetSignalChannel(ctx, "finish").Receive(ctx, nil)
		done = true
	})
	return workflow.Await(ctx, func() bool { return done })
}

func wfCancel(ctx workflow.Context) error {
	err := workflow.Sleep(ctx, 24*time.Hour)
	if cleaning := do(must(workflow.NewDisconnectedContext(ctx)), "clean"); cleaning != nil {
		return cleaning
	}
	return err
}

func must(ctx workflow.Context, _ workflow.CancelFunc) workflow.Context { return ctx }

func wfLoop(ctx workflow.Context, n int) error {
	if n > 0 {
		return workflow.NewContinueAsNewError(ctx, wfLoop, n-1)
	}
	return nil
}

func wfPanic(workflow.Context) error { panic("nobody thought of this") }

func wfOthers(ctx workflow.Context) error {
	_ = workflow.SignalExternalWorkflow(ctx, "nobody", "", "hello", nil).Get(ctx, nil)
	return workflow.RequestCancelExternalWorkflow(ctx, "nobody", "").Get(ctx, nil)
}

func wfWait(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Hour}})
	return workflow.ExecuteActivity(ctx, act, "jam").Get(ctx, nil)
}

// rows are the rows of a timeline without their times.
func rows(t timeline.Timeline) string {
	var b strings.Builder
	for _, row := range t.Rows {
		fmt.Fprintf(&b, "%s %s %s: %s\n", row.Kind, row.Name, row.State, row.Outcome)
	}
	return b.String() + strings.TrimSuffix(t.Status+": "+t.Ending, ": ")
}

func TestTimelineOfAnyWorkflow(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := devservertest.Start(t)
	s.Worker("any", func(r worker.Registry) {
		for _, wf := range []any{wfSteps, wfFail, wfChildren, wfVersions, wfUpdates, wfCancel, wfLoop, wfPanic, wfOthers, wfWait} {
			r.RegisterWorkflow(wf)
		}
		r.RegisterActivity(act)
		r.RegisterActivity(flaky)
	}, func(o *worker.Options) { o.WorkflowPanicPolicy = worker.BlockWorkflow })
	c := s.SkipTime()
	begin := func(c client.Client, id string, wf any, args ...any) client.WorkflowRun {
		t.Helper()
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "any"}, wf, args...)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	fetch := func(run client.WorkflowRun) timeline.Timeline {
		t.Helper()
		history, err := timeline.Fetch(ctx, c, run.GetID(), run.GetRunID())
		if err != nil {
			t.Fatal(err)
		}
		return timeline.New(history)
	}
	drawn := map[string]timeline.Timeline{}
	over := func(run client.WorkflowRun) {
		_ = run.Get(ctx, nil) // its timeline says how it ended
		drawn[run.GetID()] = fetch(run)
	}
	over(begin(c, "steps", wfSteps))
	over(begin(c, "children", wfChildren))
	over(begin(c, "versions", wfVersions))
	over(begin(c, "others", wfOthers))

	looping := begin(c, "loop", wfLoop, 1)
	_ = looping.GetWithOptions(ctx, nil, client.WorkflowRunGetOptions{DisableFollowingRuns: true})
	drawn["loop, first run"] = fetch(looping)
	over(c.GetWorkflow(ctx, "loop", ""))

	updated := begin(s.Client(), "updates", wfUpdates)
	for _, update := range []client.UpdateWorkflowOptions{{UpdateName: "resize", Args: []any{"L"}}, {UpdateName: "resize", Args: []any{"fail"}}, {UpdateName: "refuse"}} {
		update.WorkflowID, update.WaitForStage = "updates", client.WorkflowUpdateStageCompleted
		handle, err := c.UpdateWorkflow(ctx, update)
		if err == nil {
			_ = handle.Get(ctx, nil)
		}
	}
	if err := c.SignalWorkflow(ctx, "updates", "", "finish", nil); err != nil {
		t.Fatal(err)
	}
	over(updated)

	cancelled := begin(s.Client(), "cancelled", wfCancel)
	eventually(t, func() bool { return strings.Contains(rows(fetch(cancelled)), "timer") })
	if err := c.CancelWorkflow(ctx, "cancelled", ""); err != nil {
		t.Fatal(err)
	}
	over(cancelled)

	for _, stuck := range []struct {
		id   string
		wf   any
		says string
	}{{"panics", wfPanic, "nobody thought of this"}, {"terminated", wfWait, "attempt 2 follows"}} {
		run := begin(s.Client(), stuck.id, stuck.wf)
		eventually(t, func() bool { return strings.Contains(rows(fetch(run)), stuck.says) })
		drawn[stuck.id+", running"] = fetch(run)
		if err := c.TerminateWorkflow(ctx, stuck.id, "", "enough"); err != nil {
			t.Fatal(err)
		}
		over(run)
	}

	reset, err := c.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{Namespace: "default", Reason: "once more",
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "versions"}, WorkflowTaskFinishEventId: 4})
	if err != nil {
		t.Fatal(err)
	}
	over(c.GetWorkflow(ctx, "versions", reset.GetRunId()))

	for name, want := range anyRows {
		line := drawn[name]
		if got := varying.ReplaceAllString(rows(line), "…"); got != strings.TrimSpace(want) {
			t.Errorf("%s:\n%s\nnot\n%s", name, got, want)
		}
		var text strings.Builder
		if err := line.WriteText(&text, timeline.TextOptions{}); err != nil {
			t.Error(err)
		}
		for _, column := range strings.Split(text.String(), "\n") {
			if utf8.RuneCountInString(column) > 80 {
				t.Errorf("%s: a line is wider than 80 columns: %s", name, column)
			}
		}
	}
	if len(drawn) != len(anyRows) {
		t.Errorf("%d workflows are drawn, and %d are told", len(drawn), len(anyRows))
	}
}

// varying is what differs from run to run: ids, and how long the start of the second run of a
// loop is put off.
var varying = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d\.\d s\b`)

// anyRows are the rows of the workflows.
var anyRows = map[string]string{
	"steps": `
timer timer ok: of 1h00m: fired
step act ok: done
step flaky ok: done at attempt 3
attempt attempt 1 failed: failed
backoff backoff waiting: 
attempt attempt 2 failed: jammed
backoff backoff waiting: 
attempt attempt 3 ok: done
COMPLETED: completed`,
	"children": `
child wfVersions ok: child good: done
child wfFail failed: child bad: out of milk
child wfVersions failed: child good: workflow already exists
COMPLETED: completed`,
	"updates": `
update resize ok: update: done
step act ok: done
update resize failed: update: out of milk
step act failed: out of milk
moment signal ok: finish
COMPLETED: completed`,
	"cancelled": `
timer timer cancelled: of 1d00h: cancelled
moment cancel cancelled: requested
step act ok: done
CANCELED: cancelled`,
	"versions": `
moment reset waiting: back to this point
mark version ok: roast is 1
mark search attribute ok: TemporalChangeVersion
mark side effect ok: 
mark memo ok: note
mark search attribute ok: TemporalNamespaceDivision
mark local activity ok: act
COMPLETED: completed`,
	"others": `
moment send signal failed: hello to nobody: external workflow execution not found
moment send cancel failed: to nobody: external workflow execution not found
FAILED: failed: unknown external workflow execution`,
	"loop, first run": `
CONTINUED_AS_NEW: continued as new in run …`,
	"loop": `
moment continued ok: from run …
timer start delay ok: of …
COMPLETED: completed`,
	"panics, running": `
moment worker failed failed: nobody thought of this
RUNNING`,
	"panics": `
moment worker failed failed: nobody thought of this
TERMINATED: terminated: enough`,
	"terminated, running": `
step act running: under way
attempt attempt 1 failed: jammed
backoff backoff waiting: attempt 2 follows
RUNNING`,
	"terminated": `
step act cancelled: the workflow ended
attempt attempt 1 failed: jammed
backoff backoff cancelled: the workflow ended
TERMINATED: terminated: enough`,
}
