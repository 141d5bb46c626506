package desk

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
)

// attributeType returns the type of the search attribute [coffee.SearchAttributeStatus], which is
// unspecified if the server does not have it.
func attributeType(ctx context.Context, c client.Client, namespace string) (enumspb.IndexedValueType, error) {
	list, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	return list.GetCustomAttributes()[coffee.SearchAttributeStatus], err
}

// checkAttributeType returns an [*AttributeTypeError] if the server's attribute is another.
func checkAttributeType(kind enumspb.IndexedValueType) error {
	if kind == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED || kind == enumspb.INDEXED_VALUE_TYPE_KEYWORD {
		return nil
	}
	return &AttributeTypeError{kind.String()}
}

// IndexWatch knows whether the server has the search attribute now. The zero value does not
// know.
type IndexWatch struct{ now atomic.Int32 }

func (w *IndexWatch) saw(kind enumspb.IndexedValueType) {
	now := coffee.IndexGone
	if kind == enumspb.INDEXED_VALUE_TYPE_KEYWORD {
		now = coffee.IndexThere
	}
	w.now.Store(int32(now))
}

// Index is what a worker wants to know; see [coffee.WorkerOptions].
func (w *IndexWatch) Index() coffee.Index { return coffee.Index(w.now.Load()) }

// attributePause is the time between two looks at the search attribute. As long an order
// can wait for its end that tries to write to one that was removed.
const attributePause = 5 * time.Second

// Run looks again and again, until the context ends.
func (w *IndexWatch) Run(ctx context.Context, c client.Client, namespace string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(attributePause):
		}
		if kind, err := attributeType(ctx, c, namespace); err == nil {
			w.saw(kind)
		}
	}
}

// Ensure adds the search attribute that orders write their outcome to if the server lacks
// it, and returns when queries know it. Without it, as on a server that does not let a
// worker add it, orders end all the same; the error says why.
func (w *IndexWatch) Ensure(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	kind, err := attributeType(ctx, c, namespace)
	if err != nil {
		return err
	}
	if w.saw(kind); kind != enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
		return checkAttributeType(kind)
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        namespace,
		SearchAttributes: map[string]enumspb.IndexedValueType{coffee.SearchAttributeStatus: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return err
	}
	// The server's components learn of the attribute one after another. A query
	// that succeeds shows that it is known.
	for {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: namespace,
			Query:     StatusQuery(coffee.StatusCompleted),
		})
		if err == nil {
			w.saw(enumspb.INDEXED_VALUE_TYPE_KEYWORD)
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}
