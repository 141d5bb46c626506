package coffee

import (
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

// A payload that nobody here could decrypt has an encoding that is also that of Temporal's
// samples, and may say why; see package encryption.
const (
	encodingEncrypted = "binary/encrypted"
	metadataProblem   = "encryption-problem"
)

// UnreadableError reports that one order cannot be read: its history is damaged, has no
// end, or is encrypted and cannot be decrypted here. That says nothing about the others.
type UnreadableError struct {
	OrderID string
	Err     error // what is wrong
	// Encrypted is true if a key would help.
	Encrypted bool
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("order %s: %s", Printable(e.OrderID), Printable(e.Err.Error()))
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// Unreadable implements what [IsUnreadable] looks for.
func (e *UnreadableError) Unreadable() bool { return true }

// IsUnreadable reports whether an error is about one order alone: it is an
// [*UnreadableError], or one of package encryption.
func IsUnreadable(err error) bool {
	var e interface {
		error
		Unreadable() bool
	}
	return errors.As(err, &e) && e.Unreadable()
}

// CheckReadable returns an [*UnreadableError] if something in a history is encrypted on which
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
						problem = unreadable(payload)
					}
				}
				return payloads, nil
			},
		})
		if err == nil && problem != "" {
			err = &UnreadableError{OrderID: orderID, Err: errors.New("its history is " + problem), Encrypted: true}
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

// unreadable returns why a payload cannot be read here; empty if it is not encrypted.
func unreadable(payload *commonpb.Payload) string {
	metadata := payload.GetMetadata()
	switch {
	case string(metadata[converter.MetadataEncoding]) != encodingEncrypted:
		return ""
	case len(metadata[metadataProblem]) > 0:
		return clip(string(metadata[metadataProblem]), maxText)
	}
	return "encrypted"
}
