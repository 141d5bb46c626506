package commands

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/text"
)

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
