package coffee

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
)

// Clients and workers in other languages may write text of any kind and length. It
// is cut to size where it comes in, so that lists and pages need not do it.
const (
	maxName = 64  // characters of a drink, a size, a price list
	maxText = 200 // characters of a reason or a failure
)

// clip cuts the texts of a state to size.
func (s *OrderState) clip() {
	s.OrderID = clip(s.OrderID, MaxOrderIDLength)
	s.Stage = Stage(clip(string(s.Stage), maxName))
	s.Drink, s.Size = Drink(clip(string(s.Drink), maxName)), Size(clip(string(s.Size), maxName))
	s.Pricing = clip(s.Pricing, maxName)
	s.CancelReason, s.Failure = clip(s.CancelReason, maxText), clip(s.Failure, maxText)
}

// clip cuts the texts of a request to size.
func (r *OrderRequest) clip() {
	r.OrderID = clip(r.OrderID, MaxOrderIDLength)
	r.Drink, r.Size = Drink(clip(string(r.Drink), maxName)), Size(clip(string(r.Size), maxName))
}

// clip cuts the texts of a result to size.
func (r *OrderResult) clip() {
	r.OrderID = clip(r.OrderID, MaxOrderIDLength)
	r.Status = OrderStatus(clip(string(r.Status), maxName))
}

// clip cuts the texts of a memo to size.
func (m *orderMemo) clip() {
	m.Drink, m.Size = Drink(clip(string(m.Drink), maxName)), Size(clip(string(m.Size), maxName))
	m.Pricing = clip(m.Pricing, maxName)
}

// DecodeRequest decodes the input of an order's workflow, whichever client started
// it, and cuts its texts to size. It returns false if the input is not an order.
func DecodeRequest(payloads *commonpb.Payloads) (OrderRequest, bool) {
	var request OrderRequest
	payload := firstPayload(payloads).Payload()
	if payload == nil || decode(payload, &request) != nil {
		return OrderRequest{}, false
	}
	request.clip()
	return request, true
}

// DecodeResult decodes the result of an order's workflow, whichever worker ran it,
// and cuts its texts to size. It returns false if the result is not an order's.
func DecodeResult(payloads *commonpb.Payloads) (OrderResult, bool) {
	var result OrderResult
	payload := firstPayload(payloads).Payload()
	if payload == nil || decode(payload, &result) != nil {
		return OrderResult{}, false
	}
	result.clip()
	return result, true
}

// ValidateForeignID returns an [*InvalidOrderError] for an order id that no workflow can
// have. Orders of other clients may have ids that this program would not accept: any text
// that is not too long.
func ValidateForeignID(orderID string) error {
	if orderID == "" || !utf8.ValidString(orderID) || len(WorkflowID(orderID)) > maxWorkflowID {
		return &InvalidOrderError{Field: "order_id", Problem: fmt.Sprintf("bad order id %s", Quote(orderID))}
	}
	return nil
}

// maxWorkflowID is how many bytes a server takes as the id of a workflow by default.
const maxWorkflowID = 1000

// plainText makes a text from outside one that every program takes: valid UTF-8, in one
// line, without what a terminal may obey, and not too long.
func plainText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	return clip(strings.TrimSpace(s), maxPlain)
}

// maxPlain is the length of the longest message of a failure, in characters. The server
// cuts the messages of failures that are longer than a few kilobytes.
const maxPlain = 1000
