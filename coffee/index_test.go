package coffee

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/internal/historytest"
)

// TestUnindexed: an order that was accepted with the search attribute ends without it if
// the server has lost it, and one that is accepted meanwhile does not count on it.
func TestUnindexed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, after Index // when the order is accepted, and when it ends
		upserts       int
	}{
		"there":                {IndexThere, IndexThere, 1},
		"lost meanwhile":       {IndexThere, IndexGone, 0},
		"lost before":          {IndexGone, IndexGone, 0},
		"never there":          {IndexUnknown, IndexUnknown, 0},
		"unknown at the end":   {IndexThere, IndexUnknown, 1},
		"back in the meantime": {IndexGone, IndexThere, 0},
	} {
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(silent)
		env := suite.NewTestWorkflowEnvironment()
		env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // on a busy machine
		var index atomic.Int32
		index.Store(int32(test.before))
		(&OrderWorkflow{Pricing: StandardPricing{}, Index: func() Index { return Index(index.Load()) }}).Register(env)
		(&Activities{}).Register(env)
		for _, activity := range []string{ActivityChargeCustomer, ActivityBrewCoffee, ActivitySendReceipt} {
			env.OnActivity(activity, mock.Anything, mock.Anything).Run(func(mock.Arguments) { index.Store(int32(test.after)) }).Return(true, nil)
		}
		upserts := 0
		env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(mock.Arguments) { upserts++ }).Return(nil).Maybe()
		env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "order-123", TaskQueue: TaskQueue})
		env.ExecuteWorkflow(WorkflowType, OrderRequest{OrderID: "123", Drink: "latte", Size: SizeM})
		var result OrderResult
		if err := env.GetWorkflowResult(&result); err != nil || result.Status != StatusCompleted || upserts != test.upserts {
			t.Errorf("%s: got %v, %+v, and %d upserts, want %d", name, err, result, upserts, test.upserts)
		}
	}
}

// TestUnindexedReplays: the history of such an order replays, whether or not the server has
// the attribute now; and so does one that wrote to it.
func TestUnindexedReplays(t *testing.T) {
	t.Parallel()
	completed := historytest.Read(t, "testdata/histories", "completed").GetEvents()
	end := len(completed) - 1
	marker := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_MARKER_RECORDED,
		Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{
			MarkerName:                   "Version",
			Details:                      map[string]*commonpb.Payloads{"change-id": historytest.Payloads(t, "unindexed"), "version": historytest.Payloads(t, 1)},
			WorkflowTaskCompletedEventId: completed[end].GetWorkflowExecutionCompletedEventAttributes().GetWorkflowTaskCompletedEventId(),
		}}}
	marker.EventId = completed[end-1].GetEventId()
	versions := proto.CloneOf(completed[end-1])
	fields := versions.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
	delete(fields, SearchAttributeStatus)
	fields["TemporalChangeVersion"] = historytest.Payloads(t, []string{"unindexed-1"}).GetPayloads()[0]
	fields["TemporalChangeVersion"].Metadata["type"] = []byte("KeywordList")
	last := proto.CloneOf(completed[end])
	versions.EventId, last.EventId = marker.EventId+1, marker.EventId+2
	unindexed := slices.Concat(completed[:end-1], []*historypb.HistoryEvent{marker, versions, last})

	for name, w := range map[string]*OrderWorkflow{
		"there": {Pricing: StandardPricing{}, Index: func() Index { return IndexThere }},
		"lost":  {Pricing: StandardPricing{}, Index: func() Index { return IndexGone }},
	} {
		for kind, events := range map[string][]*historypb.HistoryEvent{"with": completed, "without": unindexed} {
			if err := replay(w, events); err != nil {
				t.Errorf("the attribute is %s, the history is one %s it: %v", name, kind, err)
			}
		}
	}
}
