package commands

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/text"
)

func statusCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show one order, or list the latest",
		ArgsUsage: "[ID]",
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "limit", Usage: "show at most `N` orders", Value: desk.DefaultListLimit},
			&cli.StringFlag{Name: "status", Usage: "list only orders of this `STATUS`: running, completed, failed or cancelled"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "keep showing it until the order is over, or until an interrupt"},
			commandline.OutputFlag(),
		}, connect.Flags()),
		Action: run(a, parseStatus, runStatus),
	}
}

type statusPlan struct {
	server connect.Options
	id     string // empty means the list
	list   desk.ListOptions
	// limited is true if the user has set the limit.
	limited bool
	asJSON  bool
	watch   bool
}

func parseStatus(c *cli.Context) (plan statusPlan, err error) {
	plan = statusPlan{
		list:    desk.ListOptions{Limit: c.Int("limit"), Status: coffee.OrderStatus(strings.ToUpper(c.String("status")))},
		limited: c.IsSet("limit"),
		watch:   c.Bool("watch"),
	}
	if plan.id, err = commandline.OptionalOrderID(c); err != nil {
		return plan, err
	}
	plan.asJSON = commandline.WantsJSON(c)
	for _, flag := range []string{"limit", "status"} {
		if plan.id != "" && c.IsSet(flag) {
			return plan, commandline.Errorf(c, "--%s is for the list: leave the order id out", flag)
		}
	}
	if plan.list.Limit < 1 {
		return plan, commandline.Errorf(c, "--limit is %d: use 1 or more", plan.list.Limit)
	}
	switch plan.list.Status {
	case "", coffee.StatusRunning, coffee.StatusCompleted, coffee.StatusFailed, coffee.StatusCancelled:
	default:
		return plan, commandline.Errorf(c, "--status is %q: use running, completed, failed, cancelled", c.String("status"))
	}
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runStatus(ctx context.Context, a *app.App, plan statusPlan) error {
	return connect.WithOrders(ctx, a, plan.server, func(orders *desk.Client) error {
		watched := &watchedList{orders: orders, options: plan.list, fill: !plan.limited}
		return a.Out.Repeat(ctx, plan.watch, plan.server.At().Lost, func(ctx context.Context) ([]byte, bool, error) {
			switch {
			case plan.id != "":
				return showOrder(ctx, a.Out, orders, plan)
			case plan.watch && !plan.asJSON:
				columns, rows := a.Out.Size()
				text, err := watched.look(ctx, columns, rows)
				return text, false, err
			}
			views, err := orders.List(ctx, plan.list)
			if err != nil {
				return nil, false, err
			}
			if plan.asJSON {
				return nil, false, a.Out.Json(append([]desk.OrderView{}, views...)) // [], not null
			}
			return describeOrders(views, false), false, nil
		})
	})
}

func showOrder(ctx context.Context, out *terminal.Output, orders *desk.Client, plan statusPlan) (text []byte, ended bool, err error) {
	view, err := orders.Describe(ctx, plan.id)
	if err != nil {
		return nil, false, err
	}
	ended = view.Status != coffee.StatusRunning
	if plan.asJSON {
		return nil, ended, out.Json(view)
	}
	return describeOrder(view), ended, nil
}

// describeOrder says everything that is known about an order.
func describeOrder(view desk.OrderView) []byte {
	var w bytes.Buffer
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	what := terminal.Choose(view.Encrypted, "(encrypted)", "?")
	if view.Drink != "" {
		what = text.Printable(string(view.Drink)) + " (" + text.Printable(string(view.Size)) + ")"
	}
	if view.AmountCents != 0 {
		what += fmt.Sprintf(", %s", view.AmountCents)
	}
	if view.Pricing != "" && view.Pricing != (coffee.StandardPricing{}).Name() {
		what += " (" + text.Printable(view.Pricing) + ")"
	}
	line("Order", "%s: %s", text.Printable(view.OrderID), what)
	line("Status", "%s", terminal.StatusInWords(view))
	line("Charged", "%s", terminal.PaymentInWords(view))
	line("Brewed", "%s", terminal.BrewInWords(view))
	line("Receipt", "%s", terminal.Choose(view.ReceiptSent, "sent", "not sent"))
	if view.CancelRequested {
		cancel := "requested"
		if view.CancelReason != "" {
			cancel += ": " + text.Printable(view.CancelReason)
		}
		line("Cancel", "%s", cancel)
	}
	if view.Failure != "" {
		line("Failure", "%s", text.Printable(view.Failure))
	} else if view.LastFailure != "" {
		line("Last failure", "%s", text.Printable(view.LastFailure))
	}
	if view.Waiting != "" && view.WorkflowTaskFailure == "" {
		line("Waiting", "%s", view.Waiting)
	}
	if view.WorkerBuildID != "" {
		line("Version", "%s", text.Printable(view.WorkerBuildID))
	}
	line("Started", "%s", view.StartedAt.Local().Format(time.DateTime))
	line("Took", "%s", terminal.Choose(view.EndedAt.IsZero(), terminal.Age(view)+" so far", terminal.Age(view)))
	w.WriteString(inTheWay(view))
	return w.Bytes()
}

// inTheWay says what keeps an order from going on, and what can be done.
func inTheWay(view desk.OrderView) string {
	switch {
	case view.Unindexed:
		return fmt.Sprintf("The last worker could not end it: the server has no search attribute %s of type Keyword any more (%s).\n", coffee.SearchAttributeStatus, text.Printable(view.WorkflowTaskFailure)) +
			"It is not lost: workers of this version notice that within seconds, and end it without the attribute at its next attempt.\n"
	case view.WorkflowTaskFailure != "":
		return fmt.Sprintf("The last worker could not go on with it: %s\n", text.Printable(view.WorkflowTaskFailure)) +
			"It is not lost: it goes on with a worker whose code fits its history and whose keyset has its keys. Run coffee replay to see where a program departs from it.\n"
	case !view.WorkerAnswered:
		return "No worker answered: this is only what the server knows.\n"
	}
	return ""
}

// mostDetailed is of how many orders a list that is watched looks up the details, each with
// a request.
const mostDetailed = 200

// belowList is how many rows of a terminal a list leaves for what is not an order: its header,
// what is below it, and why there is no newer list.
const belowList = 5

// watchedList is a list of orders that is drawn again and again.
type watchedList struct {
	orders    *desk.Client
	options   desk.ListOptions
	fill      bool // a terminal, whatever the options' limit is
	diagnoser desk.Diagnoser
}

// look asks the server for the orders, and draws those that fit into the columns and the rows
// of a terminal. 0 means any number.
func (l *watchedList) look(ctx context.Context, columns, rows int) ([]byte, error) {
	options, room := l.options, max(1, rows-belowList)
	if rows > 0 && (l.fill || options.Limit > room) {
		options.Limit = room
	}
	options.Brief = true
	views, err := l.orders.List(ctx, options)
	detailed := views[:min(len(views), mostDetailed)]
	if err == nil {
		err = l.orders.AddDetails(ctx, detailed)
	}
	count := len(views)
	if err == nil && count == options.Limit {
		count, err = l.orders.Count(ctx, options)
	}
	var waits desk.Waiting
	if id := cmp.Or(desk.OldestWaiting(detailed), desk.OldestWaiting(views)); err == nil && id != "" {
		// If the server cannot say, the orders are shown without a reason.
		waits, _ = l.orders.Waiting(ctx, id)
	}
	waits = l.diagnoser.Observe(time.Now(), err != nil, waits)
	if err != nil {
		return nil, err
	}
	return drawList(views, count, waits, columns), nil
}

// drawList draws a list of orders, which are some of count, with why the oldest of them waits.
func drawList(views []desk.OrderView, count int, waits desk.Waiting, columns int) []byte {
	table := bytes.NewBuffer(describeOrders(views, true))
	if more := count - len(views); more > 0 {
		fmt.Fprintf(table, "%d more\n", more)
	}
	if waits.Diagnosis != "" {
		fmt.Fprintln(table, waits)
	}
	var drawn bytes.Buffer
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(&drawn, terminal.Cut(strings.TrimRight(line, " \n"), columns))
	}
	return drawn.Bytes()
}

// describeOrders returns a table of orders. If they are watched, it says what is in the way of
// each.
func describeOrders(views []desk.OrderView, watched bool) []byte {
	if len(views) == 0 {
		return []byte("no orders\n")
	}
	var drawn bytes.Buffer
	table := tabwriter.NewWriter(&drawn, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ORDER\tDRINK\tSIZE\tPRICE\tSTATUS\t"+terminal.Choose(watched, "TOOK\tWHY", "STARTED\tTOOK"))
	for _, view := range views {
		price := ""
		if view.AmountCents != 0 {
			price = view.AmountCents.String()
		}
		drink := terminal.Choose(view.Encrypted, "(encrypted)", text.Printable(string(view.Drink)))
		last := view.StartedAt.Local().Format(time.DateTime) + "\t" + terminal.Age(view)
		if watched {
			last = terminal.Age(view) + "\t" + text.Printable(whyOf(view))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			terminal.IDInTable(view), drink, text.Printable(string(view.Size)), price, terminal.StatusInWords(view), last)
	}
	table.Flush() // into a buffer, which does not fail
	return drawn.Bytes()
}

// whyOf is why an order does not go on, or has failed.
func whyOf(view desk.OrderView) string {
	if view.Status == coffee.StatusRunning {
		return cmp.Or(view.Unreadable, view.WorkflowTaskFailure, view.LastFailure)
	}
	return cmp.Or(view.Unreadable, view.Failure)
}
