package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// replayedOver is how many orders that are over coffee replay replays.
const replayedOver = 1000

func replayCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "replay",
		Usage:     "replay orders on this build, to find nondeterminism before a rollout",
		ArgsUsage: "[ID...|FILE...]",
		Description: "Replays histories on this program's workflow, to find out before a new release is rolled out whether it would break an order. " +
			"Without arguments it replays those of all orders that run, and of the 1,000 that ended last. " +
			"A FILE, whose name ends in .json or has a / in it, is the history of an order, as temporal workflow show -o json writes it and as the Web UI lets you download it, without decoding; - is the standard input. " +
			"It changes nothing. It names the orders that it cannot read, and replays the others. " +
			"The exit code is 7 if a history does not replay, and 1 if an order cannot be read.",
		Flags: slices.Concat([]cli.Flag{outputFlag()}, connectFlags()),
		Action: func(c *cli.Context) error {
			plan, err := parseReplay(c, a)
			if err != nil {
				return err
			}
			return runReplay(c.Context, a, plan)
		},
	}
}

// replayPlan is what the arguments ask for.
type replayPlan struct {
	server     connectOptions
	ids, files []string // if both are empty: the server's orders
	asJSON     bool
	// replay replays a history on the workflow that is to take over.
	replay func(desk.History) error
}

func parseReplay(c *cli.Context, a *app) (plan replayPlan, err error) {
	plan.replay = a.replay()
	if plan.asJSON, err = wantsJSON(c); err != nil {
		return plan, err
	}
	for _, arg := range c.Args().Slice() {
		if isFile(arg) {
			plan.files = append(plan.files, arg)
			continue
		}
		if err := coffee.ValidateForeignID(arg); err != nil {
			return plan, err
		}
		plan.ids = append(plan.ids, arg)
	}
	plan.server, err = parseConnect(c)
	return plan, err
}

// isFile reports whether an argument means a file and not an order.
func isFile(arg string) bool {
	return arg == "-" || strings.ContainsRune(arg, os.PathSeparator) || strings.HasSuffix(arg, ".json")
}

// readHistory reads the history of an order from a file, and decrypts it. The file - is the
// standard input.
func readHistory(path string, keyset *encryption.Keyset) (history desk.History, err error) {
	file := os.Stdin
	if path != "-" {
		file, err = os.Open(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return history, fmt.Errorf("there is no file %s", text.Printable(path))
	}
	if err != nil {
		return history, err
	}
	defer file.Close()
	if history, err = desk.HistoryFromJSON(file); err != nil {
		return history, fmt.Errorf("cannot read %s: %w", text.Printable(path), err)
	}
	if err := keyset.DecryptHistory(coffee.WorkflowID(history.OrderID), history.Events); err != nil {
		return history, err
	}
	return history, desk.CheckReadable(history.OrderID, history.Events)
}

// replayed is the output of coffee replay.
type replayed struct {
	Histories int      `json:"histories"`
	Running   int      `json:"running"`
	Broken    []broken `json:"broken"`
	// Unreadable are the orders whose history cannot be read. They are in no count.
	Unreadable []unreadableOrder `json:"unreadable,omitempty"`
}

// unreadableOrder is an order whose history cannot be read.
type unreadableOrder struct {
	OrderID string `json:"order_id"`
	RunID   string `json:"run_id,omitempty"`
	Problem string `json:"problem"`
	// begun is false if no worker has completed a task of it.
	begun bool
}

// unreadableOrders returns the error about orders that nobody here could judge.
func unreadableOrders(n int) error {
	return &exit.Error{Code: exit.Failure, Err: errors.New(text.Plural(n, "order", "orders") + " could not be read")}
}

// broken is a history that does not replay.
type broken struct {
	OrderID string `json:"order_id"`
	RunID   string `json:"run_id,omitempty"`
	File    string `json:"file,omitempty"`
	Running bool   `json:"running"`
	EventID int64  `json:"event_id,omitempty"`
	Event   string `json:"event,omitempty"`
	Problem string `json:"problem"`
}

// add replays a history, and adds the outcome. file is where it is from; empty means
// the server.
func (r *replayed) add(history desk.History, file string, check func(desk.History) error) error {
	r.Histories++
	running := history.Running()
	if running {
		r.Running++
	}
	err := check(history)
	var e *replay.Error
	if errors.As(err, &e) {
		r.Broken = append(r.Broken, broken{history.OrderID, history.RunID, file, running, e.EventID, e.Event, e.Problem})
		return nil
	}
	return err
}

// take replays a history that was read from file, or from the server if that is empty. An
// order that cannot be read is only named. take returns any other error.
func (r *replayed) take(history desk.History, err error, file string, check func(desk.History) error) error {
	if err == nil {
		err = r.add(history, file, check)
	}
	var unreadable *coffee.UnreadableError
	if !errors.As(err, &unreadable) {
		return err
	}
	r.Unreadable = append(r.Unreadable, unreadableOrder{unreadable.OrderID, history.RunID, unreadable.Err.Error(), len(history.Events) == 0 || history.Begun()})
	return nil
}

func runReplay(ctx context.Context, a *app, plan replayPlan) error {
	report := replayed{Broken: []broken{}}
	for _, file := range plan.files {
		history, err := readHistory(file, plan.server.keyset)
		if err = report.take(history, err, file, plan.replay); err != nil {
			return err
		}
	}
	if len(plan.ids) == 0 && len(plan.files) > 0 {
		return printReplay(a.out, report, plan.asJSON)
	}
	err := a.withOrders(ctx, plan.server, func(orders *desk.Client) error {
		for _, id := range plan.ids {
			history, err := orders.History(ctx, id)
			if err = report.take(history, err, "", plan.replay); err != nil {
				return err
			}
		}
		if len(plan.ids) > 0 {
			return nil
		}
		for history, err := range orders.Histories(ctx, replayedOver) {
			if err = report.take(history, err, "", plan.replay); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return printReplay(a.out, report, plan.asJSON)
}

func printReplay(out *output, report replayed, asJSON bool) error {
	if asJSON {
		if err := out.json(report); err != nil {
			return err
		}
	} else {
		out.line("Replayed", "%s (%d still running), %d broken", text.Plural(report.Histories, "history", "histories"), report.Running, len(report.Broken))
		for _, b := range report.Broken {
			where := ""
			if b.EventID != 0 {
				where = fmt.Sprintf(" at event %d, %s", b.EventID, b.Event)
			}
			state := "over"
			if b.Running {
				state = "running"
			}
			out.line("Breaks", "order %s (%s)%s: %s", text.Printable(b.OrderID), state, where, text.Printable(b.Problem))
		}
		for _, order := range report.Unreadable {
			out.line("Unreadable", "order %s: %s", text.Printable(order.OrderID), text.Printable(order.Problem))
		}
	}
	if len(report.Broken) == 0 && len(report.Unreadable) > 0 {
		return unreadableOrders(len(report.Unreadable))
	}
	if len(report.Broken) == 0 {
		return nil
	}
	return &exit.Error{Code: exit.Unreplayable, Err: fmt.Errorf("%s would break on this program's code", text.Plural(len(report.Broken), "history", "histories")), Hint: "patch the change with workflow.GetVersion, so that such orders go on as they began"}
}
