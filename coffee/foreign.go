package coffee

import (
	"cmp"
	"errors"
	"fmt"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"example.com/coffee/internal/text"
)

// clip cuts the texts of a state to size.
func (s *OrderState) clip() {
	s.OrderID = text.Clip(s.OrderID, MaxOrderIDLength)
	s.Stage = Stage(text.Clip(string(s.Stage), text.MaxName))
	s.Drink, s.Size = Drink(text.Clip(string(s.Drink), text.MaxName)), Size(text.Clip(string(s.Size), text.MaxName))
	s.Pricing = text.Clip(s.Pricing, text.MaxName)
	s.CancelReason, s.Failure = text.Clip(s.CancelReason, text.MaxText), text.Clip(s.Failure, text.MaxText)
}

// clip cuts the texts of a request to size.
func (r *OrderRequest) clip() {
	r.OrderID = text.Clip(r.OrderID, MaxOrderIDLength)
	r.Drink, r.Size = Drink(text.Clip(string(r.Drink), text.MaxName)), Size(text.Clip(string(r.Size), text.MaxName))
}

// clip cuts the texts of a result to size.
func (r *OrderResult) clip() {
	r.OrderID = text.Clip(r.OrderID, MaxOrderIDLength)
	r.Status, r.Failure = OrderStatus(text.Clip(string(r.Status), text.MaxName)), text.Clip(r.Failure, text.MaxText)
}

// clip cuts the texts of a memo to size.
func (m *OrderMemo) clip() {
	m.Drink, m.Size = Drink(text.Clip(string(m.Drink), text.MaxName)), Size(text.Clip(string(m.Size), text.MaxName))
	m.Pricing = text.Clip(m.Pricing, text.MaxName)
}

// FirstPayload returns the first of the payloads; nil if there is none.
func FirstPayload(payloads *commonpb.Payloads) *commonpb.Payload {
	if len(payloads.GetPayloads()) == 0 {
		return nil
	}
	return payloads.GetPayloads()[0]
}

// Decode decodes a payload, as the SDK's default data converter does. It reports whether
// there is one that value can hold.
func Decode(payload *commonpb.Payload, value any) bool {
	return payload != nil && converter.GetDefaultDataConverter().FromPayload(payload, value) == nil
}

// DecodeRequest decodes the input of an order's workflow, whichever client started
// it, and cuts its texts to size. It returns false if the input is not an order.
func DecodeRequest(payloads *commonpb.Payloads) (OrderRequest, bool) {
	var request OrderRequest
	if !Decode(FirstPayload(payloads), &request) {
		return OrderRequest{}, false
	}
	request.clip()
	return request, true
}

// DecodeResult decodes the result of an order's workflow, whichever worker ran it,
// and cuts its texts to size. It returns false if the result is not an order's.
func DecodeResult(payloads *commonpb.Payloads) (OrderResult, bool) {
	var result OrderResult
	if !Decode(FirstPayload(payloads), &result) {
		return OrderResult{}, false
	}
	result.clip()
	return result, true
}

// DecodeMemo decodes the memo of an order's workflow, and cuts its texts to size. It returns
// false if it is not an order's.
func DecodeMemo(memo *commonpb.Memo) (OrderMemo, bool) {
	var order OrderMemo
	if !Decode(memo.GetFields()[MemoOrder], &order) {
		return OrderMemo{}, false
	}
	order.clip()
	return order, true
}

// CancelReason returns the reason in the argument of a cancel signal, cut to size; empty if
// there is none that can be decoded.
func CancelReason(argument *commonpb.Payload) string {
	var request CancelRequest
	if !Decode(argument, &request) {
		return ""
	}
	return text.Clip(request.Reason, text.MaxText)
}

// ValidateForeignID returns an [*InvalidOrderError] for an order id that no workflow can
// have. Orders of other clients may have ids that this program would not accept: any text
// that is not too long.
func ValidateForeignID(orderID string) error {
	if orderID == "" || !utf8.ValidString(orderID) || len(WorkflowID(orderID)) > maxWorkflowID {
		return &InvalidOrderError{Field: "order_id", Problem: fmt.Sprintf("bad order id %s", text.Quote(orderID))}
	}
	return nil
}

// maxWorkflowID is how many bytes a server takes as the id of a workflow by default.
const maxWorkflowID = 1000

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
	return fmt.Sprintf("order %s: %s", text.Printable(e.OrderID), text.Printable(e.Err.Error()))
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

// EncryptionProblem returns why one of the payloads cannot be read here; empty if none is
// encrypted.
func EncryptionProblem(payloads ...*commonpb.Payload) string {
	for _, payload := range payloads {
		metadata := payload.GetMetadata()
		if string(metadata[converter.MetadataEncoding]) == encodingEncrypted {
			return cmp.Or(text.Clip(string(metadata[metadataProblem]), text.MaxText), "encrypted")
		}
	}
	return ""
}
