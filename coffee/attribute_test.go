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
	"go.temporal.io/api/serviceerror"
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
	mu     sync.Mutex
	kind   enumspb.IndexedValueType
	err    error
	addErr error
}

func (a *attributes) AddSearchAttributes(_ context.Context, request *operatorservice.AddSearchAttributesRequest, _ ...grpc.CallOption) (*operatorservice.AddSearchAttributesResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.addErr == nil {
		a.kind = request.GetSearchAttributes()[SearchAttributeStatus]
	}
	return nil, a.addErr
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

// TestEnsureAttribute: a worker adds the search attribute that a namespace lacks, and counts
// on it only when queries know it. Where it may not, or there is no room, it does without.
func TestEnsureAttribute(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		service     *attributes
		there, lost bool
		fails       bool
	}{
		"it is missing":       {service: &attributes{}, there: true},
		"it is there":         {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD, addErr: errors.New("added twice")}, there: true},
		"another worker adds": {service: &attributes{addErr: serviceerror.NewAlreadyExists("exists")}, there: true},
		"it is an Int":        {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_INT}, lost: true, fails: true},
		"it may not add it":   {service: &attributes{addErr: serviceerror.NewPermissionDenied("no", "")}, lost: true, fails: true},
		"it may not look":     {service: &attributes{err: serviceerror.NewPermissionDenied("no", "")}, fails: true},
		"there is no room":    {service: &attributes{addErr: serviceerror.NewInvalidArgument("more than 10")}, lost: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := &mocks.Client{}, &attributeWatch{}
				c.On("OperatorService").Return(test.service)
				unknown := serviceerror.NewInvalidArgument("no such attribute")
				c.On("CountWorkflow", mock.Anything, mock.Anything).Return(nil, unknown).Times(3)
				c.On("CountWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.CountWorkflowExecutionsResponse{}, nil)
				err := w.ensure(t.Context(), c, "default")
				if (err != nil) != test.fails || w.there() != test.there || w.lost() != test.lost {
					t.Errorf("got %v, there %v, lost %v", err, w.there(), w.lost())
				}
			})
		})
	}
}

// TestAttributeWatch: a worker notices within seconds that the search attribute was
// removed or replaced, and that it is there again, or at last.
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
			{kind: enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED, lost: true},
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
		} {
			service.mu.Lock()
			service.kind, service.err = step.kind, step.err
			service.mu.Unlock()
			time.Sleep(10*time.Second + 1)
			synctest.Wait()
			if w.lost() != step.lost || w.there() == step.lost {
				t.Errorf("%v, %v: lost is %v, there is %v", step.kind, step.err, w.lost(), w.there())
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
	unknown := serviceerror.NewInvalidArgument("column name 'CoffeeStatus' is not defined")
	for name, test := range map[string]struct {
		service *attributes
		listed  error
		over    int64
		want    string
	}{
		"a Keyword":             {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD}},
		"it does not tell":      {service: &attributes{err: errors.New("not allowed")}},
		"an Int":                {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_INT}, want: "the search attribute CoffeeStatus of the server is of type Int, not Keyword"},
		"a Text":                {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_TEXT}, want: "the search attribute CoffeeStatus of the server is of type Text, not Keyword"},
		"no worker came yet":    {service: &attributes{}, listed: unknown},
		"workers do without it": {service: &attributes{}, listed: unknown, over: 1, want: "the server has no search attribute CoffeeStatus: column name 'CoffeeStatus' is not defined"},
	} {
		c := &mocks.Client{}
		c.On("OperatorService").Return(test.service)
		c.On("ListWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.ListWorkflowExecutionsResponse{}, test.listed)
		c.On("CountWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.CountWorkflowExecutionsResponse{Count: test.over}, nil)
		_, err := NewClient(c, "default").List(t.Context(), ListOptions{Status: StatusCompleted})
		var other *AttributeTypeError
		if (err != nil) != (test.want != "") || err != nil && (errors.Is(err, ErrNotIndexed) == errors.As(err, &other) || err.Error() != test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
