package commands

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/mock"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// TestWatchedList: whatever the width of the terminal, the list fits in it, and says what is
// in the way of each order and how many orders are missing.
func TestWatchedList(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var views []desk.OrderView
	add := func(id string, status coffee.OrderStatus, stage coffee.Stage, change func(*desk.OrderView)) {
		v := desk.OrderView{OrderState: coffee.OrderState{OrderID: id, Drink: "latte", Size: "M", AmountCents: 525, Stage: stage}, Status: status, StartedAt: now.Add(-3 * time.Second)}
		if status != coffee.StatusRunning {
			v.EndedAt = now
		}
		if change != nil {
			change(&v)
		}
		views = append(views, v)
	}
	add("1", coffee.StatusRunning, coffee.StageBrewing, func(v *desk.OrderView) { v.BrewAttempts = 2 })
	add("2", coffee.StatusRunning, coffee.StageBrewing, func(v *desk.OrderView) {
		v.BrewAttempts, v.LastFailure, v.NextAttemptAt = 1, "brew machine jammed", now.Add(time.Minute)
	})
	add("3", coffee.StatusRunning, coffee.StageBrewing, func(v *desk.OrderView) { v.WorkflowTaskFailure = "[TMPRL1100] it does not fit" })
	add("\x1b[2Jevil", coffee.StatusRunning, coffee.StageAccepted, func(v *desk.OrderView) { v.Drink = "caramel-macchiato" })
	add("4", coffee.StatusFailed, coffee.StageDone, func(v *desk.OrderView) { v.Failure = "the card was declined" })
	add("5", coffee.StatusCancelled, coffee.StageDone, func(v *desk.OrderView) { v.OrderID = strings.Repeat("五", 20) })
	whole := string(drawList(views, 60, noWorker, 0))
	for _, want := range []string{"ORDER", "WHY", "latte", "brewing, attempt 2", "next attempt in", "brew machine jammed", "[TMPRL1100] it does not fit", "the card was declined", `"\x1b[2Jevil"`, "\n54 more\n", noWorker.String()} {
		if !strings.Contains(whole, want) {
			t.Errorf("the list has no %q:\n%s", want, whole)
		}
	}
	if strings.Contains(whole, "\x1b") {
		t.Error("an order id commands the terminal")
	}
	for _, columns := range []int{200, 80, 40, 10, 1} {
		drawn := string(drawList(views, 60, noWorker, columns))
		if lines := strings.Count(drawn, "\n"); lines != len(views)+belowList-2 { // the error and the cursor have no line here
			t.Errorf("%d columns: %d lines", columns, lines)
		}
		for line := range strings.Lines(drawn) {
			if w := ansi.StringWidth(strings.TrimSuffix(line, "\n")); w > columns {
				t.Errorf("%d columns: a line of %d: %q", columns, w, line)
			}
		}
	}
	if drawn := string(drawList(nil, 0, desk.Waiting{}, 80)); drawn != "no orders\n" {
		t.Errorf("without orders: %q", drawn)
	}
}

// manyOrders is a server with orders, most of which run.
func manyOrders(running, ended int) *mocks.Client {
	var info []*workflowpb.WorkflowExecutionInfo
	for i := range running + ended {
		one := &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: fmt.Sprint("order-", i)}, Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, StartTime: timestamppb.New(time.Unix(int64(-i), 0))}
		if i >= running {
			one.Status = enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED
		}
		info = append(info, one)
	}
	server := &mocks.Client{}
	server.On("ListWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.ListWorkflowExecutionsResponse{Executions: info}, nil)
	server.On("CountWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.CountWorkflowExecutionsResponse{Count: int64(running + ended)}, nil)
	server.On("DescribeWorkflowExecution", mock.Anything, mock.Anything, mock.Anything).Return(&workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info[0]}, nil)
	return server
}

// TestWatchedRequests: however many orders run, a round looks up those that a terminal shows,
// and a few hundred where there is none.
func TestWatchedRequests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limit, rows int
		fill        bool
		shown, more int
		most        int // requests
	}{
		{10000, 0, false, 3500, 0, 200 + 3}, // and the list, and why the oldest waits
		{10000, 24, false, 24 - belowList, 3500 - 24 + belowList, 24 + 3},
		{20, 1000, true, 1000 - belowList, 3500 - 1000 + belowList, 200 + 4}, // and a count
		{20, 24, true, 24 - belowList, 3500 - 24 + belowList, 24 + 3},
		{5, 24, false, 5, 3495, 5 + 4},
		{5, 1, false, 1, 3499, 1 + 4},
	} {
		server := manyOrders(3000, 500)
		l := &watchedList{orders: desk.NewClient(server, "default"), options: desk.ListOptions{Limit: test.limit}, fill: test.fill}
		drawn, err := l.look(t.Context(), 120, test.rows)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(drawn); strings.Count(text, "\n") < test.shown || strings.Contains(text, " more\n") != (test.more > 0) || test.more > 0 && !strings.Contains(text, fmt.Sprintf("\n%d more\n", test.more)) {
			t.Errorf("%+v: it ends:\n%s", test, text[max(0, len(text)-200):])
		}
		if asked := len(server.Calls); asked > test.most {
			t.Errorf("%+v: a round takes %d requests", test, asked)
		}
	}
}

// TestWatchedBack: after an outage workers have some time to come back.
func TestWatchedBack(t *testing.T) {
	t.Parallel()
	server := &mocks.Client{}
	server.On("ListWorkflow", mock.Anything, mock.Anything).Return(nil, errors.New("gone"))
	l := &watchedList{orders: desk.NewClient(server, "default")}
	if drawn, err := l.look(t.Context(), 80, 24); err == nil || drawn != nil {
		t.Errorf("got %q, %v", drawn, err)
	}
	if got := l.diagnoser.Observe(time.Now(), false, noWorker).Diagnosis; got != desk.DiagnosisReconnecting {
		t.Errorf("got %v", got)
	}
}
