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

// attributeWatch knows whether the search attribute that the server had is lost: somebody
// has removed it, or replaced it by one of another type. The zero value says that it is
// not; a nil one does as well.
type attributeWatch struct{ gone atomic.Bool }

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
			w.gone.Store(kind != enumspb.INDEXED_VALUE_TYPE_KEYWORD)
		}
	}
}

func (w *attributeWatch) lost() bool { return w != nil && w.gone.Load() }

// ensureSearchAttribute reports whether the server has the search attribute that
// orders write their outcome to, and adds it if it is missing. On a server that
// does not allow that, orders do without.
func ensureSearchAttribute(ctx context.Context, c client.Client, namespace string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	kind, err := attributeType(ctx, c, namespace)
	if err != nil || kind != enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
		return kind == enumspb.INDEXED_VALUE_TYPE_KEYWORD, err
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        namespace,
		SearchAttributes: map[string]enumspb.IndexedValueType{SearchAttributeStatus: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return false, err
	}
	// The server's components learn of the attribute one after another. A query
	// that succeeds shows that it is known.
	for {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: namespace,
			Query:     statusQuery(StatusCompleted),
		})
		if err == nil {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}
