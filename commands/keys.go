package commands

import (
	"cmp"
	"os"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
)

func keysCommand(a *app.App) *cli.Command {
	subcommand := func(name, usage, description string, run func(c *cli.Context, file string) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "[FILE]", Description: description, Flags: flags, Action: func(c *cli.Context) error {
			file := cmp.Or(c.Args().First(), os.Getenv(commandline.KeysetVariable))
			if file == "" || c.Args().Len() > 1 {
				return commandline.Errorf(c, "which keyset? for example: coffee keys %s keys.json", name)
			}
			return run(c, file)
		}}
	}
	show := func(c *cli.Context, file string) error { return showKeys(a.Out, file, false) }
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
				"What was encrypted before stays readable: the earlier keys are kept. Programs that run read the file again when it has changed. "+
					"Where the file is copied to several machines, add the key everywhere with --prepare before it is used anywhere.",
				func(c *cli.Context, file string) error {
					if err := encryption.Rotate(file, c.Bool("prepare")); err != nil {
						return err
					}
					return show(c, file)
				}, &cli.BoolFlag{Name: "prepare", Usage: "only add the key; the next rotate lets it encrypt"}),
			subcommand("list", "show the keys without their secrets", "", func(c *cli.Context, file string) error {
				asJSON, err := commandline.WantsJSON(c)
				if err != nil {
					return err
				}
				connect.NoteExposed(c, "keyset", file)
				return showKeys(a.Out, file, asJSON)
			}, commandline.OutputFlag()),
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

func showKeys(out *terminal.Output, file string, asJSON bool) error {
	keys, err := encryption.List(file)
	if err != nil {
		return err
	}
	if asJSON {
		return out.Json(keys)
	}
	out.Printf("%-12s %s\n", "KEY", "USE")
	for _, key := range keys {
		out.Printf("%-12s %s\n", key.ID, key.Use)
	}
	return nil
}
