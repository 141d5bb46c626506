package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee/desk"
	ordertimeline "example.com/coffee/coffee/timeline"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/text"
	"example.com/coffee/timeline"
)

func timelineCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "timeline",
		Usage:     "draw the timeline of an order, or of any workflow",
		ArgsUsage: "ID|FILE",
		Description: "Draws a row for each step, attempt, backoff and event from outside, and for the time without a worker. " +
			"It needs no worker, and for a FILE no server: that is the history of any workflow, as temporal workflow show -o json writes it. A length with ~ is an estimate: the server records the times of the last attempt, and a brew hands on those of the attempts before it, unless the one right before it was lost with its worker.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "workflow-id", Aliases: []string{"workflow"}, Usage: "instead of an order, the workflow with this `ID`"},
			&cli.StringFlag{Name: "run-id", Aliases: []string{"run"}, Usage: "the run of it with this `ID`; the latest one without it"},
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` of the drawing: text, json, svg or mermaid", Value: "text"},
			&cli.BoolFlag{Name: "events", Usage: "list the events of the history behind each row"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "redraw it until the order is over"},
		}, connect.Flags()),
		Action: run(a, parseTimeline, runTimeline),
	}
}

type timelinePlan struct {
	server        connect.Options
	id, file      string // one of them, or the next
	workflow, run string
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
	plan.workflow, plan.run = c.String("workflow-id"), c.String("run-id")
	if plan.workflow != "" && c.Args().Len() > 0 {
		return plan, commandline.Errorf(c, "give an order, a file or --workflow-id, not two of them")
	}
	if plan.workflow == "" && plan.run != "" {
		return plan, commandline.Errorf(c, "--run-id needs --workflow-id")
	}
	if plan.workflow != "" {
		plan.server, err = connect.Parse(c)
		return plan, err
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

// drawn is the timeline of an order, or of any workflow.
type drawn struct {
	timeline.Timeline
	inJSON any
}

func drawOrder(history desk.History) drawn {
	t := ordertimeline.New(history)
	return drawn{t.Timeline, t}
}

// drawAny draws a history as that of an order, if it is one.
func drawAny(history timeline.History) (drawn, error) {
	order, err := desk.OfOrder(history)
	if err != nil { // it is none
		t := timeline.New(history)
		return drawn{t, t}, nil
	}
	return drawOrder(order), desk.CheckReadable(order.OrderID, order.Events)
}

func runTimeline(ctx context.Context, a *app.App, plan timelinePlan) error {
	if plan.file != "" {
		return showTimeline(ctx, a.Out, plan, func(context.Context) (drawn, error) {
			history, err := readWorkflow(plan.file, plan.server.Keyset)
			if err != nil {
				return drawn{}, err
			}
			return drawAny(history)
		})
	}
	conn, err := connect.Open(ctx, a, plan.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	return showTimeline(ctx, a.Out, plan, func(ctx context.Context) (drawn, error) {
		if plan.workflow == "" {
			history, err := conn.Orders().History(ctx, plan.id)
			return drawOrder(history), err
		}
		history, err := timeline.Fetch(ctx, conn.Client, plan.workflow, plan.run)
		var notFound *serviceerror.NotFound
		if errors.As(err, &notFound) {
			return drawn{}, fmt.Errorf("there is no workflow %s: %w", text.Printable(plan.workflow), err)
		}
		if err != nil {
			return drawn{}, err
		}
		return drawAny(history)
	})
}

func showTimeline(ctx context.Context, out *terminal.Output, plan timelinePlan, read func(context.Context) (drawn, error)) error {
	return out.Repeat(ctx, plan.watch, plan.server.At().Lost, func(ctx context.Context) ([]byte, bool, error) {
		t, err := read(ctx)
		if err != nil {
			return nil, false, err
		}
		over := !t.EndedAt.IsZero()
		switch plan.format {
		case "json":
			if !plan.events {
				for i := range t.Rows {
					t.Rows[i].Events = nil
				}
			}
			return nil, over, out.Json(t.inJSON)
		case "svg":
			return nil, over, t.WriteSVG(out.Out)
		case "mermaid":
			return nil, over, t.WriteMermaid(out.Out)
		}
		if plan.watch && !over && !out.IsTerminal() {
			return nil, over, nil // off a terminal only the finished drawing is useful
		}
		var page bytes.Buffer
		columns, _ := out.Size()
		err = t.WriteText(&page, timeline.TextOptions{Width: columns, Colour: out.InColour(), Events: plan.events})
		return page.Bytes(), over, err
	})
}
