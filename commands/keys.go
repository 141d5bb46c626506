package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/private"
	"example.com/coffee/internal/text"
)

// keysetVariable is the environment variable for the flag --encryption-keyset.
const keysetVariable = "COFFEE_ENCRYPTION_KEYSET"

func keysetFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "encryption-keyset",
		Usage:       "keyset `FILE` that encrypts and decrypts orders, made by coffee keys",
		DefaultText: "$" + keysetVariable,
		Category:    category,
	}
}

// parseKeyset opens the keyset that the flag or the variable names; nil if neither
// does.
func parseKeyset(c *cli.Context) (*encryption.Keyset, error) {
	path := cmp.Or(c.String("encryption-keyset"), os.Getenv(keysetVariable))
	if path == "" {
		return nil, nil
	}
	noteExposed(c, "keyset", path)
	keyset, err := encryption.Open(path)
	if err != nil {
		return nil, exit.Hinted(err, "make one with: coffee keys new FILE")
	}
	return keyset, nil
}

// noteExposed says so if other people could read or change a file with secrets.
func noteExposed(c *cli.Context, what, path string) {
	if exposed := private.Exposed(path); exposed != "" {
		fmt.Fprintf(c.App.ErrWriter, "the %s is not private: %s\n", what, text.Printable(exposed))
	}
}

func keysCommand(a *app) *cli.Command {
	subcommand := func(name, usage, description string, run func(c *cli.Context, file string) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "[FILE]", Description: description, Flags: flags, Action: func(c *cli.Context) error {
			file := cmp.Or(c.Args().First(), os.Getenv(keysetVariable))
			if file == "" || c.Args().Len() > 1 {
				return usageErrorf(c, "which keyset? for example: coffee keys %s keys.json", name)
			}
			return run(c, file)
		}}
	}
	show := func(c *cli.Context, file string) error { return showKeys(a.out, file, false) }
	return &cli.Command{
		Name:  "keys",
		Usage: "make and rotate the keys that encrypt orders",
		Description: "A keyset is a file with one or more keys. All commands that work with orders take it with --encryption-keyset. " +
			"Whoever has the file can read the orders; whoever loses it never can again.",
		Subcommands: []*cli.Command{
			subcommand("new", "make a keyset with one key", "", func(c *cli.Context, file string) error {
				if err := encryption.Create(file); err != nil {
					return err
				}
				return show(c, file)
			}),
			subcommand("rotate", "encrypt with another key from now on",
				"What was encrypted before stays readable: the earlier keys are kept. Programs that run read the file again when they meet the new key. "+
					"Where the file is copied to several machines, add the key everywhere with --prepare before it is used anywhere.",
				func(c *cli.Context, file string) error {
					if err := encryption.Rotate(file, c.Bool("prepare")); err != nil {
						return err
					}
					return show(c, file)
				}, &cli.BoolFlag{Name: "prepare", Usage: "only add the key; the next rotate lets it encrypt"}),
			subcommand("list", "show the keys without their secrets", "", func(c *cli.Context, file string) error {
				asJSON, err := wantsJSON(c)
				if err != nil {
					return err
				}
				noteExposed(c, "keyset", file)
				return showKeys(a.out, file, asJSON)
			}, outputFlag()),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageErrorf(c, "no such command: keys %s; use new, rotate, list", c.Args().First())
			}
			a.out.printf("%s", c.Command.CustomHelpTemplate)
			return nil
		},
	}
}

func showKeys(out *output, file string, asJSON bool) error {
	keys, err := encryption.List(file)
	if err != nil {
		return err
	}
	if asJSON {
		return out.json(keys)
	}
	out.printf("%-12s %s\n", "KEY", "USE")
	for _, key := range keys {
		out.printf("%-12s %s\n", key.ID, key.Use)
	}
	return nil
}

// newGuard returns a guard that logs which orders a worker cannot read. Such an order waits
// for another worker, and harms no other.
func newGuard(a *app) *encryption.Guard {
	guard := encryption.NewGuard(coffee.WorkflowType)
	guard.Refused = func(workflowID string, err error) {
		event := a.log.Error().Err(err).Str("workflow_id", workflowID)
		var unreadable *encryption.UnreadableError
		if errors.As(err, &unreadable) && unreadable.Keyset != "" {
			event.Str("keyset", unreadable.Keyset)
			if unreadable.Err != nil {
				event.AnErr("keyset_error", unreadable.Err)
			}
		}
		event.Msg("this worker cannot go on with an order, which waits for another one")
	}
	return guard
}

// guarded runs a worker until the context ends, or until its guard finds that the worker
// cannot read any order: then it returns an error. A worker that can read the memo of one of
// the newest orders can read some.
func guarded(ctx context.Context, conn *connection, run func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hopeless := make(chan error, 1)
	go func() {
		hopeless <- conn.guard.Wait(ctx, func(ctx context.Context) error {
			_, err := conn.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: conn.namespace, Query: "WorkflowType = '" + coffee.WorkflowType + "'", PageSize: 100,
			})
			return err
		})
		stop()
	}()
	err := run(ctx)
	stop()
	return errors.Join(<-hopeless, err)
}
