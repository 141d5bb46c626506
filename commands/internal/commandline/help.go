package commandline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"example.com/coffee/internal/text"
	"example.com/coffee/internal/typo"
)

// helpWidth is how wide a line of help may be, and nameWidth how wide the names of a flag
// that has its meaning beside it. Longer names have their meaning below.
const (
	helpWidth = 80
	nameWidth = 28
)

// SharedFlags are the categories of flags that several commands have. One command's help
// explains each, so that the flags of the others' own do not scroll away.
var SharedFlags = []struct{ Category, explainedBy string }{
	{"WORKER", "worker"},
	{"CONNECTION", "ready"},
}

// firstCommands are those of the first help: the program, and what most people want next.
var firstCommands = []string{"server", "worker", "order", "status", "cancel", "tour", "timeline", "board", "menu", "audit", "ready"}

// FirstHelp returns coffee --help, which is short.
func FirstHelp(root *cli.App) string {
	var first Group
	for _, name := range firstCommands {
		first.Commands = append(first.Commands, root.Command(name))
	}
	return rootHelp(root, []Group{first}, fmt.Sprintf("\n   coffee help lists %d more commands; coffee COMMAND --help explains one.\n", len(root.Commands)-len(firstCommands)))
}

func rootHelp(root *cli.App, groups []Group, last string) string {
	var help strings.Builder
	fmt.Fprintf(&help, "NAME:\n   %s - %s\n\nUSAGE:\n", root.Name, root.Usage)
	for line := range strings.Lines(root.UsageText) {
		help.WriteString("   " + line)
	}
	help.WriteString("\n\nCOMMANDS:\n")
	for i, group := range groups {
		if i > 0 {
			help.WriteString("\n")
		}
		if group.Title != "" {
			fmt.Fprintf(&help, "   %s\n", group.Title)
		}
		for _, command := range group.Commands {
			item(&help, 5, 10, command.Name, command.Usage)
		}
	}
	help.WriteString("\nOPTIONS:\n")
	flagList(&help, slices.Concat(root.Flags, []cli.Flag{cli.VersionFlag}))
	return help.String() + last
}

// CommandHelp returns the help of a command with its full name, such as coffee order.
// Flags are listed in the order of their declaration.
func CommandHelp(command *cli.Command, fullName string) string {
	var help strings.Builder
	help.WriteString("NAME:\n" + wrap(fullName+" - "+command.Usage, 3))
	usage := fullName
	if len(command.Subcommands) > 0 {
		usage += " COMMAND"
	}
	fmt.Fprintf(&help, "\nUSAGE:\n   %s\n", strings.TrimSpace(usage+" [FLAGS] "+command.ArgsUsage))
	if command.Description != "" {
		help.WriteString("\nDESCRIPTION:\n" + wrap(command.Description, 3))
	}
	if visible := command.VisibleCommands(); len(visible) > 0 {
		help.WriteString("\nCOMMANDS:\n")
		for _, sub := range visible {
			item(&help, 3, 10, sub.Name, sub.Usage)
		}
	}
	own, categories := ByCategory(command.Flags)
	help.WriteString("\nOPTIONS:\n")
	flagList(&help, append(own, cli.HelpFlag))
	for _, c := range categories {
		shared, _, _ := strings.Cut(c.Title, " (")
		i := slices.IndexFunc(SharedFlags, func(s struct{ Category, explainedBy string }) bool { return s.Category == shared })
		help.WriteString("\n")
		if i < 0 || SharedFlags[i].explainedBy == command.Name {
			help.WriteString(wrap(c.Title, 3))
			flagList(&help, c.Flags)
			continue
		}
		help.WriteString(wrap(c.Title+": see coffee "+SharedFlags[i].explainedBy+" --help", 3))
		help.WriteString(wrap("--"+strings.Join(visibleNames(c.Flags), ", --"), 3))
	}
	return help.String()
}

// flagCategory is a category of flags, in the order of their declaration.
type flagCategory struct {
	Title string
	Flags []cli.Flag
}

// ByCategory returns the flags of a command's own, and the others by category.
func ByCategory(flags []cli.Flag) (own []cli.Flag, categories []flagCategory) {
	for _, flag := range flags {
		title := ""
		if categorized, ok := flag.(cli.CategorizableFlag); ok {
			title = categorized.GetCategory()
		}
		i := slices.IndexFunc(categories, func(c flagCategory) bool { return c.Title == title })
		switch {
		case title == "":
			own = append(own, flag)
		case i < 0:
			categories = append(categories, flagCategory{title, []cli.Flag{flag}})
		default:
			categories[i].Flags = append(categories[i].Flags, flag)
		}
	}
	return own, categories
}

// flagList writes the visible ones of some flags with their meaning.
func flagList(help *strings.Builder, flags []cli.Flag) {
	widest := 0
	for _, flag := range flags {
		if names, _ := FlagHelp(flag); names != "" && len(names) <= nameWidth {
			widest = max(widest, len(names))
		}
	}
	for _, flag := range flags {
		if names, meaning := FlagHelp(flag); names != "" {
			item(help, 3, widest, names, meaning)
		}
	}
}

// FlagHelp returns the names of a flag, with the word for its value, and what it means.
// Both are empty for a hidden flag. A usage text that begins with that word would say it
// twice in a row, so there it is in small letters.
func FlagHelp(flag cli.Flag) (names, meaning string) {
	if visible, ok := flag.(cli.VisibleFlag); ok && !visible.IsVisible() {
		return "", ""
	}
	names, meaning, _ = strings.Cut(flag.String(), "\t")
	names, _, _ = strings.Cut(names, " [ ") // a flag that can be repeated is shown twice
	meaning = strings.TrimSpace(meaning)
	if usage, ok := strings.CutPrefix(flag.(cli.DocGenerationFlag).GetUsage(), "`"); ok {
		word, _, _ := strings.Cut(usage, "`")
		if rest := strings.TrimPrefix(meaning, word); word != "URL" {
			meaning = strings.ToLower(word) + rest
		}
	}
	return strings.TrimSpace(names), meaning
}

// item writes a name and, in a column beside or below it, what it means.
func item(help *strings.Builder, indent, widest int, name, meaning string) {
	column := indent + widest + 2
	if len(name) > widest {
		help.WriteString(strings.Repeat(" ", indent) + name + "\n" + wrap(meaning, column))
		return
	}
	text := wrap(meaning, column)
	fmt.Fprintf(help, "%s%-*s  %s", strings.Repeat(" ", indent), widest, name, text[min(column, len(text)):])
}

// wrap breaks a text between words into indented lines of up to helpWidth.
func wrap(s string, indent int) string {
	line := strings.Repeat(" ", indent) + strings.Join(strings.Fields(s), " ")
	return strings.Join(text.Wrap(line, helpWidth), "\n") + "\n"
}

// HelpCommand is coffee help: the same as --help.
func HelpCommand(root *cli.App, groups []Group) *cli.Command {
	full := rootHelp(root, groups, "\n   coffee COMMAND --help explains a command and its flags.\n")
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
					return NoSuchCommand(c, name)
				}
				commands, text = commands[i].Subcommands, commands[i].CustomHelpTemplate
			}
			_, err := io.WriteString(c.App.Writer, text)
			return err
		},
	}
}

// NoSuchCommand returns the usage error for a command that does not exist, with the nearest name.
func NoSuchCommand(c *cli.Context, name string) error {
	names := words(c.App.VisibleCommands(), func(command *cli.Command) string { return command.Name })
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
