package commands

import (
	"cmp"
	"os"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
)

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
