package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
)

func statusCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show an order, or the latest ones",
		ArgsUsage: "[ID]",
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "limit", Usage: "show at most `N` orders", Value: coffee.DefaultListLimit},
			&cli.StringFlag{Name: "status", Usage: "show the orders that are running, completed, failed or cancelled"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show what changes, until the order is over or an interrupt comes"},
			outputFlag(),
		}, connectFlags()),
		ShellComplete: completeOrders(out, ""),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			show, err := parseStatus(cmd, out)
			if err != nil {
				return err
			}
			conn, err := out.connect(ctx, cmd)
			if err != nil {
				return err
			}
			defer conn.Close()
			return show(ctx, conn)
		},
	}
}

func parseStatus(cmd *cli.Command, out *output) (func(context.Context, *connection) error, error) {
	id, err := optionalOrderID(cmd)
	if err != nil {
		return nil, err
	}
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return nil, err
	}
	watch := cmd.Bool("watch")
	if id != "" {
		for _, flag := range []string{"limit", "status"} {
			if cmd.IsSet(flag) {
				return nil, usageErrorf(cmd, "--%s is for the list: leave the order id out", flag)
			}
		}
		return func(ctx context.Context, conn *connection) error {
			return showOrder(ctx, out, coffee.NewClient(conn, conn.namespace), id, asJSON, watch)
		}, nil
	}
	options := coffee.ListOptions{Limit: cmd.Int("limit"), Status: coffee.OrderStatus(strings.ToUpper(cmd.String("status")))}
	if options.Limit < 1 {
		return nil, usageErrorf(cmd, "--limit is %d: use 1 or more", options.Limit)
	}
	switch options.Status {
	case "", coffee.StatusRunning, coffee.StatusCompleted, coffee.StatusFailed, coffee.StatusCancelled:
	default:
		return nil, usageErrorf(cmd, "--status is %q: use running, completed, failed, cancelled", cmd.String("status"))
	}
	if watch && !asJSON && out.isTerminal() {
		if !cmd.IsSet("limit") {
			options.Limit = liveLimit
		}
		return func(ctx context.Context, conn *connection) error {
			orders := coffee.NewClient(conn, conn.namespace)
			return runLive(ctx, out,
				func(ctx context.Context) ([]coffee.OrderView, error) { return orders.List(ctx, options) },
				func(err error) string { return explainServer(err, conn.address) })
		}, nil
	}
	return func(ctx context.Context, conn *connection) error {
		return showOrders(ctx, out, coffee.NewClient(conn, conn.namespace), options, asJSON, watch)
	}, nil
}

const (
	// watchEvery is how often a watched order is looked at.
	watchEvery = 500 * time.Millisecond
	// liveLimit is how many orders a live table counts, unless it is told
	// otherwise.
	liveLimit = 200
)

func showOrder(ctx context.Context, out *output, orders *coffee.Client, id string, asJSON, watch bool) error {
	screen := screen{out: out}
	for {
		view, err := orders.Look(ctx, id)
		if errors.Is(err, coffee.ErrNotFound) {
			return fmt.Errorf("%w: %s", err, id)
		}
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if !asJSON {
			describeOrder(&text, view)
		}
		ended := view.Status != coffee.StatusRunning
		if err := screen.show(view, text.Bytes(), asJSON, watch); err != nil || !watch || ended {
			return err
		}
		if !sleep(ctx, watchEvery) {
			return &exitError{code: exitInterrupted} // the usual way to leave: no message
		}
	}
}

func showOrders(ctx context.Context, out *output, orders *coffee.Client, options coffee.ListOptions, asJSON, watch bool) error {
	screen := screen{out: out}
	for {
		views, err := orders.List(ctx, options)
		if err != nil {
			return err
		}
		if asJSON && views == nil {
			views = []coffee.OrderView{}
		}
		var text bytes.Buffer
		if !asJSON {
			describeOrders(&text, views)
		}
		if err := screen.show(views, text.Bytes(), asJSON, watch); err != nil || !watch {
			return err
		}
		if !sleep(ctx, watchEvery) {
			return &exitError{code: exitInterrupted} // the usual way to leave: no message
		}
	}
}

// sleep returns false if the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// screen shows something again and again.
type screen struct {
	out   *output
	shown []byte
}

// show prints JSON or text. While watching, a terminal is cleared first;
// elsewhere only what has changed is printed.
func (s *screen) show(data any, text []byte, asJSON, watch bool) error {
	if asJSON {
		return s.out.json(data)
	}
	if watch && s.out.isTerminal() {
		s.out.printf("\x1b[H\x1b[2J")
	} else if bytes.Equal(s.shown, text) {
		return nil
	}
	s.shown = text
	_, err := s.out.out.Write(text)
	return err
}

// describeOrder says all there is to say about one order.
func describeOrder(w io.Writer, view coffee.OrderView) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	what := "?"
	if view.Drink != "" {
		what = coffee.Printable(string(view.Drink)) + " (" + coffee.Printable(string(view.Size)) + ")"
	}
	if view.AmountCents != 0 {
		what += fmt.Sprintf(", %s", view.AmountCents)
	}
	if view.Pricing != "" && view.Pricing != (coffee.StandardPricing{}).Name() {
		what += " (" + coffee.Printable(view.Pricing) + ")"
	}
	line("Order", "%s: %s", coffee.Printable(view.OrderID), what)
	line("Status", "%s", statusInWords(view))
	line("Charged", "%s", paymentInWords(view))
	line("Brewed", "%s", brewInWords(view))
	line("Receipt", "%s", yesNo(view.ReceiptSent, "sent", "not sent"))
	if view.CancelRequested {
		cancel := "requested"
		if view.CancelReason != "" {
			cancel += ": " + coffee.Printable(view.CancelReason)
		}
		line("Cancel", "%s", cancel)
	}
	if view.Failure != "" {
		line("Failure", "%s", coffee.Printable(view.Failure))
	} else if view.LastFailure != "" {
		line("Last failure", "%s", coffee.Printable(view.LastFailure))
	}
	line("Started", "%s", view.StartedAt.Local().Format(time.DateTime))
	line("Took", "%s", yesNo(view.EndedAt.IsZero(), age(view)+" so far", age(view)))
	if !view.WorkerAnswered {
		fmt.Fprintln(w, "No worker answered: this is what the server alone knows.")
	}
}

// describeOrders is a table of orders.
func describeOrders(w io.Writer, views []coffee.OrderView) {
	if len(views) == 0 {
		fmt.Fprintln(w, "no orders")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ORDER\tDRINK\tSIZE\tPRICE\tSTATUS\tSTARTED\tTOOK")
	for _, view := range views {
		price := ""
		if view.AmountCents != 0 {
			price = view.AmountCents.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			coffee.Printable(view.OrderID), coffee.Printable(string(view.Drink)), coffee.Printable(string(view.Size)), price,
			statusInWords(view), view.StartedAt.Local().Format(time.DateTime), age(view))
	}
	table.Flush() // into a buffer, which does not fail
}

var stagesInWords = map[coffee.Stage]string{
	coffee.StageAccepted:       "accepted",
	coffee.StageCharging:       "charging",
	coffee.StageBrewing:        "brewing",
	coffee.StageSendingReceipt: "sending the receipt",
	coffee.StageRefunding:      "refunding",
	coffee.StageDone:           "done",
}

func statusInWords(view coffee.OrderView) string {
	if view.Status != coffee.StatusRunning {
		return coffee.Printable(strings.ToLower(string(view.Status)))
	}
	words := stagesInWords[view.Stage]
	if view.Stage == coffee.StageBrewing && view.BrewAttempts > 0 {
		words += fmt.Sprintf(", attempt %d", view.BrewAttempts)
	}
	if wait := time.Until(view.NextAttemptAt); wait > 0 {
		words += fmt.Sprintf(" failed, again in %.1f s", wait.Seconds())
	}
	return words
}

func paymentInWords(view coffee.OrderView) string {
	switch {
	case view.Refunded:
		return "yes, and refunded"
	case view.Charged:
		return "yes"
	}
	return "no"
}

func brewInWords(view coffee.OrderView) string {
	switch {
	case view.BrewAttempts == 0:
		return yesNo(view.Brewed, "yes", "no")
	case view.Brewed:
		return fmt.Sprintf("yes, at attempt %d", view.BrewAttempts)
	case view.BrewAttempts == 1:
		return "no, after 1 attempt"
	}
	return fmt.Sprintf("no, after %d attempts", view.BrewAttempts)
}

func yesNo(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// age is in seconds with one digit, or coarser when it is long.
func age(view coffee.OrderView) string {
	age := view.Age()
	if age < time.Minute {
		return fmt.Sprintf("%.1f s", age.Seconds())
	}
	return age.Round(time.Second).String()
}

// completeOrders completes order ids in a shell, from the server.
func completeOrders(out *output, status coffee.OrderStatus) cli.ShellCompleteFunc {
	return func(ctx context.Context, cmd *cli.Command) {
		cli.DefaultCompleteWithFlags(ctx, cmd)
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := out.connect(ctx, cmd)
		if err != nil {
			return // a completion that cannot be had is no error
		}
		defer conn.Close()
		views, err := coffee.NewClient(conn, conn.namespace).List(ctx, coffee.ListOptions{Status: status})
		if err != nil {
			return
		}
		for _, view := range views {
			if coffee.ValidateOrderID(view.OrderID) == nil {
				out.printf("%s\n", view.OrderID)
			}
		}
	}
}
