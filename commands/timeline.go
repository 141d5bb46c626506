package commands

import (
	"bytes"
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/timeline"
)

func timelineCommand(a *app) *cli.Command {
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
		}, connectFlags()),
		Action: func(c *cli.Context) error {
			plan, err := parseTimeline(c)
			if err != nil {
				return err
			}
			if plan.file != "" {
				return showTimeline(c.Context, a.out, plan, func() (desk.History, error) { return readHistory(plan.file, plan.server.keyset) })
			}
			return withOrders(c.Context, a, plan.server, func(orders *desk.Client) error {
				return showTimeline(c.Context, a.out, plan, func() (desk.History, error) { return orders.History(c.Context, plan.id) })
			})
		},
	}
}

// timelinePlan is what the flags ask for.
type timelinePlan struct {
	server        connectOptions
	id, file      string // one of them
	format        string
	events, watch bool
}

func parseTimeline(c *cli.Context) (plan timelinePlan, err error) {
	plan = timelinePlan{format: c.String("format"), events: c.Bool("events"), watch: c.Bool("watch")}
	if err := oneOf(c, "format", "text", "json", "svg", "mermaid"); err != nil {
		return plan, err
	}
	if plan.events && (plan.format == "svg" || plan.format == "mermaid") {
		return plan, usageErrorf(c, "--events is for the formats text and json")
	}
	if plan.watch && plan.format != "text" {
		return plan, usageErrorf(c, "--watch is for the format text")
	}
	if arg := c.Args().First(); c.Args().Len() == 1 && isFile(arg) {
		if plan.watch {
			return plan, usageErrorf(c, "--watch makes no sense with a file")
		}
		plan.file = arg
		plan.server.keyset, err = parseKeyset(c)
		return plan, err
	}
	if plan.id, err = optionalOrderID(c); err != nil {
		return plan, err
	}
	if plan.id == "" {
		return plan, usageErrorf(c, "timeline needs an order id, or the file of a history")
	}
	plan.server, err = parseConnect(c)
	return plan, err
}

func showTimeline(ctx context.Context, out *output, plan timelinePlan, read func() (desk.History, error)) error {
	return out.repeat(ctx, plan.watch, func() ([]byte, bool, error) {
		history, err := read()
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
			return nil, over, out.json(t)
		case "svg":
			return nil, over, t.WriteSVG(out.out)
		case "mermaid":
			return nil, over, t.WriteMermaid(out.out)
		}
		if plan.watch && !over && !out.isTerminal() {
			return nil, over, nil // off a terminal only the finished drawing is useful
		}
		var text bytes.Buffer
		err = t.WriteText(&text, timeline.TextOptions{Width: out.width(), Colour: out.inColour(), Events: plan.events})
		return text.Bytes(), over, err
	})
}
