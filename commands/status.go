package commands

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
		Action: func(c *cli.Context) error {
			plan, err := parseStatus(c)
			if err != nil {
				return err
			}
			return runStatus(c.Context, a, plan)
		},
	}
}

// statusPlan is what the flags ask for.
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
	if plan.asJSON, err = commandline.WantsJSON(c); err != nil {
		return plan, err
	}
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
		switch {
		case plan.id != "":
			return showOrder(ctx, a.Out, orders, plan)
		case plan.watch && !plan.asJSON && a.Out.IsTerminal():
			if !plan.limited {
				plan.list.Limit = liveLimit
			}
			return runLive(ctx, a.Out, orders, plan.list,
				func(err error) string { return terminal.InOneLine(connect.ServerProblem(err, plan.server.At())) })
		}
		return showOrders(ctx, a.Out, orders, plan)
	})
}

func showOrder(ctx context.Context, out *terminal.Output, orders *desk.Client, plan statusPlan) error {
	return out.Repeat(ctx, plan.watch, func() ([]byte, bool, error) {
		view, err := orders.Describe(ctx, plan.id)
		if err != nil {
			return nil, false, err
		}
		ended := view.Status != coffee.StatusRunning
		if plan.asJSON {
			return nil, ended, out.Json(view)
		}
		var text bytes.Buffer
		describeOrder(&text, view)
		return text.Bytes(), ended, nil
	})
}

func showOrders(ctx context.Context, out *terminal.Output, orders *desk.Client, plan statusPlan) error {
	return out.Repeat(ctx, plan.watch, func() ([]byte, bool, error) {
		views, err := orders.List(ctx, plan.list)
		if err != nil {
			return nil, false, err
		}
		if plan.asJSON {
			return nil, false, out.Json(append([]desk.OrderView{}, views...)) // [], not null
		}
		var text bytes.Buffer
		describeOrders(&text, views)
		return text.Bytes(), false, nil
	})
}

// describeOrder writes everything that is known about an order.
func describeOrder(w io.Writer, view desk.OrderView) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
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
	switch {
	case view.Unindexed:
		fmt.Fprintf(w, "The last worker could not end it: the server has no search attribute %s of type Keyword any more (%s).\n",
			coffee.SearchAttributeStatus, text.Printable(view.WorkflowTaskFailure))
		fmt.Fprintln(w, "It is not lost: workers of this version notice that within seconds, and end it without the attribute at its next attempt.")
	case view.WorkflowTaskFailure != "":
		fmt.Fprintf(w, "The last worker could not go on with it: %s\n", text.Printable(view.WorkflowTaskFailure))
		fmt.Fprintln(w, "It is not lost: it goes on with a worker whose code fits its history and whose keyset has its keys. Run coffee replay to see where a program departs from it.")
	case !view.WorkerAnswered:
		fmt.Fprintln(w, "No worker answered: this is only what the server knows.")
	}
}

// describeOrders writes a table of orders.
func describeOrders(w io.Writer, views []desk.OrderView) {
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
		drink := text.Printable(string(view.Drink))
		if view.Encrypted {
			drink = "(encrypted)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			terminal.IDInTable(view), drink, text.Printable(string(view.Size)), price,
			terminal.StatusInWords(view), view.StartedAt.Local().Format(time.DateTime), terminal.Age(view))
	}
	table.Flush() // into a buffer, which does not fail
}
