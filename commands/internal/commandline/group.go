package commandline

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"example.com/coffee/internal/typo"
)

// HelpCommand is coffee help: the same as --help.
func HelpCommand(root *cli.App, groups []Group) *cli.Command {
	full := FullHelp(root, groups)
	return &cli.Command{
		Name:      "help",
		Hidden:    true,
		Usage:     "explain the program, or a command",
		ArgsUsage: "[COMMAND]",
		Action: func(c *cli.Context) error {
			commands, text := root.Commands, full
			for n, name := range c.Args().Slice() {
				i := slices.IndexFunc(commands, func(command *cli.Command) bool { return command.HasName(name) })
				if i < 0 && n > 0 && len(commands) == 0 {
					break // an argument of the command, such as start-dev
				}
				if i < 0 && n > 0 {
					return Errorf(c, "no such command: %q", strings.Join(c.Args().Slice(), " "))
				}
				if i < 0 {
					return NoSuchCommand(c, name, groups)
				}
				commands, text = commands[i].Subcommands, commands[i].CustomHelpTemplate
			}
			_, err := io.WriteString(c.App.Writer, text)
			return err
		},
	}
}

// NoSuchCommand returns the usage error for a command that does not exist, with the nearest name.
func NoSuchCommand(c *cli.Context, name string, groups []Group) error {
	var names []string
	for _, group := range groups {
		for _, command := range group.Commands {
			names = append(names, command.Name)
		}
	}
	if near, ok := typo.Nearest(name, names); ok {
		return Errorf(c, "no such command: %q; did you mean %s?", name, near)
	}
	return Errorf(c, "no such command: %q; the commands are %s", name, strings.Join(names, ", "))
}

// Group is a section of the list of commands in coffee --help.
type Group struct {
	Title    string
	Commands []*cli.Command
}
