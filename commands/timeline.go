package commands

import (
	"bytes"
	"context"
	"os"
	"slices"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/timeline"
)

func timelineCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:      "timeline",
		Usage:     "draw the life of an order",
		ArgsUsage: "ID",
		Description: "Each step is a row, and so is each attempt, the backoff after it, what came from outside, and the time in which no worker was there. " +
			"No worker is needed. A length with ~ is estimated: Temporal keeps the times of the last attempt only.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` of the drawing: text, json, svg or mermaid", Value: "text"},
			&cli.BoolFlag{Name: "events", Usage: "list the events of Temporal's history that each row comes from"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "draw it until the order is over"},
		}, connectFlags()),
		ShellComplete: completeOrders(out, ""),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := oneOf(cmd, "format", "text", "json", "svg", "mermaid"); err != nil {
				return err
			}
			format := cmd.String("format")
			if cmd.Bool("events") && (format == "svg" || format == "mermaid") {
				return usageErrorf(cmd, "--events is for the formats text and json")
			}
			if cmd.Bool("watch") && format != "text" {
				return usageErrorf(cmd, "--watch is for the format text")
			}
			id, err := optionalOrderID(cmd)
			if err != nil {
				return err
			}
			if id == "" {
				return usageErrorf(cmd, "timeline needs the id of an order")
			}
			conn, err := out.connect(ctx, cmd)
			if err != nil {
				return err
			}
			defer conn.Close()
			return showTimeline(ctx, out, coffee.NewClient(conn, conn.namespace), id, format, cmd.Bool("events"), cmd.Bool("watch"))
		},
	}
}

func showTimeline(ctx context.Context, out *output, orders *coffee.Client, id, format string, events, watch bool) error {
	screen := &screen{out: out}
	for {
		history, err := orders.History(ctx, id)
		if err != nil {
			return err
		}
		t := timeline.New(history)
		switch format {
		case "json":
			if !events {
				for i := range t.Rows {
					t.Rows[i].Events = nil
				}
			}
			return out.json(t)
		case "svg":
			return t.WriteSVG(out.out)
		case "mermaid":
			return t.WriteMermaid(out.out)
		}
		var text bytes.Buffer
		options := timeline.TextOptions{Width: out.width(), Colour: out.isTerminal() && os.Getenv("NO_COLOR") == "", Events: events}
		if err := t.WriteText(&text, options); err != nil {
			return err
		}
		over := !t.EndedAt.IsZero()
		if watch && !over && !out.isTerminal() {
			text.Reset() // the drawing is of use when it is complete
		}
		if err := screen.show(nil, text.Bytes(), false, watch); err != nil || !watch || over {
			return err
		}
		if !sleep(ctx, watchEvery) {
			return &exitError{code: exitInterrupted}
		}
	}
}

// width is that of the terminal; 0 if stdout is none.
func (o *output) width() int {
	file, ok := o.out.w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
