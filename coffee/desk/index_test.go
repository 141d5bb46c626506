package desk

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
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
		a.kind = request.GetSearchAttributes()[coffee.SearchAttributeStatus]
	}
	return nil, a.addErr
}

func (a *attributes) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest, ...grpc.CallOption) (*operatorservice.ListSearchAttributesResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	response := &operatorservice.ListSearchAttributesResponse{CustomAttributes: map[string]enumspb.IndexedValueType{"Shop": enumspb.INDEXED_VALUE_TYPE_KEYWORD}}
	if a.kind != enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
		response.CustomAttributes[coffee.SearchAttributeStatus] = a.kind
	}
	return response, a.err
}

// TestEnsureAttribute: a worker adds the search attribute that a namespace lacks, and counts
// on it only when queries know it. Where it may not, or there is no room, it does without.
func TestEnsureAttribute(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		service *attributes
		want    coffee.Index
		fails   bool
	}{
		"it is missing":       {service: &attributes{}, want: coffee.IndexThere},
		"it is there":         {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD, addErr: errors.New("added twice")}, want: coffee.IndexThere},
		"another worker adds": {service: &attributes{addErr: serviceerror.NewAlreadyExists("exists")}, want: coffee.IndexThere},
		"it is an Int":        {service: &attributes{kind: enumspb.INDEXED_VALUE_TYPE_INT}, want: coffee.IndexGone, fails: true},
		"it may not add it":   {service: &attributes{addErr: serviceerror.NewPermissionDenied("no", "")}, want: coffee.IndexGone, fails: true},
		"it may not look":     {service: &attributes{err: serviceerror.NewPermissionDenied("no", "")}, fails: true},
		"there is no room":    {service: &attributes{addErr: serviceerror.NewInvalidArgument("more than 10")}, want: coffee.IndexGone, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := &mocks.Client{}, &IndexWatch{}
				c.On("OperatorService").Return(test.service)
				unknown := serviceerror.NewInvalidArgument("no such attribute")
				c.On("CountWorkflow", mock.Anything, mock.Anything).Return(nil, unknown).Times(3)
				c.On("CountWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.CountWorkflowExecutionsResponse{}, nil)
				err := w.Ensure(t.Context(), c, "default")
				if (err != nil) != test.fails || w.Index() != test.want {
					t.Errorf("got %v, index %v", err, w.Index())
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
		w := &IndexWatch{}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go w.Run(ctx, c, "default")
		for _, step := range []struct {
			kind enumspb.IndexedValueType
			err  error
			want coffee.Index
		}{
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD, want: coffee.IndexThere},
			{kind: enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED, want: coffee.IndexGone},
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD, want: coffee.IndexThere},
			{kind: enumspb.INDEXED_VALUE_TYPE_INT, want: coffee.IndexGone},
			{err: errors.New("the server is away"), want: coffee.IndexGone}, // as it was
			{kind: enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED, want: coffee.IndexGone},
			{kind: enumspb.INDEXED_VALUE_TYPE_KEYWORD, want: coffee.IndexThere},
		} {
			service.mu.Lock()
			service.kind, service.err = step.kind, step.err
			service.mu.Unlock()
			time.Sleep(10*time.Second + 1)
			synctest.Wait()
			if w.Index() != step.want {
				t.Errorf("%v, %v: index %v, want %v", step.kind, step.err, w.Index(), step.want)
			}
		}
	})
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
		_, err := NewClient(c, "default").List(t.Context(), ListOptions{Status: coffee.StatusCompleted})
		var other *AttributeTypeError
		if (err != nil) != (test.want != "") || err != nil && (errors.Is(err, ErrNotIndexed) == errors.As(err, &other) || err.Error() != test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
