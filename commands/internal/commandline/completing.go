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
		if strings.HasPrefix(last, "-") {
			flags := slices.Concat(c.Command.Flags, c.App.Flags)
			if flag := FindFlag(flags, flagName(last)); takesValue(flag) {
				for _, value := range valuesOf(flag.Names()[0]) { // none: the shell offers files
					fmt.Fprintf(c.App.Writer, "%s\n", value)
				}
				return
			}
			for _, name := range visibleNames(flags) {
				if flag := "--" + name; strings.HasPrefix(flag, last) {
					fmt.Fprintf(c.App.Writer, "%s\n", flag)
				}
			}
			return
		}
		for _, command := range c.Command.Subcommands {
			if !command.Hidden {
				fmt.Fprintf(c.App.Writer, "%s\n", command.Name)
			}
		}
		if more != nil {
			for _, word := range more(c) {
				fmt.Fprintf(c.App.Writer, "%s\n", word)
			}
		}
	}
}

// valuesOf returns the values that a flag can have, if there are only a few.
func valuesOf(flag string) (values []string) {
	switch flag {
	case "drink":
		for _, drink := range coffee.Menu() {
			values = append(values, string(drink))
		}
	case "pricing":
		for _, strategy := range coffee.PricingStrategies() {
			values = append(values, strategy.Name())
		}
	case "chapter":
		for _, chapter := range tour.Chapters {
			values = append(values, chapter.Name)
		}
	case "size":
		values = []string{"S", "M", "L"}
	case "status":
		values = []string{"running", "completed", "failed", "cancelled"}
	case "output", "log-format":
		values = []string{"text", "json"}
	case "format":
		values = []string{"text", "json", "svg", "mermaid"}
	case "log-level":
		values = []string{"debug", "info", "warn", "error", "never"}
	case "versioning":
		values = []string{"pinned", "auto-upgrade"}
	}
	return values
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
