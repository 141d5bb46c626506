package commands

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
)

func completionCommand(a *app.App) *cli.Command {
	command := &cli.Command{
		Name:  "completion",
		Usage: "print a completion script for bash, zsh, fish or powershell",
		Action: func(c *cli.Context) error {
			return commandline.Errorf(c, "which shell? bash, zsh, fish or powershell")
		},
	}
	for _, s := range commandline.Scripts {
		shell := &cli.Command{
			Name:   s.Shell,
			Usage:  "print the script for " + s.Shell,
			Action: run(a, func(*cli.Context) (string, error) { return s.Script, nil }, printScript),
		}
		if s.Alias != "" {
			shell.Aliases = []string{s.Alias}
		}
		command.Subcommands = append(command.Subcommands, shell)
	}
	return command
}

func printScript(_ context.Context, a *app.App, script string) error {
	a.Out.Printf("%s", script)
	return nil
}

// orderIDs returns a function that lists the ids of the latest orders with a
// status; empty means any.
func orderIDs(a *app.App, status coffee.OrderStatus) func(*cli.Context) []string {
	return askedFor(a, func(ctx context.Context, _ *cli.Context, orders *desk.Client) (ids []string, err error) {
		views, err := orders.List(ctx, desk.ListOptions{Status: status})
		for _, view := range views {
			if coffee.ValidateOrderID(view.OrderID) == nil {
				ids = append(ids, view.OrderID)
			}
		}
		return ids, err
	})
}

// deployedVersions returns a function that lists the build ids of a deployment's versions.
func deployedVersions(a *app.App) func(*cli.Context) []string {
	return askedFor(a, func(ctx context.Context, c *cli.Context, orders *desk.Client) (ids []string, err error) {
		d, err := rollout.New(orders).Deployment(ctx, c.String("deployment"))
		for _, version := range d.Versions {
			ids = append(ids, version.BuildID)
		}
		return ids, err
	})
}

// askedFor returns a function that asks the server for completions. If it does not
// answer soon there are none: a missing completion is not an error.
func askedFor(a *app.App, ask func(context.Context, *cli.Context, *desk.Client) ([]string, error)) func(*cli.Context) []string {
	return func(c *cli.Context) (words []string) {
		options, err := connect.Parse(c)
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(c.Context, 2*time.Second)
		defer cancel()
		err = connect.WithOrders(ctx, a, options, func(orders *desk.Client) error {
			words, err = ask(ctx, c, orders)
			return err
		})
		if err != nil {
			return nil
		}
		return words
	}
}
