package findings

import (
	"errors"
	"fmt"
	"iter"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// Replayed is the output of coffee replay.
type Replayed struct {
	Histories int      `json:"histories"`
	Running   int      `json:"running"`
	Broken    []Broken `json:"broken"`
	// Unreadable are the orders whose history cannot be read. They are in no count.
	Unreadable []UnreadableOrder `json:"unreadable,omitempty"`
}

// UnreadableOrder is an order whose history cannot be read.
type UnreadableOrder struct {
	OrderID string `json:"order_id"`
	RunID   string `json:"run_id,omitempty"`
	Problem string `json:"problem"`
	// Begun is false if no worker has completed a task of it.
	Begun bool
}

// unreadableOrders returns the error about orders that nobody here could judge, if there are any.
func unreadableOrders(n int) error {
	if n == 0 {
		return nil
	}
	return &exit.Error{Code: exit.Failure, Err: errors.New(text.Plural(n, "order", "orders") + " could not be read")}
}

// Broken is a history that does not replay.
type Broken struct {
	OrderID string `json:"order_id"`
	RunID   string `json:"run_id,omitempty"`
	File    string `json:"file,omitempty"`
	Running bool   `json:"running"`
	EventID int64  `json:"event_id,omitempty"`
	Event   string `json:"event,omitempty"`
	Problem string `json:"problem"`
}

// Take replays a history that was read from file, or from the server if that is empty. An
// order that cannot be read is only named. Take returns any other error.
func (r *Replayed) Take(history desk.History, err error, file string, check func(desk.History) error) error {
	if err == nil {
		r.Histories++
		if history.Running() {
			r.Running++
		}
		err = check(history)
	}
	if e, ok := errors.AsType[*replay.Error](err); ok {
		r.Broken = append(r.Broken, Broken{history.OrderID, history.RunID, file, history.Running(), e.EventID, e.Event, e.Problem})
		return nil
	}
	if e, ok := errors.AsType[*coffee.UnreadableError](err); ok {
		r.Unreadable = append(r.Unreadable, UnreadableOrder{e.OrderID, history.RunID, e.Err.Error(), len(history.Events) == 0 || history.Begun()})
		return nil
	}
	return err
}

// TakeAll replays histories of the server, until the first error that Take returns.
func (r *Replayed) TakeAll(histories iter.Seq2[desk.History, error], check func(desk.History) error) error {
	for history, err := range histories {
		if err = r.Take(history, err, "", check); err != nil {
			return err
		}
	}
	return nil
}

// PrintReplay prints what was replayed, and returns the error that sets the exit code if a
// history does not replay or cannot be read.
func PrintReplay(out *terminal.Output, report Replayed, asJSON bool) error {
	if asJSON {
		if err := out.Json(report); err != nil {
			return err
		}
	} else {
		out.Line("Replayed", "%s (%d still running), %d broken", text.Plural(report.Histories, "history", "histories"), report.Running, len(report.Broken))
		for _, b := range report.Broken {
			where := ""
			if b.EventID != 0 {
				where = fmt.Sprintf(" at event %d, %s", b.EventID, b.Event)
			}
			out.Line("Breaks", "order %s (%s)%s: %s", text.Printable(b.OrderID), terminal.Choose(b.Running, "running", "over"), where, text.Printable(b.Problem))
		}
		for _, order := range report.Unreadable {
			out.Line("Unreadable", "order %s: %s", text.Printable(order.OrderID), text.Printable(order.Problem))
		}
	}
	if len(report.Broken) == 0 {
		return unreadableOrders(len(report.Unreadable))
	}
	return &exit.Error{Code: exit.Unreplayable, Err: fmt.Errorf("%s would break on this program's code", text.Plural(len(report.Broken), "history", "histories")), Hint: "patch the change with workflow.GetVersion, so that such orders go on as they began"}
}
