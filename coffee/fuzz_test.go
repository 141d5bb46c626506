package coffee

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
)

// FuzzDecodeOrder decodes any payload that another client might send, and checks it.
// The result is an order in canonical form, or an error that is safe to show.
func FuzzDecodeOrder(f *testing.F) {
	for _, data := range []string{
		``, `null`, `42`, `"latte"`, `[]`, `{}`,
		`{"order_id":"123","drink":"latte","size":"M"}`,
		`{"order_id":"123","drink":" LATTE ","size":"m","more":1}`,
		`{"order_id":"\u202e","drink":"\u001b[2J","size":"\u0000"}`,
		`{"order_id":123,"drink":{},"size":[]}`,
	} {
		f.Add("order-123", "json/plain", []byte(data))
	}
	f.Add("order-", "binary/null", []byte{})
	f.Add("123", "binary/protobuf", []byte{1, 2, 3})
	f.Add("order-123", "", []byte(`{}`))
	f.Fuzz(func(t *testing.T, workflowID, encoding string, data []byte) {
		payload := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte(encoding)}, Data: data}
		order, err := decodeOrder(workflowID, converter.NewRawValue(payload))
		if again := order.canonical(); again != order || len(order.Drink)+len(order.Size) > 1000 {
			t.Fatalf("%+v is not canonical or too long", order)
		}
		if err == nil {
			order, err = order.Normalize()
		}
		if err != nil {
			var invalid *InvalidOrderError
			if !errors.As(err, &invalid) {
				t.Fatalf("not an InvalidOrderError: %v", err)
			}
			for _, r := range err.Error() {
				if !unicode.IsPrint(r) {
					t.Fatalf("the error has %q in it: %q", r, err)
				}
			}
			if len(err.Error()) > 2000 {
				t.Fatalf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		again, err := order.Normalize()
		if err != nil || again != order {
			t.Fatalf("%+v is not canonical: %+v, %v", order, again, err)
		}
		if workflowID != WorkflowID(order.OrderID) || OrderID(workflowID) != order.OrderID {
			t.Fatalf("order %q in workflow %q", order.OrderID, workflowID)
		}
		if (StandardPricing{}).Price(order, time.Time{}) <= 0 {
			t.Fatalf("%+v costs nothing", order)
		}
	})
}

// FuzzOrderID: a valid id is harmless in a terminal, a URL, a file name and a
// query.
func FuzzOrderID(f *testing.F) {
	for _, id := range []string{"", "123", "a-b_c.d", "-1", "..", "a/b", "a'b", "ü", strings.Repeat("a", 64), strings.Repeat("a", 65), "a\n"} {
		f.Add(id)
	}
	const harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	f.Fuzz(func(t *testing.T, id string) {
		if ValidateOrderID(id) != nil {
			return
		}
		if len(id) < 1 || len(id) > MaxOrderIDLength || strings.Trim(id, harmless) != "" || strings.ContainsRune("._-", rune(id[0])) {
			t.Fatalf("%q is valid", id)
		}
		if OrderID(WorkflowID(id)) != id {
			t.Fatalf("%q became %q", id, OrderID(WorkflowID(id)))
		}
	})
}

// FuzzCancelReason: whatever comes with the cancel signal, the reason has a bounded
// length.
func FuzzCancelReason(f *testing.F) {
	for _, data := range []string{``, `null`, `42`, `{"reason":"too slow"}`, `{"reason":7}`, `{"reason":"\u001b[2J"}`} {
		f.Add("json/plain", []byte(data))
	}
	f.Fuzz(func(t *testing.T, encoding string, data []byte) {
		payload := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte(encoding)}, Data: data}
		if reason := CancelReason(payload); len([]rune(reason)) > 201 {
			t.Fatalf("the reason has %d characters", len([]rune(reason)))
		}
	})
}
