package desk

import (
	"context"
	"errors"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	sdkpb "go.temporal.io/api/sdk/v1"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
)

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
