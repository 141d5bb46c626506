package coffee

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
)

// attributeType returns the type of the search attribute [SearchAttributeStatus], which is
// unspecified if the server does not have it.
func attributeType(ctx context.Context, c client.Client, namespace string) (enumspb.IndexedValueType, error) {
	list, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	return list.GetCustomAttributes()[SearchAttributeStatus], err
}

// checkAttributeType returns an [*AttributeTypeError] if the server's attribute is another.
func checkAttributeType(kind enumspb.IndexedValueType) error {
	if kind == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED || kind == enumspb.INDEXED_VALUE_TYPE_KEYWORD {
		return nil
	}
	return &AttributeTypeError{kind.String()}
}

// attributeWatch knows whether the server has the search attribute now: anybody can add it,
// remove it, or replace it by one of another type. The zero value does not know; a nil one
// does not either.
type attributeWatch struct{ has, gone atomic.Bool }

func (w *attributeWatch) saw(kind enumspb.IndexedValueType) {
	w.has.Store(kind == enumspb.INDEXED_VALUE_TYPE_KEYWORD)
	w.gone.Store(kind != enumspb.INDEXED_VALUE_TYPE_KEYWORD)
}

// there reports whether the server is known to have the attribute.
func (w *attributeWatch) there() bool { return w != nil && w.has.Load() }

// lost reports whether the server is known not to have it.
func (w *attributeWatch) lost() bool { return w != nil && w.gone.Load() }

// attributePause is the time between two looks at the search attribute. As long an order
// can wait for its end that tries to write to one that was removed.
const attributePause = 5 * time.Second

func (w *attributeWatch) run(ctx context.Context, c client.Client, namespace string) {
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

// ensure adds the search attribute that orders write their outcome to if the server lacks
// it, and returns when queries know it. Without it, as on a server that does not let a
// worker add it, orders end all the same; the error says why.
func (w *attributeWatch) ensure(ctx context.Context, c client.Client, namespace string) error {
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
		SearchAttributes: map[string]enumspb.IndexedValueType{SearchAttributeStatus: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
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
			Query:     statusQuery(StatusCompleted),
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
