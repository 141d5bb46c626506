package coffee

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/mock"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/mocks"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// attributes is a fake of the service that says which search attributes there are.
type attributes struct {
	operatorservice.OperatorServiceClient
	mu   sync.Mutex
	kind enumspb.IndexedValueType
	err  error
}

func (a *attributes) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest, ...grpc.CallOption) (*operatorservice.ListSearchAttributesResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	response := &operatorservice.ListSearchAttributesResponse{CustomAttributes: map[string]enumspb.IndexedValueType{"Shop": enumspb.INDEXED_VALUE_TYPE_KEYWORD}}
	if a.kind != enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
		response.CustomAttributes[SearchAttributeStatus] = a.kind
	}
	return response, a.err
}

// TestAttributeWatch: a worker notices within seconds that the search attribute was
// removed or replaced, and that it is back.
func TestAttributeWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &attributes{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD}
		c := &mocks.Client{}
		c.On("OperatorService").Return(service)
		w := &attributeWatch{}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go w.run(ctx, c, "default")
		for _, step := range []struct {
			kind enumspb.IndexedValueType
			err  error
			lost bool
		}{
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
			{kind: enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED, lost: true},
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
			{kind: enumspb.INDEXED_VALUE_TYPE_INT, lost: true},
			{err: errors.New("the server is away"), lost: true}, // as it was
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
		} {
			service.mu.Lock()
			service.kind, service.err = step.kind, step.err
			service.mu.Unlock()
			time.Sleep(10*time.Second + 1)
			synctest.Wait()
			if got := w.lost(); got != step.lost {
				t.Errorf("%v, %v: lost is %v", step.kind, step.err, got)
			}
		}
	})
}

// TestUnindexed: an order that was accepted with the search attribute ends without it if
// the server has lost it, and one that is accepted meanwhile does not count on it.
func TestUnindexed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, after bool // whether it is lost when the order is accepted, and when it ends
		upserts       int
	}{
		"there":                {false, false, 1},
		"lost meanwhile":       {false, true, 0},
		"lost before":          {true, true, 0},
		"back in the meantime": {true, false, 0},
	} {
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(NewSDKLogger(zerolog.Nop()))
		env := suite.NewTestWorkflowEnvironment()
		env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // on a busy machine
		lost := &attributeWatch{}
		lost.gone.Store(test.before)
		(&OrderWorkflow{Pricing: StandardPricing{}, Indexed: true, attribute: lost}).Register(env)
		(&Activities{}).Register(env)
		for _, activity := range []string{ActivityChargeCustomer, ActivityBrewCoffee, ActivitySendReceipt} {
			env.OnActivity(activity, mock.Anything, mock.Anything).Run(func(mock.Arguments) { lost.gone.Store(test.after) }).Return(true, nil)
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
	completed := readHistory(t, "completed").GetEvents()
	end := len(completed) - 1
	marker := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_MARKER_RECORDED,
		Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{
			MarkerName:                   "Version",
			Details:                      map[string]*commonpb.Payloads{"change-id": payloads(t, "unindexed"), "version": payloads(t, 1)},
			WorkflowTaskCompletedEventId: completed[end].GetWorkflowExecutionCompletedEventAttributes().GetWorkflowTaskCompletedEventId(),
		}}}
	marker.EventId = completed[end-1].GetEventId()
	versions := proto.CloneOf(completed[end-1])
	fields := versions.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
	delete(fields, SearchAttributeStatus)
	fields["TemporalChangeVersion"] = payloads(t, []string{"unindexed-1"}).GetPayloads()[0]
	fields["TemporalChangeVersion"].Metadata["type"] = []byte("KeywordList")
	last := proto.CloneOf(completed[end])
	versions.EventId, last.EventId = marker.EventId+1, marker.EventId+2
	unindexed := slices.Concat(completed[:end-1], []*historypb.HistoryEvent{marker, versions, last})

	lost := &attributeWatch{}
	lost.gone.Store(true)
	for name, w := range map[string]*OrderWorkflow{"there": {Pricing: StandardPricing{}}, "lost": {Pricing: StandardPricing{}, attribute: lost}} {
		for kind, events := range map[string][]*historypb.HistoryEvent{"with": completed, "without": unindexed} {
			if err := w.Replay(History{OrderID: "123", RunID: "run", Events: events}); err != nil {
				t.Errorf("the attribute is %s, the history is one %s it: %v", name, kind, err)
			}
		}
	}
}

// TestListByStatus: a list of ended orders says what is wrong with the search attribute
// that it needs. A server that does not tell is asked all the same.
func TestListByStatus(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		service *attributes
		want    string
	}{
		"a Keyword":        {&attributes{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD}, ""},
		"it does not tell": {&attributes{err: errors.New("not allowed")}, ""},
		"an Int":           {&attributes{kind: enumspb.INDEXED_VALUE_TYPE_INT}, "the search attribute CoffeeStatus of the server is of type Int, not Keyword"},
		"a Text":           {&attributes{kind: enumspb.INDEXED_VALUE_TYPE_TEXT}, "the search attribute CoffeeStatus of the server is of type Text, not Keyword"},
	} {
		c := &mocks.Client{}
		c.On("OperatorService").Return(test.service)
		c.On("ListWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.ListWorkflowExecutionsResponse{}, nil)
		_, err := NewClient(c, "default").List(t.Context(), ListOptions{Status: StatusCompleted})
		var other *AttributeTypeError
		if (err != nil) != (test.want != "") || err != nil && (!errors.As(err, &other) || err.Error() != test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
