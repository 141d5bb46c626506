package commands

import (
	"bytes"
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/timeline"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
)

func timelineCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "timeline",
		Usage:     "draw the timeline of an order",
		ArgsUsage: "ID|FILE",
		Description: "Draws a row for each step, attempt, backoff and event from outside, and for the time without a worker. " +
			"It needs no worker, and for a FILE no server: that is a history, as coffee replay takes it. A length with ~ is an estimate: the server records the times of the last attempt, and a brew hands on those of the attempts before it, unless the one right before it was lost with its worker.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` of the drawing: text, json, svg or mermaid", Value: "text"},
			&cli.BoolFlag{Name: "events", Usage: "list the events of the history behind each row"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "redraw it until the order is over"},
		}, connect.Flags()),
		Action: run(a, parseTimeline, runTimeline),
	}
}

type timelinePlan struct {
	server        connect.Options
	id, file      string // one of them
	format        string
	events, watch bool
}

func parseTimeline(c *cli.Context) (plan timelinePlan, err error) {
	plan = timelinePlan{format: c.String("format"), events: c.Bool("events"), watch: c.Bool("watch")}
	if err := commandline.OneOf(c, "format", "text", "json", "svg", "mermaid"); err != nil {
		return plan, err
	}
	if plan.events && (plan.format == "svg" || plan.format == "mermaid") {
		return plan, commandline.Errorf(c, "--events is for the formats text and json")
	}
	if plan.watch && plan.format != "text" {
		return plan, commandline.Errorf(c, "--watch is for the format text")
	}
	if arg := c.Args().First(); c.Args().Len() == 1 && isFile(arg) {
		if plan.watch {
			return plan, commandline.Errorf(c, "--watch makes no sense with a file")
		}
		plan.file = arg
		plan.server.Keyset, err = connect.ParseKeyset(c)
		return plan, err
	}
	if plan.id, err = commandline.OrderID(c, "timeline needs an order id, or the file of a history"); err != nil {
		return plan, err
	}
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runTimeline(ctx context.Context, a *app.App, plan timelinePlan) error {
	if plan.file != "" {
		return showTimeline(ctx, a.Out, plan, func(context.Context) (desk.History, error) { return readHistory(plan.file, plan.server.Keyset) })
	}
	return connect.WithOrders(ctx, a, plan.server, func(orders *desk.Client) error {
		return showTimeline(ctx, a.Out, plan, func(ctx context.Context) (desk.History, error) { return orders.History(ctx, plan.id) })
	})
}

func showTimeline(ctx context.Context, out *terminal.Output, plan timelinePlan, read func(context.Context) (desk.History, error)) error {
	return out.Repeat(ctx, plan.watch, plan.server.At().Lost, func(ctx context.Context) ([]byte, bool, error) {
		history, err := read(ctx)
		if err != nil {
			return nil, false, err
		}
		t := timeline.New(history)
		over := !t.EndedAt.IsZero()
		switch plan.format {
		case "json":
			if !plan.events {
				for i := range t.Rows {
					t.Rows[i].Events = nil
				}
			}
			return nil, over, out.Json(t)
		case "svg":
			return nil, over, t.WriteSVG(out.Out)
		case "mermaid":
			return nil, over, t.WriteMermaid(out.Out)
		}
		if plan.watch && !over && !out.IsTerminal() {
			return nil, over, nil // off a terminal only the finished drawing is useful
		}
		var text bytes.Buffer
		columns, _ := out.Size()
		err = t.WriteText(&text, timeline.TextOptions{Width: columns, Colour: out.InColour(), Events: plan.events})
		return text.Bytes(), over, err
	})
}
