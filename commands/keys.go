package commands

import (
	"cmp"
	"context"
	"os"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
)

func keysCommand(a *app.App) *cli.Command {
	subcommand := func(name, usage, description string, do func(context.Context, *app.App, keysPlan) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "[FILE]", Description: description, Flags: flags, Action: run(a, parseKeys, do)}
	}
	return &cli.Command{
		Name:  "keys",
		Usage: "make and rotate the keys that encrypt orders",
		Description: "A keyset is a file with one or more keys. All commands that work with orders take it with --encryption-keyset. " +
			"Whoever has the file can read the orders; whoever loses it never can again.",
		Subcommands: []*cli.Command{
			subcommand("new", "make a keyset with one key", "", runKeysNew),
			subcommand("rotate", "encrypt with another key from now on",
				"What was encrypted before stays readable: the earlier keys are kept. Programs that run read the file again when it has changed. "+
					"Where the file is copied to several machines, add the key everywhere with --prepare before it is used anywhere.",
				runKeysRotate, &cli.BoolFlag{Name: "prepare", Usage: "only add the key; the next rotate lets it encrypt"}),
			subcommand("list", "show the keys without their secrets", "", runKeysList, commandline.OutputFlag()),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return commandline.Errorf(c, "no such command: keys %s; use new, rotate, list", c.Args().First())
			}
			a.Out.Printf("%s", c.Command.CustomHelpTemplate)
			return nil
		},
	}
}

type keysPlan struct {
	file    string
	prepare bool // of rotate
	asJSON  bool // of list
}

func parseKeys(c *cli.Context) (keysPlan, error) {
	plan := keysPlan{cmp.Or(c.Args().First(), os.Getenv(commandline.KeysetVariable)), c.Bool("prepare"), commandline.WantsJSON(c)}
	if plan.file == "" || c.Args().Len() > 1 {
		return plan, commandline.Errorf(c, "which keyset? for example: coffee keys %s keys.json", c.Command.Name)
	}
	return plan, nil
}

func runKeysNew(_ context.Context, a *app.App, plan keysPlan) error {
	if err := encryption.Create(plan.file); err != nil {
		return err
	}
	return showKeys(a.Out, plan)
}

func runKeysRotate(_ context.Context, a *app.App, plan keysPlan) error {
	if err := encryption.Rotate(plan.file, plan.prepare); err != nil {
		return err
	}
	return showKeys(a.Out, plan)
}

func runKeysList(_ context.Context, a *app.App, plan keysPlan) error {
	connect.NoteExposed(a.Out.Err, "keyset", plan.file)
	return showKeys(a.Out, plan)
}

func showKeys(out *terminal.Output, plan keysPlan) error {
	keys, err := encryption.List(plan.file)
	if err != nil {
		return err
	}
	if plan.asJSON {
		return out.Json(keys)
	}
	out.Printf("%-12s %s\n", "KEY", "USE")
	for _, key := range keys {
		out.Printf("%-12s %s\n", key.ID, key.Use)
	}
	return nil
}
