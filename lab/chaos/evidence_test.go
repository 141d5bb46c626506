//go:build unix

package chaos

import (
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/lab/chaos/operations"
)

// TestJams: the machine jams in a run as it does for anybody: with seed 3, the first attempt
// to brew order 123 jams, and the second does not.
func TestJams(t *testing.T) {
	t.Parallel()
	if !jams(3, "123", 1) || jams(3, "123", 2) {
		t.Error("it jams at other attempts")
	}
}

// TestUnexcused: an operator who terminated or deleted an order is to blame for what comes
// of that, for that order alone, and until the next repair.
func TestUnexcused(t *testing.T) {
	t.Parallel()
	deleted, settleable := audit.Breach{Rule: audit.RuleOwner}, audit.Breach{Rule: audit.RuleNet, Settleable: true}
	for _, test := range []struct {
		breach   audit.Breach
		touched  operations.Kind
		repaired bool
		excused  bool
	}{
		{deleted, operations.Delete, true, true},
		{deleted, operations.Terminate, false, false},
		{audit.Breach{Rule: audit.RuleNet}, operations.Delete, false, false},
		{settleable, operations.Terminate, false, true},
		{settleable, operations.Terminate, true, false},
		{settleable, operations.Reset, false, false},
		{audit.Breach{Rule: audit.RuleNet}, operations.Terminate, false, false},
	} {
		test.breach.OrderID = "1"
		for _, id := range []string{"1", "2"} {
			got := touched{id: {test.touched}}.unexcused(&audit.Report{Breaches: []audit.Breach{test.breach}}, test.repaired)
			if (len(got) == 0) != (test.excused && id == "1") {
				t.Errorf("%+v, touched %s: %+v", test, id, got)
			}
		}
	}
}

func TestNeedless(t *testing.T) {
	t.Parallel()
	got := touched{"1": {operations.Terminate}, "2": {operations.Reset}}.needless([]audit.Repair{{OrderID: "1"}, {OrderID: "2"}})
	if len(got) != 1 || !strings.HasPrefix(got[0], "order 2 had to be settled") {
		t.Errorf("got %q", got)
	}
}

// TestSetbacks: with seed 7 all five attempts to brew order 24 jam, and with seed 3 none for
// order 3.
func TestSetbacks(t *testing.T) {
	t.Parallel()
	began := time.Now()
	failure := func(kind string) *failurepb.Failure {
		return &failurepb.Failure{FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: kind}}}
	}
	jammed, refused, broken := failure(coffee.ErrorTypeJammed), failure(coffee.ErrorTypeRefused), failure("")
	timeout := &failurepb.Failure{FailureInfo: &failurepb.Failure_TimeoutFailureInfo{TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{}}}
	step := func(name string, attempts int, before, last *failurepb.Failure) history {
		return history{failed: true, steps: []time.Time{began}, givenUp: []givenUp{{name, attempts, "2", began, began.Add(30 * time.Second), began.Add(40 * time.Second), before, last}}}
	}
	const charge, brew = coffee.ActivityChargeCustomer, coffee.ActivityBrewCoffee
	at := func(kind kind, victim int, after, pause time.Duration) injectedFault {
		return injectedFault{fault{kind: kind, victim: victim, pause: pause}, began.Add(after)}
	}
	early, late := at(kill, worker1, 10*time.Second, 0), at(freeze, worker2, 20*time.Second, 10*time.Second)
	for _, test := range []struct {
		name    string
		seed    uint64
		id      string
		history history
		faults  []injectedFault
		touched operations.Kind
		ok      bool
	}{
		{"completed", 3, "3", history{brewed: []int{1}}, nil, "", true},
		{"brewed while it jams", 3, "123", history{brewed: []int{1}}, nil, "", false},
		{"brewed while it jams, before a reset", 3, "123", history{brewed: []int{1}}, nil, operations.Reset, true},
		{"failed, and no step did", 3, "3", history{failed: true}, nil, "", false},
		{"jammed five times", 7, "24", step(brew, 5, jammed, jammed), nil, "", true},
		{"jammed four times", 7, "24", step(brew, 4, jammed, jammed), []injectedFault{early, late}, "", false},
		{"jams that are none", 3, "3", step(brew, 5, jammed, jammed), []injectedFault{early, late}, "", false},
		{"a charge that jams", 7, "24", step(charge, 5, jammed, jammed), []injectedFault{early, late}, "", false},
		{"lost for no reason", 3, "3", step(charge, 5, timeout, timeout), nil, "", false},
		{"lost", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{early, late}, "", true},
		{"lost with the server", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{at(storage, theServer, 35*time.Second, 0)}, "", true},
		{"the last one lost for no reason", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{early}, "", false},
		{"the last one lost by another worker", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{early, at(freeze, worker1, 30*time.Second, 0)}, "", false},
		{"only the last one lost for a reason", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{at(freeze, worker2, 51*time.Second, 0)}, "", false},
		{"an error long after the fault", 3, "3", step(charge, 5, broken, broken), []injectedFault{early, at(kill, worker2, 25*time.Second, 0)}, "", false},
		{"an error in the fault", 3, "3", step(charge, 5, broken, broken), []injectedFault{early, at(storage, worker2, 25*time.Second, 5*time.Second)}, "", true},
		{"an error in the fault of another worker", 3, "3", step(charge, 5, broken, broken), []injectedFault{early, at(freeze, worker1, 25*time.Second, 5*time.Second)}, "", true},
		{"paused by an operator", 3, "3", step(charge, 5, broken, broken), nil, pause, true},
		{"an operator's action is no fault", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{at(operator, theServer, 35*time.Second, 0)}, "", false},
		{"another worker was lost for good", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{at(forever, worker2, 0, 0)}, "", false},
		{"its worker was lost for good", 3, "3", step(charge, 5, timeout, timeout), []injectedFault{early, at(forever, worker1, 0, 0)}, "", false},
		{"refused", 3, "3", step(charge, 1, nil, refused), []injectedFault{early, late}, "", false},
		{"refused, and terminated", 3, "3", step(charge, 1, nil, refused), nil, operations.Terminate, false},
		{"refused after a reset", 3, "3", step(charge, 1, nil, refused), nil, operations.Reset, true},
		{"refused after a return to a backup", 3, "3", step(charge, 1, nil, refused), []injectedFault{at(restore, theServer, time.Second, 0)}, "", true},
		{"refused, and placed after a return to a backup", 3, "3", step(charge, 1, nil, refused), []injectedFault{at(restore, theServer, -time.Second, 0)}, "", false},
		{"given up at once", 3, "3", step(charge, 1, nil, failure(coffee.ErrorTypeInvalidInput)), nil, "", false},
		{"its receipt was not sent", 3, "3", history{givenUp: step(coffee.ActivitySendReceipt, 5, broken, broken).givenUp}, nil, "", false},
	} {
		e := &evidence{seed: test.seed, histories: map[string]*history{test.id: &test.history}, faults: test.faults,
			touched: touched{test.id: {test.touched}}, lost: worker1, workerOf: func(string) int { return worker2 }}
		if got := e.setbacks(); (len(got) == 0) != test.ok {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// TestReadHistory: a step that was to be cancelled is not one that was given up.
func TestReadHistory(t *testing.T) {
	t.Parallel()
	events := func(cancelled bool) (all []*historypb.HistoryEvent) {
		add := func(kind enumspb.EventType, event *historypb.HistoryEvent) {
			event.EventType, event.EventId = kind, int64(len(all)+1)
			all = append(all, event)
		}
		add(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{}}})
		if cancelled {
			add(enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskCancelRequestedEventAttributes{
				ActivityTaskCancelRequestedEventAttributes: &historypb.ActivityTaskCancelRequestedEventAttributes{ScheduledEventId: 1}}})
		}
		add(enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
			ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: 1, Attempt: 5}}})
		add(enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskTimedOutEventAttributes{
			ActivityTaskTimedOutEventAttributes: &historypb.ActivityTaskTimedOutEventAttributes{ScheduledEventId: 1}}})
		return all
	}
	if got := readHistory(events(false)).givenUp; len(got) != 1 || got[0].attempts != 5 {
		t.Errorf("got %+v", got)
	}
	if got := readHistory(events(true)).givenUp; len(got) != 0 {
		t.Errorf("cancelled: %+v", got)
	}
}
