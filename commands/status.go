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
	"example.com/coffee/internal/text"
)

func statusCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show one order, or list the latest",
		ArgsUsage: "[ID]",
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "limit", Usage: "show at most `N` orders", Value: desk.DefaultListLimit},
			&cli.StringFlag{Name: "status", Usage: "list only orders of this `STATUS`: running, completed, failed or cancelled"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "keep showing it until the order is over, or until an interrupt"},
			outputFlag(),
		}, connectFlags()),
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
	server connectOptions
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
	if plan.id, err = optionalOrderID(c); err != nil {
		return plan, err
	}
	if plan.asJSON, err = wantsJSON(c); err != nil {
		return plan, err
	}
	for _, flag := range []string{"limit", "status"} {
		if plan.id != "" && c.IsSet(flag) {
			return plan, usageErrorf(c, "--%s is for the list: leave the order id out", flag)
		}
	}
	if plan.list.Limit < 1 {
		return plan, usageErrorf(c, "--limit is %d: use 1 or more", plan.list.Limit)
	}
	switch plan.list.Status {
	case "", coffee.StatusRunning, coffee.StatusCompleted, coffee.StatusFailed, coffee.StatusCancelled:
	default:
		return plan, usageErrorf(c, "--status is %q: use running, completed, failed, cancelled", c.String("status"))
	}
	plan.server, err = parseConnect(c)
	return plan, err
}

func runStatus(ctx context.Context, a *app, plan statusPlan) error {
	return withOrders(ctx, a, plan.server, func(orders *desk.Client) error {
		switch {
		case plan.id != "":
			return showOrder(ctx, a.out, orders, plan)
		case plan.watch && !plan.asJSON && a.out.isTerminal():
			if !plan.limited {
				plan.list.Limit = liveLimit
			}
			return runLive(ctx, a.out, orders, plan.list,
				func(err error) string { return inOneLine(serverProblem(err, plan.server.at())) })
		}
		return showOrders(ctx, a.out, orders, plan)
	})
}

func showOrder(ctx context.Context, out *output, orders *desk.Client, plan statusPlan) error {
	return out.repeat(ctx, plan.watch, func() ([]byte, bool, error) {
		view, err := orders.Describe(ctx, plan.id)
		if err != nil {
			return nil, false, err
		}
		ended := view.Status != coffee.StatusRunning
		if plan.asJSON {
			return nil, ended, out.json(view)
		}
		var text bytes.Buffer
		describeOrder(&text, view)
		return text.Bytes(), ended, nil
	})
}

func showOrders(ctx context.Context, out *output, orders *desk.Client, plan statusPlan) error {
	return out.repeat(ctx, plan.watch, func() ([]byte, bool, error) {
		views, err := orders.List(ctx, plan.list)
		if err != nil {
			return nil, false, err
		}
		if plan.asJSON {
			return nil, false, out.json(append([]desk.OrderView{}, views...)) // [], not null
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
	what := choose(view.Encrypted, "(encrypted)", "?")
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
	line("Status", "%s", statusInWords(view))
	line("Charged", "%s", paymentInWords(view))
	line("Brewed", "%s", brewInWords(view))
	line("Receipt", "%s", choose(view.ReceiptSent, "sent", "not sent"))
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
	line("Took", "%s", choose(view.EndedAt.IsZero(), age(view)+" so far", age(view)))
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
			idInTable(view), drink, text.Printable(string(view.Size)), price,
			statusInWords(view), view.StartedAt.Local().Format(time.DateTime), age(view))
	}
	table.Flush() // into a buffer, which does not fail
}
