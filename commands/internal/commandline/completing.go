package commandline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/tour"
)

// Complete prints what may come next on a command line: flags if the last word
// begins with a hyphen, otherwise subcommands and what more returns. It replaces
// the completion of urfave/cli v2, which offers hidden flags as well.
func Complete(last string, more func(*cli.Context) []string) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		offer := func(words ...string) {
			for _, word := range words {
				fmt.Fprintln(c.App.Writer, word)
			}
		}
		flags := slices.Concat(c.Command.Flags, c.App.Flags)
		switch flag := FindFlag(flags, flagName(last)); {
		case !strings.HasPrefix(last, "-"):
			for _, command := range c.Command.VisibleCommands() {
				offer(command.Name)
			}
			if more != nil {
				offer(more(c)...)
			}
		case takesValue(flag):
			offer(valuesOf(flag.Names()[0])...) // none: the shell offers files
		default:
			for _, name := range visibleNames(flags) {
				if flag := "--" + name; strings.HasPrefix(flag, last) {
					offer(flag)
				}
			}
		}
	}
}

// valuesOf returns the values that a flag can have, if there are only a few.
func valuesOf(flag string) []string {
	return map[string][]string{
		"drink":      words(coffee.Menu(), func(d coffee.Drink) string { return string(d) }),
		"pricing":    words(coffee.PricingStrategies(), coffee.PricingStrategy.Name),
		"chapter":    words(tour.Chapters, func(c tour.Chapter) string { return c.Name }),
		"size":       {"S", "M", "L"},
		"status":     {"running", "completed", "failed", "cancelled"},
		"output":     {"text", "json"},
		"log-format": {"text", "json"},
		"format":     {"text", "json", "svg", "mermaid"},
		"log-level":  {"debug", "info", "warn", "error", "never"},
		"versioning": {"pinned", "auto-upgrade"},
	}[flag]
}

func words[T any](all []T, word func(T) string) (words []string) {
	for _, one := range all {
		words = append(words, word(one))
	}
	return words
}

// Completed returns the word before completionFlag, which is the word to complete
// or the one before it. It reports false if no completion was asked for.
func Completed(args []string) (last string, ok bool) {
	n := len(args)
	if n < 2 || args[n-1] != CompletionFlag {
		return "", false
	}
	return args[n-2], true
}

// CompletesArgument reports whether a command line is to be completed after a --,
// where there is nothing to offer. urfave/cli would run the command.
func CompletesArgument(args []string) bool {
	_, completing := Completed(args)
	i := slices.Index(args, "--")
	return completing && i >= 0 && i < len(args)-2
}
