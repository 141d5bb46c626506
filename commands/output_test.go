package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
)

// hostile is text that would clear the screen, ring the bell, and reverse the
// text after it.
const hostile = "\x1b[2J\x07\u202e\u009b31m\u200bx"

// TestHostileText: whatever another client puts into an order, no terminal obeys
// it.
func TestHostileText(t *testing.T) {
	t.Parallel()
	view := desk.OrderView{OrderState: coffee.OrderState{
		OrderID: hostile, Drink: hostile, Size: hostile, Pricing: hostile, CancelReason: hostile, Failure: hostile,
	}, Status: hostile, LastFailure: hostile, CancelRequested: true}
	var stdout, stderr bytes.Buffer
	a := app.New(&stdout, &stderr, app.Options{})
	out := a.Out
	out.Printf("%s", describeOrder(view))
	view.Failure = ""
	out.Printf("%s%s", describeOrder(view), describeOrders([]desk.OrderView{view}, false))
	out.Printf("%s", drawList([]desk.OrderView{view}, 1, desk.Waiting{}, 0))
	if err := out.Json(view); err != nil {
		t.Fatal(err)
	}
	out.Notef("%s", hostile)
	if code := out.Fail(context.Background(), errors.New(hostile)); code != exit.Failure {
		t.Errorf("exit code %d", code)
	}
	for _, format := range []string{"text", "json"} {
		if err := a.ConfigureLogs("debug", format); err != nil {
			t.Fatal(err)
		}
		a.Log.Info().Str("id", hostile).Err(errors.New(hostile)).Msg(hostile)
		a.SdkLog().Warn(hostile, "key", hostile, "error", errors.New(hostile))
	}
	for _, text := range []string{stdout.String(), stderr.String()} {
		if i := strings.IndexAny(text, "\x1b\x07\u202e\u009b\u200b"); i >= 0 {
			t.Errorf("%q", text[max(0, i-40):min(len(text), i+10)])
		}
	}
}

func TestJSONMeansTheSame(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	out := &terminal.Output{Out: &terminal.CheckedWriter{W: &b}, Err: io.Discard}
	want := hostile + "\U000e0001<&>"
	if err := out.Json(map[string]string{"key": want}); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got["key"] != want {
		t.Errorf("%s became %q, %v", b.String(), got["key"], err)
	}
}

// TestNotPlaced: if the answer to an order is lost, the message claims neither that
// it was placed nor that it was refused, and says how to find out.
func TestNotPlaced(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		code int
		want string
	}{
		{context.Background(), context.DeadlineExceeded, exit.Failure, "coffee: the server did not answer in time (its log may say why, such as a full disk): order k7 may or may not have been placed\nto make sure, place it again with --order-id k7\n"},
		{cancelled, context.Canceled, exit.Interrupted, "coffee: interrupted: order k7 may or may not have been placed\nto make sure, place it again with --order-id k7\n"},
		{context.Background(), &coffee.ConflictError{OrderID: "k7"}, exit.Conflict, "coffee: order id \"k7\" belongs to a workflow that is not a coffee order\nnothing was changed; choose another --order-id, or leave it out to get a new one\n"},
	} {
		var stderr bytes.Buffer
		out := &terminal.Output{Out: &terminal.CheckedWriter{W: io.Discard}, Err: &stderr}
		o := &ordering{out: out, plan: orderPlan{request: coffee.OrderRequest{OrderID: "k7"}}}
		if code := out.Fail(test.ctx, o.notPlaced(test.ctx, test.err)); code != test.code || stderr.String() != test.want {
			t.Errorf("got code %d and %q", code, stderr.String())
		}
	}
}
