package encryption

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	sdkpb "go.temporal.io/api/sdk/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// DialOption encrypts what a Temporal client sends and decrypts what it receives. A nil
// Keyset only recognizes what it cannot read, so that it is not taken for something
// else. No other option of the connection may be a [grpc.WithUnaryInterceptor], which
// comes before all others: so requests that are tried again are encrypted once, and
// errors reach the caller as they are.
//
// What cannot be decrypted is a [*MissingKeyError], except where nothing depends on it:
// a memo, a summary, a header, the argument of a signal, a step in progress. Those stay
// as they are.
//
// A worker gives back a task that it cannot read, and says why in the order's history.
// The watch, unless nil, learns of that.
func (k *Keyset) DialOption(watch *Watch) grpc.DialOption {
	return grpc.WithUnaryInterceptor(interceptor{k, watch}.intercept)
}

type interceptor struct {
	keyset *Keyset
	watch  *Watch
}

// workflowService begins the names of the methods whose messages have payloads.
const workflowService = "/temporal.api.workflowservice.v1.WorkflowService/"

func (i interceptor) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	sent, ok := request.(proto.Message)
	received, ok2 := reply.(proto.Message)
	if !ok || !ok2 || !strings.HasPrefix(method, workflowService) || ctx.Value(plain{}) != nil {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	if i.keyset != nil {
		sent = proto.Clone(sent) // the caller may send it again
		if err := i.keyset.encryptAll(ctx, sent, workflowOf(sent)); err != nil {
			return err
		}
	}
	if err := invoke(ctx, method, sent, reply, conn, options...); err != nil {
		return err
	}
	err := i.decrypt(ctx, sent, received)
	var missing *MissingKeyError
	if history, ok := reply.(*workflowservice.GetWorkflowExecutionHistoryResponse); ok && errors.As(err, &missing) {
		missing.untouched = isUntouched(history)
	}
	if from, ok := sent.(workerRequest); ok {
		switch reply := reply.(type) {
		case *workflowservice.PollWorkflowTaskQueueResponse:
			if IsUnreadable(err) {
				return i.giveBackWorkflowTask(ctx, conn, from, reply, err)
			}
			i.watch.read(reply.GetTaskToken())
		case *workflowservice.PollActivityTaskQueueResponse:
			if IsUnreadable(err) {
				return i.giveBackActivity(ctx, conn, from, reply, err)
			}
			i.watch.read(reply.GetTaskToken())
		case *workflowservice.RespondWorkflowTaskCompletedResponse: // it may bring the next task
			if IsUnreadable(err) && reply.GetWorkflowTask() != nil {
				err = i.giveBackWorkflowTask(ctx, conn, from, reply.WorkflowTask, err)
				reply.WorkflowTask = nil
				return errors.Join(err, i.decrypt(ctx, sent, received))
			}
		}
	}
	return err
}

// isUntouched reports whether a history is there as a whole, and no worker has completed a
// task of it. A run that a reset began may have done what the run before it did.
func isUntouched(history *workflowservice.GetWorkflowExecutionHistoryResponse) bool {
	events := history.GetHistory().GetEvents()
	return len(history.GetNextPageToken()) == 0 && len(events) > 0 && events[0].GetEventId() == 1 &&
		!slices.ContainsFunc(events, func(event *historypb.HistoryEvent) bool {
			return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED ||
				event.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
		})
}

// workerRequest is a request of a worker.
type workerRequest interface {
	GetNamespace() string
	GetIdentity() string
	GetDeploymentOptions() *deploymentpb.WorkerDeploymentOptions
}

// IsUnreadable reports whether an error means that something could not be decrypted.
func IsUnreadable(err error) bool {
	var missing *MissingKeyError
	return errors.As(err, &missing) || errors.Is(err, ErrDamaged)
}

// decrypt decrypts what was received. Without a keyset it returns an error if it would
// have to.
func (i interceptor) decrypt(ctx context.Context, sent, received proto.Message) error {
	workflow := func() string { return cmp.Or(workflowOf(received), workflowOf(sent)) }
	if i.keyset != nil {
		return i.keyset.decryptAll(ctx, received, workflow())
	}
	if payload := firstEncrypted(received); payload != nil {
		_, err := i.keyset.decrypt(payload, workflow())
		return err
	}
	return nil
}

// queryFailed stands for why a query failed, which may repeat what is in the history. The
// failure beside it has the reason, encrypted.
const queryFailed = "the query failed; why is encrypted"

// encryptAll encrypts the payloads in a message, and the texts of failures.
func (k *Keyset) encryptAll(ctx context.Context, message proto.Message, workflow string) error {
	switch m := message.(type) {
	case *workflowservice.RespondQueryTaskCompletedRequest:
		if m.ErrorMessage != "" {
			m.ErrorMessage = queryFailed
		}
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		for _, result := range m.GetQueryResults() {
			if result.ErrorMessage != "" {
				result.ErrorMessage = queryFailed
			}
		}
	}
	err := proxy.VisitFailures(ctx, message, proxy.VisitFailuresOptions{
		Visitor: func(_ *proxy.VisitFailuresContext, failure *failurepb.Failure) error {
			return converter.EncodeCommonFailureAttributes(converter.GetDefaultDataConverter(), failure)
		},
	})
	if err != nil {
		return err
	}
	return proxy.VisitPayloads(ctx, message, proxy.VisitPayloadsOptions{
		SkipSearchAttributes: true,
		Visitor: func(_ *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
			return each(payloads, func(p *commonpb.Payload) (*commonpb.Payload, error) { return k.encrypt(p, workflow) })
		},
	})
}

// optional marks the context of what may stay encrypted.
type optional struct{}

// decryptAll decrypts the payloads in a message, and then the texts of failures.
func (k *Keyset) decryptAll(ctx context.Context, message proto.Message, workflow string) error {
	encrypted := false
	err := proxy.VisitPayloads(ctx, message, proxy.VisitPayloadsOptions{
		SkipSearchAttributes: true,
		ContextHook: func(ctx context.Context, entered proto.Message) (context.Context, error) {
			switch entered := entered.(type) {
			case *historypb.WorkflowExecutionSignaledEventAttributes, *commonpb.Header, *commonpb.Memo, *sdkpb.UserMetadata, *workflowpb.PendingActivityInfo:
				return context.WithValue(ctx, optional{}, true), nil
			case *workflowpb.WorkflowExecutionInfo: // one of a list
				workflow = entered.GetExecution().GetWorkflowId()
			}
			return ctx, nil
		},
		Visitor: func(visit *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
			return each(payloads, func(p *commonpb.Payload) (*commonpb.Payload, error) {
				if !isEncrypted(p) {
					return p, nil
				}
				encrypted = true
				decrypted, err := k.decrypt(p, workflow)
				if err != nil && visit.Value(optional{}) != nil {
					return p, nil
				}
				return decrypted, err
			})
		},
	})
	if err != nil || !encrypted {
		return err
	}
	return proxy.VisitFailures(ctx, message, proxy.VisitFailuresOptions{
		Visitor: func(_ *proxy.VisitFailuresContext, failure *failurepb.Failure) error {
			converter.DecodeCommonFailureAttributes(converter.GetDefaultDataConverter(), failure)
			return nil
		},
	})
}

// firstEncrypted returns a payload in a message that cannot be read without a keyset, and
// on which something depends; nil if there is none. It looks where clients and workers of
// this program read, and not at every field of every message as decryptAll does: it is
// for programs without a keyset, which should not pay for those that have one.
func firstEncrypted(message proto.Message) *commonpb.Payload {
	switch m := message.(type) {
	case *workflowservice.PollWorkflowTaskQueueResponse:
		return firstEncryptedEvent(m.GetHistory().GetEvents())
	case *workflowservice.RespondWorkflowTaskCompletedResponse:
		return firstEncryptedEvent(m.GetWorkflowTask().GetHistory().GetEvents())
	case *workflowservice.GetWorkflowExecutionHistoryResponse:
		return firstEncryptedEvent(m.GetHistory().GetEvents())
	case *workflowservice.PollActivityTaskQueueResponse:
		return firstOf(m.GetInput())
	case *workflowservice.QueryWorkflowResponse:
		return firstOf(m.GetQueryResult())
	}
	return nil
}

func firstEncryptedEvent(events []*historypb.HistoryEvent) *commonpb.Payload {
	for _, event := range events {
		var found *commonpb.Payload
		switch a := event.GetAttributes().(type) {
		case *historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes:
			found = firstOf(a.WorkflowExecutionStartedEventAttributes.GetInput())
		case *historypb.HistoryEvent_ActivityTaskCompletedEventAttributes:
			found = firstOf(a.ActivityTaskCompletedEventAttributes.GetResult())
		case *historypb.HistoryEvent_ActivityTaskFailedEventAttributes:
			found = onlyEncrypted(a.ActivityTaskFailedEventAttributes.GetFailure().GetEncodedAttributes())
		case *historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes:
			found = firstOf(a.WorkflowExecutionCompletedEventAttributes.GetResult())
		case *historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes:
			found = onlyEncrypted(a.WorkflowExecutionFailedEventAttributes.GetFailure().GetEncodedAttributes())
		case *historypb.HistoryEvent_MarkerRecordedEventAttributes: // side effects, versions
			for _, payloads := range a.MarkerRecordedEventAttributes.GetDetails() {
				if found = firstOf(payloads); found != nil {
					break
				}
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

func firstOf(payloads *commonpb.Payloads) *commonpb.Payload {
	if len(payloads.GetPayloads()) == 0 {
		return nil
	}
	return onlyEncrypted(payloads.GetPayloads()[0])
}

// onlyEncrypted returns a payload if it is encrypted.
func onlyEncrypted(payload *commonpb.Payload) *commonpb.Payload {
	if payload == nil || !isEncrypted(payload) {
		return nil
	}
	return payload
}

// workflowOf returns the id of the workflow that a message is about; empty if it does
// not say.
func workflowOf(message proto.Message) string {
	switch m := message.(type) {
	case interface{ GetWorkflowId() string }: // starts, and signals with a start
		return m.GetWorkflowId()
	case interface {
		GetWorkflowExecution() *commonpb.WorkflowExecution // signals, polls
	}:
		return m.GetWorkflowExecution().GetWorkflowId()
	case interface {
		GetExecution() *commonpb.WorkflowExecution // queries, histories
	}:
		return m.GetExecution().GetWorkflowId()
	case interface{ GetResourceId() string }: // what workers answer
		id, _ := strings.CutPrefix(m.GetResourceId(), "workflow:")
		return id
	case interface {
		GetWorkflowExecutionInfo() *workflowpb.WorkflowExecutionInfo // descriptions
	}:
		return m.GetWorkflowExecutionInfo().GetExecution().GetWorkflowId()
	}
	return ""
}

// DecryptHistory decrypts a history that was read from a file. It returns a
// [*MissingKeyError] or [ErrDamaged].
func (k *Keyset) DecryptHistory(workflowID string, events []*historypb.HistoryEvent) error {
	return k.decryptAll(context.Background(), &historypb.History{Events: events}, workflowID)
}
