package commands

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/tour"
)

// completionScripts make a shell ask the program itself for completions: they run
// the command line so far, with completionFlag appended. The word being typed is
// part of that line only if it begins with a hyphen.
var completionScripts = []struct{ shell, alias, script string }{
	{"bash", "", `# Put this into ~/.bashrc: source <(coffee completion bash)
_coffee_complete() {
	local word="${COMP_WORDS[COMP_CWORD]}" line=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $word == -* ]] && line+=("$word")
	local IFS=$'\n'
	COMPREPLY=($(compgen -W "$("${line[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F _coffee_complete coffee
`},
	{"zsh", "", `#compdef coffee
# Put this into ~/.zshrc, after compinit: source <(coffee completion zsh)
_coffee() {
	local -a line found
	line=("${(@)words[1,CURRENT-1]}")
	[[ "$words[CURRENT]" == -* ]] && line+=("$words[CURRENT]")
	found=("${(@f)$("${(@)line}" --generate-bash-completion 2>/dev/null)}")
	if [[ -n "$found[1]" ]]; then
		compadd -- "${(@)found}"
	else
		_files
	fi
}
compdef _coffee coffee
`},
	{"fish", "", `# Put this into ~/.config/fish/completions/coffee.fish
function __coffee_complete
	set -l line (commandline -opc)
	set -l word (commandline -ct)
	string match -q -- '-*' $word; and set -a line $word
	set -l found ($line --generate-bash-completion 2>/dev/null)
	if set -q found[1]
		printf '%s\n' $found
	else
		__fish_complete_path $word
	end
end
complete -c coffee -f -a '(__coffee_complete)'
`},
	{"powershell", "pwsh", `# Put this into $PROFILE: coffee completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName coffee -ScriptBlock {
	param($word, $ast, $position)
	$line = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
	if ($word -and -not $word.StartsWith('-')) { $line = @($line | Select-Object -SkipLast 1) }
	coffee @line --generate-bash-completion 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
		[System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
	}
}
`},
}

func completionCommand(a *app) *cli.Command {
	command := &cli.Command{
		Name:  "completion",
		Usage: "print a completion script for bash, zsh, fish or powershell",
		Action: func(c *cli.Context) error {
			return usageErrorf(c, "which shell? bash, zsh, fish or powershell")
		},
	}
	for _, s := range completionScripts {
		shell := &cli.Command{
			Name:  s.shell,
			Usage: "print the script for " + s.shell,
			Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				a.out.printf("%s", s.script)
				return nil
			},
		}
		if s.alias != "" {
			shell.Aliases = []string{s.alias}
		}
		command.Subcommands = append(command.Subcommands, shell)
	}
	return command
}

// complete prints what may come next on a command line: flags if the last word
// begins with a hyphen, otherwise subcommands and what more returns. It replaces
// the completion of urfave/cli v2, which offers hidden flags as well.
func complete(a *app, last string, more func(*cli.Context) []string) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		if strings.HasPrefix(last, "-") {
			flags := slices.Concat(c.Command.Flags, c.App.Flags)
			if flag := findFlag(flags, flagName(last)); takesValue(flag) {
				for _, value := range valuesOf(flag.Names()[0]) { // none: the shell offers files
					a.out.printf("%s\n", value)
				}
				return
			}
			for _, name := range visibleNames(flags) {
				if flag := "--" + name; strings.HasPrefix(flag, last) {
					a.out.printf("%s\n", flag)
				}
			}
			return
		}
		for _, command := range c.Command.Subcommands {
			if !command.Hidden {
				a.out.printf("%s\n", command.Name)
			}
		}
		if more != nil {
			for _, word := range more(c) {
				a.out.printf("%s\n", word)
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

// orderIDs returns a function that lists the ids of the latest orders with a
// status; empty means any.
func orderIDs(a *app, status coffee.OrderStatus) func(*cli.Context) []string {
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
func deployedVersions(a *app) func(*cli.Context) []string {
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
func askedFor(a *app, ask func(context.Context, *cli.Context, *desk.Client) ([]string, error)) func(*cli.Context) []string {
	return func(c *cli.Context) (words []string) {
		options, err := parseConnect(c)
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(c.Context, 2*time.Second)
		defer cancel()
		err = a.withOrders(ctx, options, func(orders *desk.Client) error {
			words, err = ask(ctx, c, orders)
			return err
		})
		if err != nil {
			return nil
		}
		return words
	}
}

// completed returns the word before completionFlag, which is the word to complete
// or the one before it. It reports false if no completion was asked for.
func completed(args []string) (last string, ok bool) {
	n := len(args)
	if n < 2 || args[n-1] != completionFlag {
		return "", false
	}
	return args[n-2], true
}

// completesArgument reports whether a command line is to be completed after a --,
// where there is nothing to offer. urfave/cli would run the command.
func completesArgument(args []string) bool {
	_, completing := completed(args)
	i := slices.Index(args, "--")
	return completing && i >= 0 && i < len(args)-2
}
