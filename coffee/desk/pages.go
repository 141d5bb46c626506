package desk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
)

// Every list and every history is read here. Neither trusts the server to come to an end.

// Executions iterates over the runs of workflows that a query finds, in the server's
// order: first those that run, then those that ended most recently. It ends after an
// error, and after limit runs; 0 means all. It asks the server for up to page runs at once.
func (c *Client) Executions(ctx context.Context, query string, limit, page int) iter.Seq2[*workflowpb.WorkflowExecutionInfo, error] {
	if limit <= 0 {
		limit = math.MaxInt
	}
	return func(yield func(*workflowpb.WorkflowExecutionInfo, error) bool) {
		var token []byte
		seen := map[string]bool{}
		for left := limit; left > 0; {
			list, err := c.Temporal().ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace:     c.Namespace(),
				Query:         query,
				PageSize:      int32(min(left, page)),
				NextPageToken: token,
			})
			if err != nil {
				yield(nil, err)
				return
			}
			left -= len(list.GetExecutions())
			for _, info := range list.GetExecutions() {
				if !yield(info, nil) {
					return
				}
			}
			if token = list.GetNextPageToken(); len(token) == 0 {
				return
			}
			if len(list.GetExecutions()) == 0 || seen[string(token)] {
				yield(nil, errors.New("the server's list of workflows has no end"))
				return
			}
			seen[string(token)] = true
		}
	}
}

// A server ends a workflow whose history has more than 51,200 events or 50 MB, unless it
// is configured otherwise. What is much longer is no history.
const (
	mostEvents       = 2 * 51_200
	mostHistoryBytes = 2 * 50 << 20
)

// Events iterates over the events of a run, oldest first. It ends after an error, which
// is [coffee.ErrNotFound] if there is no such run, and an [*coffee.UnreadableError] if only this history
// cannot be read.
func (c *Client) Events(ctx context.Context, execution *commonpb.WorkflowExecution) iter.Seq2[*historypb.HistoryEvent, error] {
	id := coffee.OrderID(execution.GetWorkflowId())
	return func(yield func(*historypb.HistoryEvent, error) bool) {
		var last int64
		size := 0
		events := c.Temporal().GetWorkflowHistory(ctx, execution.GetWorkflowId(), execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				yield(nil, Unreadable(id, coffee.NotFound(id, err)))
				return
			}
			size += proto.Size(event)
			switch number := event.GetEventId(); {
			case number != last+1:
				err = fmt.Errorf("its history is damaged: event %d follows event %d", number, last)
			case number > mostEvents, size > mostHistoryBytes:
				err = errors.New("its history is longer than any that a server keeps")
			}
			if err != nil {
				yield(nil, Unreadable(id, err))
				return
			}
			last++
			if !yield(event, nil) {
				return
			}
		}
		if last == 0 {
			yield(nil, Unreadable(id, errors.New("its history is empty")))
		}
	}
}

// Unreadable returns an [*coffee.UnreadableError] for an error that is about one order alone, and
// any other error as it is. Whatever the server does not say itself is about the order:
// it came, and cannot be decrypted or decoded. What it does say mostly concerns all
// orders: it is away, overloaded, or lets nobody in.
func Unreadable(orderID string, err error) error {
	var all interface{ Status() *status.Status } // as all errors of the server have
	var lost *serviceerror.DataLoss
	var internal *serviceerror.Internal // also from gRPC, for a message that it cannot decode
	var invalid *serviceerror.InvalidArgument
	var exhausted *serviceerror.ResourceExhausted
	switch {
	case err == nil, errors.Is(err, coffee.ErrNotFound), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &lost), errors.As(err, &internal), errors.As(err, &invalid):
	case errors.As(err, &exhausted) && strings.Contains(exhausted.Error(), "message larger than max"): // says gRPC
	case errors.As(err, &all):
		return err
	}
	return &coffee.UnreadableError{OrderID: orderID, Err: err}
}

// CheckReadable returns an [*coffee.UnreadableError] if something in a history is encrypted on which
// the order depends. Others can add to a history what they like, but only where it does not
// matter: signals, memos, summaries and headers.
func CheckReadable(orderID string, events []*historypb.HistoryEvent) error {
	for _, event := range events {
		if event.GetWorkflowExecutionSignaledEventAttributes() != nil || event.GetWorkflowTaskFailedEventAttributes() != nil {
			continue
		}
		problem := ""
		err := proxy.VisitPayloads(context.Background(), event, proxy.VisitPayloadsOptions{
			SkipSearchAttributes: true,
			Visitor: func(visit *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
				for _, payload := range payloads {
					if problem == "" && !isAside(visit.Parent) {
						problem = coffee.EncryptionProblem(payload)
					}
				}
				return payloads, nil
			},
		})
		if err == nil && problem != "" {
			err = &coffee.UnreadableError{OrderID: orderID, Err: errors.New("its history is " + problem), Encrypted: true}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isAside reports whether nothing depends on the payloads of a message.
func isAside(message proto.Message) bool {
	switch message.(type) {
	case *commonpb.Memo, *commonpb.Header, *sdkpb.UserMetadata:
		return true
	}
	return false
}
