package audit

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/ledger/ledgertest"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/internal/historytest"
)

const runID = "run-1"

// history returns one of the histories of order 123 that were recorded for the
// replay test.
func history(t *testing.T, name string) *historypb.History {
	t.Helper()
	history := historytest.Read(t, "../testdata/histories", name)
	history.Events[0].GetWorkflowExecutionStartedEventAttributes().OriginalExecutionRunId = runID
	return history
}

func execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID("123"), RunId: runID}
}

func storyOf(history *historypb.History) *story {
	return readStory(execution(), time.Now(), history.GetEvents())
}

func row(number int64, kind coffee.EntryKind, amount coffee.Cents) Row {
	return Row{Number: number, OrderID: "123", Kind: kind, Amount: amount, RunID: runID, RecordedAt: time.Now()}
}

func charge(amount coffee.Cents) Row { return row(1, coffee.EntryCharge, amount) }
func refund(amount coffee.Cents) Row { return row(2, coffee.EntryRefund, amount) }
func void() Row                      { return row(1, coffee.EntryVoid, 0) }

func delivery() Row { return row(0, kindDelivery, 0) }

// paid are the rows of a coffee that was charged and handed out.
var paid = []Row{charge(525), delivery()}

func byAnother(r Row) Row { r.RunID = "run-2"; return r }
func numbered(number int64, r Row) Row {
	r.Number = number
	return r
}

// TestJudge compares recorded histories with rows of the ledger, right and wrong. A
// case without rules must have no breach.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		history string
		change  func(*story)
		rows    []Row
		want    []Rule
	}{
		"completed":                               {history: "completed", rows: paid},
		"completed after jams":                    {history: "completed_after_jams", rows: paid},
		"completed without a receipt":             {history: "completed_without_receipt", rows: paid},
		"cancelled too late":                      {history: "completed_cancel_too_late", rows: paid},
		"cancelled before the charge":             {history: "cancelled_before_charge"},
		"cancelled while charging, voided":        {history: "cancelled_while_charging", rows: []Row{void()}},
		"cancelled while brewing":                 {history: "cancelled_while_brewing", rows: []Row{charge(525), refund(525)}},
		"cancelled by Temporal":                   {history: "cancelled_natively", rows: []Row{charge(525), refund(525)}},
		"failed charge":                           {history: "failed_charge", rows: []Row{void()}},
		"failed brew":                             {history: "failed_brew", rows: []Row{charge(525), refund(525)}},
		"the id came back: the first has paid":    {history: "failed_duplicate", rows: []Row{old(byAnother(charge(525)))}},
		"invalid":                                 {history: "invalid"},
		"invalid after a reset":                   {history: "invalid_after_reset", rows: []Row{void()}},
		"terminated, and settled":                 {history: "completed", change: terminated, rows: []Row{charge(525), refund(525)}},
		"terminated after the coffee was made":    {history: "completed", change: stopped("was terminated"), rows: paid},
		"running, charged":                        {history: "cancelled_while_brewing", change: func(s *story) { terminated(s); running(s) }, rows: []Row{charge(525)}},
		"running, handed out":                     {history: "completed", change: running, rows: paid},
		"running, refunded":                       {history: "cancelled_while_brewing", change: running, rows: []Row{charge(525), refund(525)}},
		"history gone with its retention":         {rows: []Row{old(charge(525))}},
		"history gone, refunded":                  {rows: []Row{old(charge(525)), old(refund(525))}},
		"rows written by the run that is a reset": {history: "completed", change: func(s *story) { s.origin = "run-0" }, rows: paid},

		"handed out, then terminated":               {history: "cancelled_while_brewing", change: terminated, rows: paid},
		"handed out, and terminated before it knew": {history: "completed", change: onTheCounter, rows: paid},
		"on the counter, and settled":               {history: "completed", change: onTheCounter, rows: []Row{charge(525), refund(525)}},
		"a receipt that was refused":                {history: "failed_brew", change: func(s *story) { s.brewed, s.receipt, s.refused = true, true, true }, rows: []Row{charge(525), refund(525)}},

		"terminated before it was handed out": {history: "completed", change: func(s *story) {
			stopped("was terminated")(s)
			s.receipt, s.handedOut = false, false
		}, rows: []Row{charge(525)}, want: []Rule{RuleNet}},
		"handed out for nothing":                    {history: "cancelled_while_brewing", rows: []Row{charge(525), refund(525), delivery()}, want: []Rule{RuleNet}},
		"handed out without a charge":               {history: "cancelled_while_charging", rows: []Row{void(), delivery()}, want: []Rule{RuleNet}},
		"terminated with the coffee on the counter": {history: "completed", change: onTheCounter, rows: []Row{charge(525)}, want: []Rule{RuleNet}},
		"completed, and the delivery lost":          {history: "completed", rows: []Row{charge(525)}, want: []Rule{RuleHistory, RuleNet}},
		"handed out, and the delivery lost":         {history: "completed", change: stopped("was terminated"), rows: []Row{charge(525)}, want: []Rule{RuleHistory, RuleNet}},
		"told of a delivery that is lost":           {history: "completed_after_reset", change: func(s *story) { stopped("was terminated")(s); s.handedOut = false }, rows: []Row{charge(525)}, want: []Rule{RuleHistory, RuleNet}},
		"handed out twice":                          {history: "completed", rows: []Row{charge(525), delivery(), delivery()}, want: []Rule{RuleNet}},
		"charged twice":                             {history: "completed", rows: []Row{charge(525), numbered(2, charge(525)), delivery()}, want: []Rule{RuleCharge, RuleNet}},
		"charged twice, by two runs":                {history: "completed", rows: []Row{charge(525), numbered(2, byAnother(charge(525))), delivery()}, want: []Rule{RuleCharge, RuleOwner}},
		"charged another price":                     {history: "completed", rows: []Row{charge(524), delivery()}, want: []Rule{RuleCharge, RuleNet}},
		"the price changed":                         {history: "completed", change: func(s *story) { s.amounts = append(s.amounts, amount{1, "the result"}) }, rows: paid, want: []Rule{RuleCharge}},
		"charged and never accepted":                {history: "invalid", rows: []Row{charge(525)}, want: []Rule{RuleCharge, RuleNet}},
		"refunded twice":                            {history: "cancelled_while_brewing", rows: []Row{charge(525), refund(525), numbered(3, refund(525))}, want: []Rule{RuleRefund, RuleNet}},
		"refunded too little":                       {history: "cancelled_while_brewing", rows: []Row{charge(525), refund(500)}, want: []Rule{RuleRefund, RuleNet}},
		"refunded by another run":                   {history: "cancelled_while_brewing", rows: []Row{charge(525), byAnother(refund(525))}, want: []Rule{RuleRefund, RuleOwner, RuleHistory, RuleUndone}},
		"refunded without a charge":                 {history: "cancelled_while_brewing", rows: []Row{refund(525)}, want: []Rule{RuleRefund, RuleHistory, RuleNet}},
		"refunded although made":                    {history: "completed", rows: []Row{charge(525), refund(525)}, want: []Rule{RuleHistory, RuleNet}},
		"made for nothing":                          {history: "completed", want: []Rule{RuleHistory, RuleNet}},
		"completed without a brew":                  {history: "completed", change: func(s *story) { s.brewed = false }, rows: paid, want: []Rule{RuleNet}},
		"completed although cancelled":              {history: "completed", change: func(s *story) { s.cancelled = true }, rows: paid, want: []Rule{RuleNet}},
		"terminated, and paid":                      {history: "cancelled_while_brewing", change: terminated, rows: []Row{charge(525)}, want: []Rule{RuleNet}},
		"timed out, and paid":                       {history: "failed_brew", change: stopped("timed out"), rows: []Row{charge(525)}, want: []Rule{RuleNet, RuleHistory}},
		"cancelled, and the refund lost":            {history: "cancelled_while_brewing", rows: []Row{charge(525)}, want: []Rule{RuleUndone, RuleHistory}},
		"failed, and the refund lost":               {history: "failed_brew", rows: []Row{charge(525)}, want: []Rule{RuleUndone, RuleHistory}},
		"cancelled, with a receipt":                 {history: "cancelled_while_brewing", change: func(s *story) { s.receipt = true }, rows: []Row{charge(525), refund(525)}, want: []Rule{RuleUndone}},
		"charged after a void":                      {history: "cancelled_while_charging", rows: []Row{void(), numbered(2, charge(525))}, want: []Rule{RuleClosed, RuleUndone}},
		"charged after a refund":                    {history: "cancelled_while_brewing", rows: []Row{numbered(3, charge(525)), refund(525)}, want: []Rule{RuleClosed}},
		"a row without an order":                    {rows: []Row{charge(525)}, want: []Rule{RuleOwner}},
		"a row of a run that nobody knows":          {history: "failed_duplicate", rows: []Row{byAnother(charge(525))}, want: []Rule{RuleOwner}},
		"a row without an order or a time":          {rows: []Row{timeless(charge(525))}, want: []Rule{RuleOwner}},
		"a row of no kind":                          {history: "completed", rows: []Row{charge(525), row(2, "gift", 1), delivery()}, want: []Rule{RuleOwner}},
		"the charge is lost":                        {history: "cancelled_while_brewing", want: []Rule{RuleHistory}},
		"it does not replay":                        {history: "completed", change: func(s *story) { s.unreplayable = "nondeterminism" }, rows: paid, want: []Rule{RuleHistory}},
		"the result of another order":               {history: "completed", change: func(s *story) { s.result.OrderID = "124" }, rows: paid, want: []Rule{RuleHistory}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stories []*story
			if test.history != "" {
				s := storyOf(history(t, test.history))
				if test.change != nil {
					test.change(s)
				}
				stories = append(stories, s)
			}
			breaches := newFile("123", stories, test.rows).judge((&horizon{now: time.Now()}).suspicious)
			var got []Rule
			for _, breach := range breaches {
				t.Logf("rule %d: %s", breach.Rule, breach.Problem)
				if len(breach.Evidence) == 0 || breach.Problem == "" || breach.OrderID != "123" {
					t.Errorf("it says too little: %+v", breach)
				}
				got = append(got, breach.Rule)
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if got = slices.Compact(got); !slices.Equal(got, test.want) {
				t.Errorf("got rules %v, want %v", ints(got), ints(test.want))
			}
		})
	}
}

func ints(rules []Rule) []int {
	var ints []int
	for _, rule := range rules {
		ints = append(ints, int(rule))
	}
	return ints
}

// old makes a row older than the shortest retention.
func old(r Row) Row {
	r.RecordedAt = r.RecordedAt.Add(-2 * time.Hour)
	return r
}

// timeless gives a row an unreadable time.
func timeless(r Row) Row {
	r.RecordedAt = time.Time{}
	return r
}

func running(s *story) { s.ended, s.result, s.end, s.stopped = false, nil, "", false }

// onTheCounter changes a story to one whose order was terminated after its receipt
// was scheduled.
func onTheCounter(s *story) {
	stopped("was terminated")(s)
	s.handedOut = false
}

// stopped changes how an order ended, but not what it did before.
func stopped(end string) func(*story) {
	return func(s *story) { s.result, s.end, s.stopped = nil, end, true }
}

// terminated changes a story to one whose order was stopped in its first brew.
func terminated(s *story) {
	stopped("was terminated")(s)
	s.brewed, s.refunded, s.receipt, s.handedOut, s.cancelled = false, false, false, false, false
}

// TestStory: what is read from each recorded history.
func TestStory(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]story{
		"completed":                {charged: true, brewed: true, receipt: true},
		"cancelled_before_charge":  {cancelled: true},
		"cancelled_while_charging": {cancelled: true},
		"cancelled_while_brewing":  {cancelled: true, charged: true, refunded: true},
		"cancelled_natively":       {cancelled: true, charged: true, refunded: true},
		"failed_brew":              {charged: true, refunded: true},
		"failed_duplicate":         {},
		// A cancel after the receipt was scheduled does not count.
		"completed_cancel_too_late": {charged: true, brewed: true, receipt: true},
		"completed_after_reset":     {receipt: true, handedOut: true, toldDelivered: true},
		"failed_after_refund":       {charged: true, refunded: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storyOf(history(t, name))
			if s.charged != want.charged || s.brewed != want.brewed || s.receipt != want.receipt ||
				s.refunded != want.refunded || s.cancelled != want.cancelled || s.toldDelivered != want.toldDelivered || !s.ended || s.result == nil {
				t.Errorf("got %+v", s)
			}
			if price, ok := priceOf([]*story{s}); !ok || price.cents != 525 {
				t.Errorf("the price is %v, %v", price, ok)
			}
			if err := replayToday(history(t, name)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnsettled: which orders need a repair.
func TestUnsettled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		history string
		change  func(*story)
		rows    []Row
		want    bool
	}{
		"terminated and charged":            {"cancelled_while_brewing", terminated, []Row{charge(525)}, true},
		"terminated, the charge may come":   {"cancelled_while_charging", terminated, nil, true},
		"terminated and settled":            {"cancelled_while_brewing", terminated, []Row{charge(525), refund(525)}, false},
		"terminated and voided":             {"cancelled_while_charging", terminated, []Row{void()}, false},
		"terminated after it was made":      {"completed", stopped("was terminated"), paid, false},
		"timed out, not handed out":         {"completed", func(s *story) { onTheCounter(s); s.end = "timed out" }, []Row{charge(525)}, true},
		"terminated before the charge":      {"cancelled_before_charge", terminated, nil, false},
		"cancelled, and the refund is lost": {"cancelled_while_brewing", nil, []Row{charge(525)}, false},
		"failed, and the refund is lost":    {"failed_brew", nil, []Row{charge(525)}, false},
		"invalid, and charged":              {"invalid", nil, []Row{charge(525)}, false},
		"completed":                         {"completed", nil, paid, false},
		"completed, and the delivery lost":  {"completed", nil, []Row{charge(525)}, false},
		"running":                           {"completed", running, []Row{charge(525)}, false},
		"running, and brewing":              {"cancelled_while_brewing", func(s *story) { terminated(s); running(s) }, []Row{charge(525)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storyOf(history(t, test.history))
			if test.change != nil {
				test.change(s)
			}
			f := newFile("123", []*story{s}, test.rows)
			chain := f.unsettled()
			if got := chain != nil; got != test.want || got && f.payer(chain) != runID {
				t.Errorf("got %v", chain)
			}
			for _, breach := range f.judge((&horizon{now: time.Now()}).suspicious) {
				if want := test.want && breach.Rule != RuleHistory; breach.Settleable != want {
					t.Errorf("%s: settleable is %v", breach.Problem, breach.Settleable)
				}
			}
		})
	}
}

// TestUnsettledLateChargeAfterAReset: the first run was reset while it was being charged, and
// the second was terminated before it came to that. The charge may still arrive.
func TestUnsettledLateChargeAfterAReset(t *testing.T) {
	t.Parallel()
	first := storyOf(history(t, "cancelled_while_charging"))
	terminated(first)
	second := &story{workflowID: first.workflowID, runID: "run-2", origin: first.origin, startedAt: first.startedAt.Add(time.Minute),
		ended: true, end: "was terminated", stopped: true}
	if newFile("123", []*story{first, second}, nil).unsettled() == nil {
		t.Error("nothing would refuse it")
	}
}

// TestUnsettledAfterAReset: the first run made the coffee and was reset; the second
// run was terminated before it made another. The coffee must be paid for.
func TestUnsettledAfterAReset(t *testing.T) {
	t.Parallel()
	first, second := storyOf(history(t, "completed")), storyOf(history(t, "cancelled_while_brewing"))
	second.runID, second.startedAt = "run-2", first.startedAt.Add(time.Minute)
	terminated(second)
	if chain := newFile("123", []*story{first, second}, paid).unsettled(); chain != nil {
		t.Error("it would be refunded")
	}
	// While the second run is running, the auditor leaves the order alone.
	stopped("was terminated")(first)
	first.brewed = false
	running(second)
	if chain := newFile("123", []*story{first, second}, []Row{charge(525)}).unsettled(); chain != nil {
		t.Error("it would be refunded under the second run's feet")
	}
}

// TestJudgeAfterAReset: the first run handed out the coffee; an operator reset the
// order to before its brew. Whatever becomes of the second run, the coffee must be
// paid for.
func TestJudgeAfterAReset(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		second func(*story)
		rows   []Row
		want   []Rule
	}{
		"terminated": {terminated, paid, nil},
		"too late to cancel": {func(s *story) {
			s.result.Status, s.result.Refunded, s.refunded, s.cancelled, s.toldDelivered, s.receipt, s.handedOut = coffee.StatusCompleted, false, false, false, true, true, true
		}, paid, nil},
		"cancelled and refunded": {func(*story) {}, []Row{charge(525), refund(525)}, []Rule{RuleHistory}},
		"running":                {running, paid, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := storyOf(history(t, "completed")), storyOf(history(t, "cancelled_while_brewing"))
			second.runID, second.startedAt = "run-2", first.startedAt.Add(time.Minute)
			if test.second(second); name == "running" {
				second.refunded = false
			}
			f := newFile("123", []*story{first, second}, test.rows)
			var got []Rule
			for _, breach := range f.judge((&horizon{now: time.Now()}).suspicious) {
				t.Log(breach.Problem, breach.Evidence)
				got = append(got, breach.Rule)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got rules %v, want %v", ints(got), ints(test.want))
			}
			if f.unsettled() != nil {
				t.Error("it would be refunded")
			}
		})
	}
}

// TestJudgeOfAResetThatWasStopped: an operator resets an order that was charged to its
// beginning, and stops it before a worker has it. It keeps its price, and its money comes
// back.
func TestJudgeOfAResetThatWasStopped(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rows []Row
		want []Rule
	}{
		"settled":       {[]Row{charge(525), refund(525)}, nil},
		"not settled":   {[]Row{charge(525)}, []Rule{RuleNet}},
		"another price": {[]Row{charge(524), refund(524)}, []Rule{RuleCharge}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := storyOf(history(t, "cancelled_while_brewing"))
			terminated(first)
			second := &story{workflowID: first.workflowID, runID: "run-2", origin: first.origin, startedAt: first.startedAt.Add(time.Minute),
				ended: true, end: "was terminated", stopped: true}
			var got []Rule
			for _, breach := range newFile("123", []*story{first, second}, test.rows).judge((&horizon{now: time.Now()}).suspicious) {
				got = append(got, breach.Rule)
				if breach.Settleable != (breach.Rule == RuleNet) {
					t.Errorf("%+v", breach)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got rules %v, want %v", ints(got), ints(test.want))
			}
		})
	}
}

// TestPriceOfAChain: an order has the price that the first of its runs was accepted at,
// and every run says so.
func TestPriceOfAChain(t *testing.T) {
	t.Parallel()
	stated := func(cents ...coffee.Cents) func(*story) {
		return func(s *story) {
			s.amounts = nil
			for _, c := range cents {
				s.amounts = append(s.amounts, amount{c, "it said so"})
			}
		}
	}
	for name, test := range map[string]struct {
		first, second func(*story)
		paid          coffee.Cents
		want          []Rule
	}{
		"kept":                             {stated(420), stated(420, 420), 420, nil},
		"priced again":                     {stated(420), stated(525), 420, []Rule{RuleCharge}},
		"priced again, and charged so":     {stated(420), stated(525), 525, []Rule{RuleCharge, RuleNet}},
		"its result says another price":    {stated(420), stated(420, 525), 420, []Rule{RuleCharge}},
		"stopped before it was accepted":   {stated(), stated(525), 525, nil},
		"the second stopped before it was": {stated(420), stated(), 420, nil},
		"neither was accepted":             {stated(), stated(), 525, []Rule{RuleCharge, RuleNet}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := storyOf(history(t, "completed")), storyOf(history(t, "completed"))
			stopped("was terminated")(first)
			first.handedOut = false
			second.runID, second.startedAt = "run-2", first.startedAt.Add(time.Minute)
			test.first(first)
			test.second(second)
			var got []Rule
			for _, breach := range newFile("123", []*story{first, second}, []Row{charge(test.paid), delivery()}).judge((&horizon{now: time.Now()}).suspicious) {
				t.Log(breach.Problem)
				got = append(got, breach.Rule)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, test.want) {
				t.Errorf("got rules %v, want %v", ints(got), ints(test.want))
			}
		})
	}
}

// TestPriceAfterAReset: what a run that a reset began decides by itself does not count if
// an earlier run was accepted, or charged.
func TestPriceAfterAReset(t *testing.T) {
	t.Parallel()
	payloads := func(value any) *commonpb.Payloads {
		payloads, err := converter.GetDefaultDataConverter().ToPayloads(value)
		if err != nil {
			t.Fatal(err)
		}
		return payloads
	}
	decided := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_MARKER_RECORDED, Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{
		MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{MarkerName: "SideEffect",
			Details: map[string]*commonpb.Payloads{"data": payloads(map[string]any{"amount_cents": 525, "reset": true})}}}}
	scheduled := func(id int64, name string, input any) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{EventId: id, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityType: &commonpb.ActivityType{Name: name}, Input: payloads(input)}}}
	}
	recalled := func(out coffee.RecallOutput) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 1, Result: payloads(out)}}}
	}
	chargedBefore := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, Attributes: &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{
		ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{ScheduledEventId: 2, Failure: &failurepb.Failure{
			FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "Refused", Details: payloads(400)}}}}}}
	refunded := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
		ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 3, Result: payloads(coffee.RefundOutput{Refunded: true, AmountCents: 400})}}}
	recall, charge := scheduled(1, "recall_order", coffee.RecallInput{}), scheduled(2, "charge_customer", coffee.ChargeInput{AmountCents: 525})
	for name, test := range map[string]struct {
		events []*historypb.HistoryEvent
		origin string
		want   []coffee.Cents
	}{
		"stopped before it knew":           {[]*historypb.HistoryEvent{decided, recall}, "run-0", nil},
		"accepted before":                  {[]*historypb.HistoryEvent{decided, recall, recalled(coffee.RecallOutput{Accepted: true, AmountCents: 420})}, "run-0", []coffee.Cents{420}},
		"not accepted before":              {[]*historypb.HistoryEvent{decided, recall, recalled(coffee.RecallOutput{})}, "run-0", []coffee.Cents{525}},
		"charged meanwhile":                {[]*historypb.HistoryEvent{decided, recall, recalled(coffee.RecallOutput{}), charge, chargedBefore}, "run-0", []coffee.Cents{400}},
		"refunded":                         {[]*historypb.HistoryEvent{decided, recall, recalled(coffee.RecallOutput{}), charge, scheduled(3, "refund_customer", nil), refunded}, "run-0", []coffee.Cents{400}},
		"charged differently by the first": {[]*historypb.HistoryEvent{charge, chargedBefore}, runID, []coffee.Cents{525}},
	} {
		started := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
			Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
				WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{OriginalExecutionRunId: test.origin},
			}}
		s := readStory(execution(), time.Now(), append([]*historypb.HistoryEvent{started}, test.events...))
		var got []coffee.Cents
		for _, stated := range s.amounts {
			got = append(got, stated.cents)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: it states %v, want %v", name, got, test.want)
		}
	}
}

// TestHorizon: which rows without a history are suspicious. The shop is a week old
// and had an order every hour, each with one row, numbered in sequence.
func TestHorizon(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		keep    time.Duration // today's retention
		known   time.Duration // how far back the histories go
		deleted time.Duration // the age of the order whose history is missing
		clock   time.Duration // how far ahead the workers' clocks are
		running bool          // the oldest order has not ended
		want    bool
	}{
		"past its retention":                            {keep: 3 * day, known: 3 * day, deleted: 4 * day},
		"past it a moment ago":                          {keep: 3 * day, known: 3*day - time.Minute, deleted: 3 * day},
		"the retention was raised":                      {keep: 30 * day, known: 3 * day, deleted: 4 * day},
		"the same, beside an order that does not end":   {keep: 30 * day, known: 3 * day, deleted: 4 * day, running: true},
		"the retention was lowered":                     {keep: 2 * day, known: 5 * day, deleted: 4 * day},
		"a clock was ahead by two days":                 {keep: 3 * day, known: 3 * day, deleted: 4 * day, clock: 2 * day},
		"a clock was ahead by a week":                   {keep: 3 * day, known: 3 * day, deleted: 4 * day, clock: 7 * day},
		"deleted before its time":                       {keep: 3 * day, known: 3 * day, deleted: day, want: true},
		"the same, with clocks that are ahead":          {keep: 3 * day, known: 3 * day, deleted: day, clock: 7 * day, want: true},
		"the same, with clocks that are behind":         {keep: 3 * day, known: 3 * day, deleted: day, clock: -30 * day, want: true},
		"deleted although histories are kept for ever":  {known: 7 * day, deleted: day, want: true},
		"nothing is known, and there was no time to go": {keep: 3 * day, deleted: 10 * time.Minute, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stories := map[string][]*story{}
			var rows []Row
			var suspect Row
			for age := 7 * day; age > 0; age -= time.Hour {
				at := now.Add(-age)
				r := Row{Number: int64(len(rows) + 1), OrderID: age.String(), Kind: coffee.EntryCharge, RunID: runID, RecordedAt: at.Add(test.clock)}
				if age == test.deleted {
					suspect = r
				} else if test.running && age == 7*day {
					stories[coffee.WorkflowID(r.OrderID)] = []*story{{origin: runID, beganAt: at}}
				} else if age <= test.known {
					stories[coffee.WorkflowID(r.OrderID)] = []*story{{origin: runID, beganAt: at, ended: true, endedAt: at}}
				}
				rows = append(rows, r)
			}
			if suspect.RunID == "" {
				suspect = Row{Number: int64(len(rows) + 1), Kind: coffee.EntryCharge, RecordedAt: now.Add(-test.deleted)}
			}
			h := newHorizon(now, test.keep, stories, rows)
			if got := h.suspicious(suspect); (got != "") != test.want {
				t.Errorf("got %q, want %v", got, test.want)
			}
		})
	}
}

// TestHistoriesAreDeletedOutOfOrder: of two orders that ended within half an hour of
// each other, the history of the later one may be deleted first.
func TestHistoriesAreDeletedOutOfOrder(t *testing.T) {
	t.Parallel()
	const keep = 72 * time.Hour
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for later, want := range map[time.Duration]bool{29 * time.Minute: false, 61 * time.Minute: true} {
		stories, rows := map[string][]*story{}, []Row{}
		for i, at := range []time.Time{now.Add(-keep), now.Add(-keep + later)} {
			id := []string{"oldest", "later"}[i]
			stories[coffee.WorkflowID(id)] = []*story{{origin: runID, beganAt: at, ended: true, endedAt: at}}
			rows = append(rows, Row{Number: int64(i + 1), OrderID: id, Kind: coffee.EntryCharge, RunID: runID, RecordedAt: at})
		}
		h := newHorizon(now, keep, stories, rows)
		deleted := Row{Number: 3, OrderID: "deleted", Kind: coffee.EntryCharge, RunID: runID, RecordedAt: now.Add(-keep + later)}
		if got := h.suspicious(deleted); (got != "") != want {
			t.Errorf("%v later: got %q, want %v", later, got, want)
		}
	}
}

// TestSums: the ledger's net is the price of the coffees that were made, plus what
// running orders have paid and what orders past their retention have left.
func TestSums(t *testing.T) {
	t.Parallel()
	completed, terminatedRun, runningRun := storyOf(history(t, "completed")), storyOf(history(t, "completed")), storyOf(history(t, "completed"))
	terminated(terminatedRun)
	running(runningRun)
	for name, test := range map[string]struct {
		s    *story
		rows []Row
		net  coffee.Cents
		want []Rule
	}{
		"completed":                     {completed, paid, 525, nil},
		"terminated, handed out":        {terminatedRun, paid, 525, nil},
		"terminated, refunded":          {terminatedRun, []Row{charge(525), refund(525)}, 0, nil},
		"running":                       {runningRun, []Row{charge(525)}, 525, nil},
		"past its retention":            {nil, []Row{charge(525)}, 525, nil},
		"completed, for nothing":        {completed, []Row{delivery()}, 0, []Rule{RuleNet}},
		"more than the rows add up to":  {completed, paid, 526, []Rule{RuleNet}},
		"less than running orders paid": {runningRun, []Row{charge(525)}, 0, []Rule{RuleNet}},
	} {
		a := &auditor{report: &Report{}, stories: map[string][]*story{}}
		if test.s != nil {
			a.stories["order-123"] = []*story{test.s}
		}
		var sum sums
		sum.add(a.file("123", test.rows))
		a.compare(sum, test.net)
		var got []Rule
		for _, breach := range a.report.Breaches {
			got = append(got, breach.Rule)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got rules %v, want %v", name, ints(got), ints(test.want))
		}
	}
}

// server is a fake server with one run of order 123. It lists the run on two pages,
// as happens when a run ends between the two requests.
func server(events ...*historypb.HistoryEvent) client.Client {
	info := &workflowpb.WorkflowExecutionInfo{Execution: execution(), Type: &commonpb.WorkflowType{Name: "OrderCoffeeWorkflow"}, StartTime: timestamppb.Now()}
	c := &mocks.Client{}
	c.On("WorkflowService").Return(namespaces{})
	for _, page := range [][2]string{{"", "second page"}, {"second page", ""}} {
		c.On("ListWorkflow", mock.Anything, mock.MatchedBy(func(request *workflowservice.ListWorkflowExecutionsRequest) bool {
			return string(request.GetNextPageToken()) == page[0]
		})).Return(&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{info}, NextPageToken: []byte(page[1])}, nil)
	}
	c.On("DescribeWorkflowExecution", mock.Anything, "order-123", "").
		Return(&workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}, nil)
	c.On("GetWorkflowHistory", mock.Anything, "order-123", runID, false, mock.Anything).
		Return(func(context.Context, string, string, bool, enumspb.HistoryEventFilterType) client.HistoryEventIterator {
			return &iterator{events}
		})
	return c
}

// namespaces is a fake of the gRPC service whose namespace keeps histories for ever.
type namespaces struct {
	workflowservice.WorkflowServiceClient
}

func (namespaces) DescribeNamespace(context.Context, *workflowservice.DescribeNamespaceRequest, ...grpc.CallOption) (*workflowservice.DescribeNamespaceResponse, error) {
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

// iterator iterates over events.
type iterator struct{ events []*historypb.HistoryEvent }

func (i *iterator) HasNext() bool { return len(i.events) > 0 }

func (i *iterator) Next() (*historypb.HistoryEvent, error) {
	next := proto.CloneOf(i.events[0]) // as of a server, whose messages nobody shares
	i.events = i.events[1:]
	return next, nil
}

// chargedLedger returns a ledger in a file, in which order 123 is charged, and its
// path.
func chargedLedger(t *testing.T) (ledger.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	book, err := ledger.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	if _, err := book.Charge(context.Background(), coffee.Charge{OrderID: "123", RunID: runID, Amount: 525}); err != nil {
		t.Fatal(err)
	}
	return book, path
}

// TestRunListedTwice: a run that is on two pages of the list is read once.
func TestRunListedTwice(t *testing.T) {
	t.Parallel()
	book, path := chargedLedger(t)
	if err := book.Deliver(context.Background(), "123"); err != nil {
		t.Fatal(err)
	}
	read := 0
	report, err := Run(context.Background(), Options{
		Client: server(history(t, "completed").GetEvents()...), Namespace: "default", Book: openBook(t, path), Acknowledged: []string{"123"},
		Progress: func(now, known int) {
			if read++; now != 1 || known != 1 {
				t.Errorf("read %d of %d", now, known)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if read != 1 || report.Replayed != 1 || report.Orders != (Orders{Completed: 1}) || len(report.Breaches) != 0 {
		t.Errorf("read %d times, got %+v", read, report)
	}
}

// TestUnreadableOrder: an order that cannot be read is named, and the others are judged. If
// the ledger has rows of it, that is a breach; and if it was acknowledged, that it has
// not ended.
func TestUnreadableOrder(t *testing.T) {
	t.Parallel()
	started := timestamppb.Now()
	info := func(id string) *workflowpb.WorkflowExecutionInfo {
		return &workflowpb.WorkflowExecutionInfo{Type: &commonpb.WorkflowType{Name: coffee.WorkflowType}, StartTime: started,
			Execution: &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID(id), RunId: "run-of-" + id}}
	}
	odd := info("odd\n")
	good := info("123")
	good.Execution.RunId = runID
	for name, test := range map[string]struct {
		charged      bool
		acknowledged []string
		want         []Rule
	}{
		"not charged":      {false, []string{"123"}, nil},
		"charged":          {true, []string{"123"}, []Rule{RuleHistory}},
		"it was announced": {false, []string{"123", "odd\n"}, []Rule{RuleAcknowledged}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book, path := chargedLedger(t)
			if err := book.Deliver(context.Background(), "123"); err != nil {
				t.Fatal(err)
			}
			if test.charged {
				if _, err := book.Charge(context.Background(), coffee.Charge{OrderID: "odd\n", RunID: "run-of-odd", Amount: 300}); err != nil {
					t.Fatal(err)
				}
			}
			c := &mocks.Client{}
			c.On("WorkflowService").Return(namespaces{})
			c.On("ListWorkflow", mock.Anything, mock.Anything).
				Return(&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{odd, good}}, nil)
			c.On("GetWorkflowHistory", mock.Anything, "order-123", runID, false, mock.Anything).Return(&iterator{history(t, "completed").GetEvents()})
			c.On("GetWorkflowHistory", mock.Anything, "order-odd\n", "run-of-odd\n", false, mock.Anything).Return(&iterator{[]*historypb.HistoryEvent{{EventId: 2}}})
			report, err := Run(context.Background(), Options{Client: c, Namespace: "default", Book: openBook(t, path), Acknowledged: test.acknowledged})
			if err != nil {
				t.Fatal(err)
			}
			var got []Rule
			for _, breach := range report.Breaches {
				got = append(got, breach.Rule)
				if breach.OrderID != "odd\n" {
					t.Errorf("got %+v", breach)
				}
			}
			if !slices.Equal(got, test.want) || report.Orders != (Orders{Completed: 1}) ||
				!slices.Equal(report.Unreadable, []Unreadable{{"odd\n", "its history is damaged: event 2 follows event 0"}}) {
				t.Errorf("got rules %v, want %v; %+v", ints(got), ints(test.want), report)
			}
		})
	}
}

// TestNothingReadable: if no order can be read, although one was charged, it is not the
// orders that are at fault.
func TestNothingReadable(t *testing.T) {
	t.Parallel()
	_, path := chargedLedger(t)
	_, err := Run(context.Background(), Options{Client: server(&historypb.HistoryEvent{EventId: 2}), Namespace: "default", Book: openBook(t, path)})
	if err == nil || !strings.Contains(err.Error(), "order 123: its history is damaged") {
		t.Errorf("got %v", err)
	}
}

// TestSettle: an order that was terminated while brewing is refunded. If the ledger
// refuses the refund, the breach remains and the audit continues.
func TestSettle(t *testing.T) {
	t.Parallel()
	events := append(history(t, "cancelled_while_brewing").GetEvents()[:9:9], &historypb.HistoryEvent{ // up to the end of the charge
		EventId: 10, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, EventTime: timestamppb.Now(),
		Attributes: &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{},
	})
	for name, test := range map[string]struct {
		refuse  error
		repairs int
		want    []Rule
	}{
		"refunded": {nil, 1, nil},
		"refused":  {coffee.ErrDelivered, 0, []Rule{RuleNet}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book, path := chargedLedger(t)
			report, err := Run(context.Background(), Options{
				Client: server(events...), Namespace: "default", Book: openBook(t, path), Repair: &refusing{book, test.refuse},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []Rule
			for _, breach := range report.Breaches {
				got = append(got, breach.Rule)
			}
			if !slices.Equal(got, test.want) || len(report.Repairs) != test.repairs {
				t.Errorf("got rules %v, want %v; repairs %+v", ints(got), ints(test.want), report.Repairs)
			}
		})
	}
}

// refusing is a ledger that may refuse every refund.
type refusing struct {
	ledger.Store
	refusal error
}

func (l *refusing) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	if l.refusal != nil {
		return coffee.Entry{}, l.refusal
	}
	return l.Store.Refund(ctx, orderID, runID)
}

// replayToday replays an order's history on the workflow of this program.
func replayToday(h *historypb.History) error {
	w := &coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}
	return replay.Check(w.OrderCoffeeWorkflow, desk.History{OrderID: "123", RunID: execution().GetRunId(), Events: h.GetEvents()})
}

// TestReplayOfAnotherWorkflow: a history that this workflow cannot have written.
func TestReplayOfAnotherWorkflow(t *testing.T) {
	t.Parallel()
	h := history(t, "completed")
	for _, event := range h.GetEvents() {
		if attributes := event.GetActivityTaskScheduledEventAttributes(); attributes != nil {
			attributes.ActivityType.Name = "something_else"
		}
	}
	if err := replayToday(h); err == nil {
		t.Error("it replays")
	}
}

// TestNewerLedger: a ledger that a newer program has changed is not judged.
func TestNewerLedger(t *testing.T) {
	t.Parallel()
	path := alteredLedger(t, `UPDATE ledger_schema SET version = 2`)
	if _, err := OpenBook(context.Background(), path); !errors.Is(err, ledger.ErrNewerLedger) || !strings.Contains(err.Error(), "its schema has version 2, and this program knows version 1") {
		t.Errorf("got %v", err)
	}
}

// TestHalfALedger: a ledger that lacks a table, or does not know which it is, is not judged.
func TestHalfALedger(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		`DROP TABLE ledger_deliveries`:                                    "there is no ledger_deliveries",
		`DROP TABLE ledger_schema`:                                        "there is no ledger_schema",
		`DROP TRIGGER ledger_schema_no_delete; DELETE FROM ledger_schema`: "ledger_schema is empty",
	} {
		_, err := OpenBook(context.Background(), alteredLedger(t, statement))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "cannot read") != 1 {
			t.Errorf("%s: got %v", statement, err)
		}
	}
}

// alteredLedger returns the path of a new ledger in which a statement was executed.
func alteredLedger(t *testing.T, statement string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	ledger, err := ledger.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(statement)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(statement, err)
	}
	return path
}

// TestSafeguards removes the ledger's protections one by one.
func TestSafeguards(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		``:                                      "",
		`DROP TRIGGER ledger_entries_no_update`: "trigger ledger_entries_no_update",
		`DROP TRIGGER ledger_entries_no_delete`: "trigger ledger_entries_no_delete",
		`DROP TRIGGER ledger_entries_first`:     "trigger ledger_entries_first",
		`DROP TRIGGER ledger_entries_delivered`: "trigger ledger_entries_delivered",
		`DROP TRIGGER ledger_deliveries_paid`:   "trigger ledger_deliveries_paid",
		`DROP TRIGGER ledger_owner_no_update`:   "trigger ledger_owner_no_update",
		`DROP TRIGGER ledger_schema_forward`:    "trigger ledger_schema_forward",
		`DROP TRIGGER ledger_entries_refund; CREATE TRIGGER ledger_entries_refund BEFORE INSERT ON ledger_entries BEGIN SELECT 1; END`: "trigger ledger_entries_refund",
		`CREATE TRIGGER loss BEFORE INSERT ON ledger_entries BEGIN SELECT RAISE(IGNORE); END`:                                          "trigger loss",
		`CREATE INDEX by_run ON ledger_entries (run_id)`:                                                                               "",
		`DROP TABLE ledger_entries; CREATE TABLE ledger_entries (order_id TEXT, kind TEXT, amount_cents BIGINT, run_id TEXT, recorded_at TEXT)`: "index sqlite_autoindex_ledger_entries_1 " +
			"table ledger_entries trigger ledger_entries_delivered trigger ledger_entries_first trigger ledger_entries_no_delete trigger ledger_entries_no_update trigger ledger_entries_refund",
	} {
		wantMissing(t, openBook(t, alteredLedger(t, statement)), statement, want)
	}
}

func openBook(t *testing.T, where string) *Book {
	t.Helper()
	book, err := OpenBook(context.Background(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
	return book
}

// wantMissing checks which safeguards are missing after a statement, and that
// the book itself cannot be written to.
func wantMissing(t *testing.T, book *Book, statement, want string) {
	t.Helper()
	missing, err := book.missing(context.Background())
	slices.Sort(missing)
	if got := strings.Join(missing, " "); err != nil || got != want {
		t.Errorf("after %q\ngot  %q, %v\nwant %q", statement, got, err, want)
	}
	if err := book.view(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ('2', 'void', 0, 'run', '2026-11-23T12:00:00Z')`)
		return err
	}); err == nil {
		t.Error("the book can be written to")
	}
}

func TestBookThatIsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if book, err := OpenBook(context.Background(), path); err == nil {
		t.Error("it was opened", book.Close())
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it was created")
	}
}

// TestBookBehindAPooler: PgBouncer in transaction mode takes no settings with a
// connection, and prepares no statements.
func TestBookBehindAPooler(t *testing.T) {
	t.Parallel()
	where := ledgertest.PoolerURL(t)
	ledger, err := ledger.Open(context.Background(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	book := openBook(t, where)
	for range 20 {
		wantMissing(t, book, "", "")
		if err := book.each(context.Background(), func(id string, rows []Row) error { return fmt.Errorf("%s has %v", id, rows) }); err != nil {
			t.Error(err)
		}
	}
}

// TestCancelAfterToldDelivered: once an order has learned that an earlier run handed
// out its coffee, another cancel is too late, even before the receipt is scheduled. It
// was once reported as an order that was cancelled in time and completed.
func TestCancelAfterToldDelivered(t *testing.T) {
	t.Parallel()
	h := history(t, "completed_after_reset")
	refund := slices.IndexFunc(h.GetEvents(), func(event *historypb.HistoryEvent) bool {
		var out coffee.RefundOutput
		return decode(event.GetActivityTaskCompletedEventAttributes().GetResult(), &out) && out.Delivered
	})
	if refund < 0 {
		t.Fatal("no refund was told that the coffee was handed out")
	}
	h.Events = slices.Insert(h.Events, refund+1, &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: coffee.SignalCancelOrder},
		},
	})
	if s := storyOf(h); s.cancelled || !s.toldDelivered {
		t.Errorf("got %+v", s)
	}
}

// TestEach: a book has each order once, with all its rows, its delivery last.
func TestEach(t *testing.T) {
	t.Parallel()
	_, path := chargedLedger(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const orders = 10_000 // besides the one that is there
	for _, insert := range []string{
		`ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) SELECT 'o' || n, 'charge', 300, 'run', '2026-11-29T00:00:00Z'`,
		`ledger_deliveries (order_id, run_id, recorded_at) SELECT 'o' || n, 'run', '2026-11-29T00:00:00Z'`,
	} {
		if _, err := db.Exec(fmt.Sprintf(`INSERT INTO %s FROM (WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < %d) SELECT n FROM n)`, insert, orders)); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	err = openBook(t, path).each(context.Background(), func(id string, rows []Row) error {
		if id != "123" && (len(rows) != 2 || rows[0].Kind != coffee.EntryCharge || rows[1].Kind != kindDelivery) || seen[id] {
			t.Errorf("order %s has %v", id, rows)
		}
		seen[id] = true
		return nil
	})
	if err != nil || len(seen) != orders+1 {
		t.Errorf("%d orders, %v", len(seen), err)
	}
	stop := errors.New("stop")
	if err := openBook(t, path).each(context.Background(), func(string, []Row) error { return stop }); err != stop {
		t.Errorf("got %v", err)
	}
}

var update = flag.Bool("update", false, "write sqlite.txt and postgres.txt")

// TestDefinitions: what the audit demands of a ledger is what a new one has.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	_, path := chargedLedger(t)
	testDefinitions(t, path, "sqlite.txt")
}

func testDefinitions(t *testing.T, where, file string) {
	t.Helper()
	book := openBook(t, where)
	var got map[string]string
	err := book.view(context.Background(), func(tx *sql.Tx) (err error) {
		got, err = book.safeguards.definitions(context.Background(), tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(got)) {
		lines.WriteString(name + ": " + got[name] + "\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if lines.String() != book.safeguards.want {
		t.Errorf("a new ledger has\n%s\nand the audit demands\n%s", lines.String(), book.safeguards.want)
	}
}
