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
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/findings"
	"example.com/coffee/internal/text"
	"example.com/coffee/timeline"
)

// replayedOver is how many orders that are over coffee replay replays.
const replayedOver = 1000

func replayCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "replay",
		Usage:     "replay orders on this build, to find nondeterminism before a rollout",
		ArgsUsage: "[ID...|FILE...]",
		Description: "Replays histories on this program's workflow, to find out before a new release is rolled out whether it would break an order. " +
			"Without arguments it replays those of all orders that run, and of the 1,000 that ended last. " +
			"A FILE, whose name ends in .json or has a / in it, is the history of an order, as temporal workflow show -o json writes it and as the Web UI lets you download it, without decoding; - is the standard input. " +
			"It changes nothing. It names the orders that it cannot read, and replays the others. " +
			"The exit code is 7 if a history does not replay, and 1 if an order cannot be read.",
		Flags:  slices.Concat([]cli.Flag{commandline.OutputFlag()}, connect.Flags()),
		Action: run(a, parseReplay, runReplay),
	}
}

type replayPlan struct {
	server     connect.Options
	ids, files []string // if both are empty: the server's orders
	asJSON     bool
}

func parseReplay(c *cli.Context) (plan replayPlan, err error) {
	plan.asJSON = commandline.WantsJSON(c)
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
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runReplay(ctx context.Context, a *app.App, plan replayPlan) error {
	report := findings.Replayed{Broken: []findings.Broken{}}
	for _, file := range plan.files {
		history, err := readHistory(file, plan.server.Keyset)
		if err = report.Take(history, err, file, a.Replay()); err != nil {
			return err
		}
	}
	if len(plan.ids) == 0 && len(plan.files) > 0 {
		return findings.PrintReplay(a.Out, report, plan.asJSON)
	}
	err := connect.WithOrders(ctx, a, plan.server, func(orders *desk.Client) error {
		for _, id := range plan.ids {
			history, err := orders.History(ctx, id)
			if err = report.Take(history, err, "", a.Replay()); err != nil {
				return err
			}
		}
		if len(plan.ids) > 0 {
			return nil
		}
		return report.TakeAll(orders.Histories(ctx, replayedOver), a.Replay())
	})
	if err != nil {
		return err
	}
	return findings.PrintReplay(a.Out, report, plan.asJSON)
}

// isFile reports whether an argument means a file and not an order.
func isFile(arg string) bool {
	return arg == "-" || strings.ContainsRune(arg, os.PathSeparator) || strings.HasSuffix(arg, ".json")
}

// readHistory reads the history of an order from a file, and decrypts it. The file - is the
// standard input.
func readHistory(path string, keyset *encryption.Keyset) (desk.History, error) {
	read, err := readWorkflow(path, keyset)
	if err != nil {
		return desk.History{}, err
	}
	history, err := desk.OfOrder(read)
	if err != nil {
		return history, fmt.Errorf("cannot read %s: %w", text.Printable(path), err)
	}
	return history, desk.CheckReadable(history.OrderID, history.Events)
}

// readWorkflow does so with the history of any workflow.
func readWorkflow(path string, keyset *encryption.Keyset) (history timeline.History, err error) {
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
	if history, err = timeline.FromJSON(file); err != nil {
		return history, fmt.Errorf("cannot read %s: %w", text.Printable(path), err)
	}
	return history, keyset.DecryptHistory(history.WorkflowID, history.Events)
}
