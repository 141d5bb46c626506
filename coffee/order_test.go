package coffee

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestOrderNormalize(t *testing.T) {
	t.Parallel()
	got, err := OrderRequest{OrderID: "a.B_c-1", Drink: " Latte ", Size: "m"}.Normalize()
	if want := (OrderRequest{OrderID: "a.B_c-1", Drink: "latte", Size: SizeM}); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []struct {
		order OrderRequest
		field string
	}{
		{OrderRequest{"", "latte", SizeM}, "order_id"},
		{OrderRequest{"-1", "latte", SizeM}, "order_id"},
		{OrderRequest{"a b", "latte", SizeM}, "order_id"},
		{OrderRequest{"a\n", "latte", SizeM}, "order_id"},
		{OrderRequest{"ü", "latte", SizeM}, "order_id"},
		{OrderRequest{strings.Repeat("a", MaxOrderIDLength+1), "latte", SizeM}, "order_id"},
		{OrderRequest{"1", "", SizeM}, "drink"},
		{OrderRequest{"1", "tea", SizeM}, "drink"},
		{OrderRequest{"1", "latte", ""}, "size"},
		{OrderRequest{"1", "latte", "XL"}, "size"},
	} {
		_, err := bad.order.Normalize()
		var invalid *InvalidOrderError
		if !errors.As(err, &invalid) || invalid.Field != bad.field {
			t.Errorf("%+v: got %v, want an error about %s", bad.order, err, bad.field)
		}
	}
	if err := ValidateOrderID(strings.Repeat("a", MaxOrderIDLength)); err != nil {
		t.Error(err)
	}
}

func TestParseDrinkSuggests(t *testing.T) {
	t.Parallel()
	for typo, want := range map[string]string{"lattee": "latte", "mocca": "mocha", "Expresso": "espresso", "flatwhite": "flat-white"} {
		if _, err := ParseDrink(typo); err == nil || !strings.Contains(err.Error(), "did you mean "+want+"?") {
			t.Errorf("%s: got %v, want %s suggested", typo, err, want)
		}
	}
	_, err := ParseDrink("sparkling water\x1b[2J\u202e")
	if err == nil || strings.Contains(err.Error(), "did you mean") || strings.ContainsAny(err.Error(), "\x1b\u202e") {
		t.Errorf("got %v, want no suggestion and no control characters", err)
	}
	for _, drink := range Menu() {
		if !strings.Contains(err.Error(), string(drink)) {
			t.Errorf("%s of the menu is missing in: %v", drink, err)
		}
	}
}

func TestNewOrderIDIsValid(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		id := NewOrderID()
		if err := ValidateOrderID(id); err != nil || len(id) > 6 {
			t.Errorf("%s: %v", id, err)
		}
		seen[id] = true
	}
	if len(seen) < 99 {
		t.Errorf("only %d of 100 ids differ", len(seen))
	}
}

func TestStandardPricing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		drink Drink
		size  Size
		want  Cents
	}{
		{"espresso", SizeS, 300}, {"espresso", SizeM, 450}, {"espresso", SizeL, 600},
		{"latte", SizeS, 375}, {"latte", SizeM, 525}, {"mocha", SizeL, 675}, {"chai-latte", SizeL, 675},
	} {
		if got := (StandardPricing{}).Price(OrderRequest{Drink: test.drink, Size: test.size}, time.Now()); got != test.want {
			t.Errorf("%s (%s): got %v, want %v", test.drink, test.size, got, test.want)
		}
	}
	medium := map[Drink]Cents{
		"americano": 450, "cappuccino": 450, "chai-latte": 525, "cortado": 450, "espresso": 450,
		"filter": 450, "flat-white": 450, "latte": 525, "macchiato": 450, "mocha": 525,
	}
	for _, drink := range Menu() {
		if got := (StandardPricing{}).Price(OrderRequest{Drink: drink, Size: SizeM}, time.Now()); got != medium[drink] {
			t.Errorf("%s (M): got %v, want %v", drink, got, medium[drink])
		}
	}
}

func TestHappyHourPricing(t *testing.T) {
	t.Parallel()
	pricing, err := PricingByName("happy-hour")
	if err != nil {
		t.Fatal(err)
	}
	latte := OrderRequest{Drink: "latte", Size: SizeM}
	elsewhere := time.FixedZone("elsewhere", -7*3600)
	for _, test := range []struct {
		at   time.Time
		want Cents
	}{
		{time.Date(2026, 1, 1, 14, 59, 59, 0, time.UTC), 525},
		{time.Date(2026, 1, 1, 15, 0, 0, 0, time.UTC), 420},
		{time.Date(2026, 1, 1, 16, 59, 59, 0, time.UTC), 420},
		{time.Date(2026, 1, 1, 17, 0, 0, 0, time.UTC), 525},
		{time.Date(2026, 1, 1, 8, 30, 0, 0, elsewhere), 420}, // half past three in UTC
	} {
		if got := pricing.Price(latte, test.at); got != test.want {
			t.Errorf("at %v: got %v, want %v", test.at, got, test.want)
		}
	}
	// A third off $5.25 is $3.5175: the fraction of a cent is the customer's.
	third := HappyHourPricing{Regular: StandardPricing{}, FromHour: 0, ToHour: 24, PercentOff: 33}
	if got := third.Price(latte, time.Now()); got != 351 {
		t.Errorf("with a third off: got %d cents, want 351", got)
	}
	if _, err := PricingByName("free"); err == nil {
		t.Error("there is a pricing strategy called free")
	}
}

func TestCentsString(t *testing.T) {
	t.Parallel()
	for cents, want := range map[Cents]string{0: "$0.00", 5: "$0.05", 525: "$5.25", -1234: "-$12.34"} {
		if got := cents.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(cents), got, want)
		}
	}
}

// TestWireNames pins what clients and workers in other languages rely on.
func TestWireNames(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		WorkflowType:           "OrderCoffeeWorkflow",
		WorkflowID("123"):      "order-123",
		TaskQueue:              "coffee-orders",
		ActivityChargeCustomer: "charge_customer",
		ActivityBrewCoffee:     "brew_coffee",
		ActivitySendReceipt:    "send_receipt",
		ActivityRefundCustomer: "refund_customer",
		ActivityDeliverCoffee:  "deliver_coffee",
		SignalCancelOrder:      "cancel_order",
		QueryGetStatus:         "get_status",
		SearchAttributeStatus:  "CoffeeStatus",
		ErrorTypeJammed:        "Jammed",
		ErrorTypeInvalidOrder:  "InvalidOrder",
		ErrorTypeInvalidInput:  "InvalidInput",
		ErrorTypeRefused:       "Refused",
		ActivityRecallOrder:    "recall_order",
		MemoOrder:              "order",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, test := range []struct {
		value any
		want  string
	}{
		{OrderRequest{"123", "latte", SizeM}, `{"order_id":"123","drink":"latte","size":"M"}`},
		{OrderResult{OrderID: "123", Status: StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 525},
			`{"order_id":"123","status":"COMPLETED","charged":true,"brewed":true,"receipt_sent":true,"amount_cents":525}`},
		{OrderResult{OrderID: "123", Status: StatusCancelled, Charged: true, AmountCents: 525, Refunded: true},
			`{"order_id":"123","status":"CANCELLED","charged":true,"brewed":false,"receipt_sent":false,"amount_cents":525,"refunded":true}`},
		{OrderState{OrderID: "123", AmountCents: 525, Stage: StageCharging},
			`{"order_id":"123","cancelled":false,"charged":false,"brewed":false,"receipt_sent":false,"amount_cents":525,"stage":"CHARGING","refunded":false}`},
		{OrderState{OrderID: "123", Stage: StageDone, Drink: "latte", Size: SizeM, Pricing: "standard", CancelReason: "late", Failure: "jammed"},
			`{"order_id":"123","cancelled":false,"charged":false,"brewed":false,"receipt_sent":false,"amount_cents":0,"stage":"DONE","refunded":false,"drink":"latte","size":"M","pricing":"standard","cancel_reason":"late","failure":"jammed"}`},
		{ChargeInput{OrderID: "123", AmountCents: 525}, `{"order_id":"123","amount_cents":525}`},
		{BrewInput{"123", "latte", SizeM}, `{"order_id":"123","drink":"latte","size":"M"}`},
		{ReceiptInput{"123"}, `{"order_id":"123"}`},
		{RefundInput{OrderID: "123"}, `{"order_id":"123"}`},
		{RefundOutput{}, `{"refunded":false}`},
		{RefundOutput{Refunded: true, AmountCents: 525}, `{"refunded":true,"amount_cents":525}`},
		{RefundOutput{Delivered: true}, `{"refunded":false,"delivered":true}`},
		{RecallInput{"123", "run"}, `{"order_id":"123","run_id":"run"}`},
		{RecallOutput{}, `{"accepted":false}`},
		{RecallOutput{Accepted: true, AmountCents: 420, Pricing: "happy-hour"}, `{"accepted":true,"amount_cents":420,"pricing":"happy-hour"}`},
		{CancelRequest{"changed my mind"}, `{"reason":"changed my mind"}`},
	} {
		if got, err := json.Marshal(test.value); err != nil || string(got) != test.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
		}
	}
}

// TestFieldsOfAnOrder: Normalize keeps each field of an order, and each text that other
// programs send is cut to size.
func TestFieldsOfAnOrder(t *testing.T) {
	t.Parallel()
	fields := func(pointer any) map[string]reflect.Value {
		fields, v := map[string]reflect.Value{}, reflect.ValueOf(pointer).Elem()
		for i := range v.NumField() {
			fields[v.Type().Field(i).Name] = v.Field(i)
		}
		return fields
	}
	request := OrderRequest{OrderID: "123", Drink: "latte", Size: SizeM}
	for _, field := range fields(&request) {
		if field.Kind() == reflect.String && field.IsZero() {
			field.SetString("x")
		}
	}
	normal, err := request.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	for name, field := range fields(&normal) {
		if field.IsZero() {
			t.Errorf("Normalize drops %s, or this test does not fill it", name)
		}
	}
	for _, value := range []interface{ clip() }{&OrderRequest{}, &OrderState{}, &OrderResult{}, &OrderMemo{}} {
		for _, field := range fields(value) {
			if field.Kind() == reflect.String {
				field.SetString(strings.Repeat("x", 1000))
			}
		}
		value.clip()
		for name, field := range fields(value) {
			if field.Kind() == reflect.String && field.Len() == 1000 {
				t.Errorf("%T.%s is not cut to size", value, name)
			}
		}
	}
}
