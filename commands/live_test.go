package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
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

func ordersOnScreen(now time.Time) (views []desk.OrderView) {
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
	add("1", coffee.StatusRunning, coffee.StageCharging, nil)
	add("2", coffee.StatusRunning, coffee.StageBrewing, func(v *desk.OrderView) { v.BrewAttempts = 2 })
	add("3", coffee.StatusRunning, coffee.StageBrewing, func(v *desk.OrderView) {
		v.BrewAttempts, v.LastFailure, v.NextAttemptAt = 1, "brew machine jammed", now.Add(time.Minute)
	})
	add("\x1b[2Jevil", coffee.StatusRunning, coffee.StageAccepted, nil)
	add("4", coffee.StatusCompleted, coffee.StageDone, nil)
	add("5", coffee.StatusCancelled, coffee.StageDone, func(v *desk.OrderView) { v.OrderID = strings.Repeat("五", 20) })
	return views
}

// TestLiveTable: whatever the size of the terminal, the table fits in it.
func TestLiveTable(t *testing.T) {
	now := time.Now()
	var m tea.Model = live{width: 100, height: 24}
	m, _ = m.Update(answer{views: ordersOnScreen(now)})
	text := ansi.Strip(m.(live).text(now))
	for _, want := range []string{"6 orders  1 accepted  1 charging  1 brewing  1 retrying  1 completed  1 cancelled", "ORDER", "latte M", "brewing, attempt 2", "brewing, next attempt in", "TOOK", "q quit", `"\x1b[2Jev`} {
		if !strings.Contains(text, want) {
			t.Errorf("the table has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(m.(live).text(now), "\x1b[2J") {
		t.Error("an order id clears the screen")
	}
	for _, size := range [][2]int{{200, 50}, {80, 24}, {80, 8}, {40, 10}, {10, 5}, {1, 1}, {0, 0}} {
		m, _ := m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		lines := strings.Split(m.(live).text(now), "\n")
		if len(lines) > max(size[1], 5) { // five lines are always there
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if w := ansi.StringWidth(line); w > size[0] {
				t.Errorf("%v: a line of %d columns: %q", size, w, line)
			}
		}
	}
	small, _ := m.Update(tea.WindowSizeMsg{Width: 80, Height: 8})
	if got := small.(live).text(now); !strings.Contains(got, "3 more do not fit") {
		t.Errorf("it does not say that orders are missing:\n%s", got)
	}
}

// TestLiveTroubles: without a server it says so, keeps what it shows, and goes on.
func TestLiveTroubles(t *testing.T) {
	now := time.Now()
	server := &fakeServer{err: errors.New("gone")}
	first := live{width: 80, height: 24, ctx: t.Context(), explain: func(err error) string { return "explained: " + err.Error() }, orders: server}
	if !strings.Contains(first.text(now), "asking the server") {
		t.Error("before there is an answer it should say that it is asking the server")
	}
	var m tea.Model = first
	m, _ = m.Update(answer{views: ordersOnScreen(now)})
	m, next := m.Update(first.ask())
	if server.asked != 1 || next == nil {
		t.Fatalf("the server was asked %d times", server.asked)
	}
	if text := m.(live).text(now); !strings.Contains(text, "explained: gone") || !strings.Contains(text, "latte M") {
		t.Errorf("without a server:\n%s", text)
	}
	_, again := m.Update(askAgain{})
	if again == nil || again().(answer).err == nil || server.asked != 2 {
		t.Errorf("the server was asked %d times", server.asked)
	}
	m, _ = m.Update(answer{})
	if text := m.(live).text(now); strings.Contains(text, "gone") || !strings.Contains(text, "no orders") {
		t.Errorf("with a server again:\n%s", text)
	}
	// A server that does not answer at all is noticed before the question times out.
	m, _ = m.Update(askAgain{})
	if text := m.(live).text(time.Now().Add(time.Second)); strings.Contains(text, "not answered") {
		t.Errorf("after a second:\n%s", text)
	}
	if text := m.(live).text(time.Now().Add(4 * time.Second)); !strings.Contains(text, "the server has not answered for 4 s") {
		t.Errorf("after four seconds:\n%s", text)
	}
	m, _ = m.Update(answer{})
	if text := m.(live).text(time.Now().Add(time.Minute)); strings.Contains(text, "not answered") {
		t.Errorf("after an answer:\n%s", text)
	}
	// After an outage workers have some time to come back.
	server.err, server.waits, server.views = nil, noWorker, ordersOnScreen(now)
	m, _ = m.Update(first.ask())
	if text := ansi.Strip(m.(live).text(now)); !strings.Contains(text, "the server is back; its workers reconnect within seconds") || strings.Contains(text, "coffee worker") {
		t.Errorf("after an outage:\n%s", text)
	}
	first.width = 120
	m, _ = first.Update(first.ask())
	if text := ansi.Strip(m.(live).text(now)); !strings.Contains(text, noWorker.String()+"; q quit") {
		t.Errorf("without a worker:\n%s", text)
	}
	server.waits, server.views[0].WorkflowTaskFailure = desk.Waiting{}, "[TMPRL1100] it does not fit"
	m, _ = live{width: 150, height: 24, ctx: t.Context(), orders: server}.Update(first.ask())
	if text := ansi.Strip(m.(live).text(now)); !strings.Contains(text, "[TMPRL1100] it does not fit") || strings.Contains(text, "no worker") {
		t.Errorf("with code that does not fit:\n%s", text)
	}
	for key, want := range map[tea.KeyPressMsg]bool{{Code: 'q', Text: "q"}: true, {Code: tea.KeyEscape}: true, {Code: 'c', Mod: tea.ModCtrl}: true, {Code: 'x', Text: "x"}: false} {
		_, cmd := m.Update(key)
		if quits := cmd != nil; quits != want {
			t.Errorf("the key %v leaves: %v", key, quits)
		}
	}
}

// TestLiveTotals: the title counts all orders, and says of how many it knows the stage.
func TestLiveTotals(t *testing.T) {
	now := time.Now()
	server := &fakeServer{views: ordersOnScreen(now), count: 10000}
	m := live{width: 120, height: 24, ctx: t.Context(), orders: server, options: desk.ListOptions{Limit: len(server.views)}}
	after, _ := m.Update(m.ask())
	if text, want := ansi.Strip(after.(live).text(now)), fmt.Sprintf("10000 orders; of %d:  ", len(server.views)); !strings.HasPrefix(text, want) {
		t.Errorf("it begins:\n%s", text)
	}
	m.options.Limit++ // then these are all
	after, _ = m.Update(m.ask())
	if text, want := ansi.Strip(after.(live).text(now)), fmt.Sprintf("%d orders  ", len(server.views)); !strings.HasPrefix(text, want) {
		t.Errorf("it begins:\n%s", text)
	}
}

// TestLiveRequests: however many orders run, a round looks up a few hundred of them, and
// counts all.
func TestLiveRequests(t *testing.T) {
	t.Parallel()
	const running, ended = 3000, 500
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
	server.On("DescribeWorkflowExecution", mock.Anything, mock.Anything, mock.Anything).Return(&workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info[0]}, nil)
	m := live{width: 120, height: 24, ctx: t.Context(), orders: desk.NewClient(server, "default"), options: desk.ListOptions{Limit: 10000}}
	after, _ := m.Update(m.ask())
	if want, text := "3500 orders  3000 running  500 failed", ansi.Strip(after.(live).text(time.Now())); !strings.HasPrefix(text, want) {
		t.Errorf("it begins:\n%.200s", text)
	}
	if asked := len(server.Calls); asked < 200 || asked > 203 { // the list, 200 orders, and why the oldest waits
		t.Errorf("a round takes %d requests", asked)
	}
}

// fakeServer is a server with orders.
type fakeServer struct {
	views []desk.OrderView
	waits desk.Waiting
	err   error
	asked int
	count int
}

func (f *fakeServer) List(context.Context, desk.ListOptions) ([]desk.OrderView, error) {
	f.asked++
	return f.views, f.err
}

func (f *fakeServer) AddDetails(context.Context, []desk.OrderView) error { return nil }

func (f *fakeServer) Count(context.Context, desk.ListOptions) (int, error) { return f.count, nil }

func (f *fakeServer) Waiting(context.Context, string) (desk.Waiting, error) { return f.waits, nil }

// TestLiveDrink: a long name of a drink leaves room for its size.
func TestLiveDrink(t *testing.T) {
	t.Parallel()
	column := liveColumns[1]
	var view desk.OrderView
	view.Drink, view.Size = "caramel-macchiato", "L"
	got := cell(column.value(view), column.width)
	if got != "caramel-macc… L " {
		t.Errorf("got %q", got)
	}
}
