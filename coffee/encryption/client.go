package encryption

import (
	"context"
	"slices"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

// Client returns a client for those who look on: it decrypts descriptions, lists and
// histories, which the SDK hands out as the server has them. What it cannot read stays
// encrypted, and is marked with the reason. A worker needs the SDK's own client, which the
// method Unwrap returns.
func (k *Keyset) Client(c client.Client, options Options) client.Client {
	return reader{c, k, options}
}

type reader struct {
	client.Client
	keyset  *Keyset
	options Options
}

// Unwrap returns the SDK's client.
func (r reader) Unwrap() client.Client { return r.Client }

// DescribeWorkflowExecution implements [client.Client].
func (r reader) DescribeWorkflowExecution(ctx context.Context, workflowID, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	described, err := r.Client.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return nil, err
	}
	parent := described.GetWorkflowExecutionInfo().GetParentExecution().GetWorkflowId() // has bound a child's memo and summary
	return described, r.decrypt(ctx, described, workflowID, parent)
}

// ListWorkflow implements [client.Client].
func (r reader) ListWorkflow(ctx context.Context, request *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	list, err := r.Client.ListWorkflow(ctx, request)
	if err != nil {
		return nil, err
	}
	return list, r.decrypt(ctx, list)
}

// GetWorkflowHistory implements [client.Client].
func (r reader) GetWorkflowHistory(ctx context.Context, workflowID, runID string, isLongPoll bool, filter enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	return events{r.Client.GetWorkflowHistory(ctx, workflowID, runID, isLongPoll, filter), func(event *historypb.HistoryEvent) error {
		return r.decrypt(ctx, event, workflowID)
	}}
}

type events struct {
	client.HistoryEventIterator
	decrypt func(*historypb.HistoryEvent) error
}

// Next implements [client.HistoryEventIterator].
func (e events) Next() (*historypb.HistoryEvent, error) {
	event, err := e.HistoryEventIterator.Next()
	if err != nil {
		return nil, err
	}
	return event, e.decrypt(event)
}

// DecryptHistory decrypts a history that was read from a file, as [Keyset.Client] does one
// of a server.
func (k *Keyset) DecryptHistory(workflowID string, events []*historypb.HistoryEvent) error {
	return reader{keyset: k}.decrypt(context.Background(), &historypb.History{Events: events}, workflowID)
}

// workflows is the key of a context's workflows, to which what is read may be bound.
type workflows struct{}

// decrypt decrypts the payloads in a message about a workflow, which may be bound to one of
// some ids, and then the texts of failures.
func (r reader) decrypt(ctx context.Context, message proto.Message, ids ...string) error {
	err := proxy.VisitPayloads(context.WithValue(ctx, workflows{}, ids), message, proxy.VisitPayloadsOptions{
		SkipSearchAttributes: true,
		ContextHook: func(ctx context.Context, entered proto.Message) (context.Context, error) {
			return context.WithValue(ctx, workflows{}, boundTo(entered, ctx.Value(workflows{}).([]string))), nil
		},
		Visitor: func(visit *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
			return each(payloads, func(payload *commonpb.Payload) (*commonpb.Payload, error) {
				decrypted, err := r.keyset.decrypt(payload, r.options.Namespace, visit.Value(workflows{}).([]string)...)
				if err != nil {
					r.options.Guard.missed(err)
					return marked(payload, err), nil
				}
				if !isNothing(payload) {
					r.options.Guard.read()
				}
				return decrypted, nil
			})
		},
	})
	if err != nil {
		return err
	}
	return proxy.VisitFailures(ctx, message, proxy.VisitFailuresOptions{
		Visitor: func(_ *proxy.VisitFailuresContext, failure *failurepb.Failure) error {
			converter.DecodeCommonFailureAttributes(converter.GetDefaultDataConverter(), failure)
			return nil
		},
	})
}

// boundTo returns the workflows to which the payloads in a part of a message may be bound,
// given those of the message around it.
func boundTo(part proto.Message, around []string) []string {
	around = slices.Clip(around)
	switch part := part.(type) {
	case *workflowpb.WorkflowExecutionInfo: // one of a list
		return []string{part.GetExecution().GetWorkflowId(), part.GetParentExecution().GetWorkflowId()}
	case *historypb.HistoryEvent: // with the memo and the summary, if it is the first
		return append(around, part.GetWorkflowExecutionStartedEventAttributes().GetParentWorkflowExecution().GetWorkflowId())
	case *historypb.StartChildWorkflowExecutionInitiatedEventAttributes:
		return append(around, part.GetWorkflowId())
	case *historypb.ChildWorkflowExecutionCompletedEventAttributes:
		return append(around, part.GetWorkflowExecution().GetWorkflowId())
	case *historypb.SignalExternalWorkflowExecutionInitiatedEventAttributes:
		return append(around, part.GetWorkflowExecution().GetWorkflowId())
	case *failurepb.Failure: // travels from child to parent
		return nil
	}
	return around
}
