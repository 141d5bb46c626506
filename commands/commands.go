// Package commands is the command line: flags in, text or JSON out. There is
// one file per command. What they share is in output.go (how to print),
// errors.go (how to fail), connect.go (how to reach a server), settings.go
// (the worker's flags) and dev.go (everything in one process).
package commands

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
	"go.temporal.io/sdk/worker"

	"example.com/coffee/devserver"
)

// Run runs the program and returns its exit code. When the context is
// cancelled, commands stop cleanly.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return run(ctx, args, &output{out: &checkedWriter{w: stdout}, err: stderr})
}

func run(ctx context.Context, args []string, out *output) int {
	setBuildID()
	err := newRoot(out).Run(ctx, args)
	if out.out.err != nil { // data that could not be written is a failure
		err = out.out.err
	}
	return out.fail(ctx, err)
}

func newRoot(out *output) *cli.Command {
	root := &cli.Command{
		Name:  "coffee",
		Usage: "take coffee orders as durable Temporal workflows",
		UsageText: "coffee order --dev --drink latte --size M    everything in one process\n" +
			"coffee server; coffee worker; coffee order --drink latte    each in its own terminal",
		Version: version(),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of log messages: debug, info, warn, error or never (default: info; warn for what the Temporal server and SDK say)"},
			&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of log messages: text or json (default: text on a terminal, json otherwise)"},
		},
		Before: func(ctx context.Context, cmd *cli.Command) (context.Context, error) {
			return ctx, out.configureLogs(cmd.String("log-level"), cmd.String("log-format"))
		},
		Commands: []*cli.Command{
			serverCommand(out), workerCommand(out), orderCommand(out),
			statusCommand(out), timelineCommand(out), boardCommand(out), cancelCommand(out), menuCommand(out), auditCommand(out), chaosCommand(out), rushCommand(out), backupCommand(out), readyCommand(out),
		},
		EnableShellCompletion: true,
		ConfigureShellCompletionCommand: func(completion *cli.Command) {
			completion.Hidden = false
			completion.Usage = "print a completion script for bash, zsh, fish or powershell"
			for _, shell := range completion.Commands {
				if shell.Name == "pwsh" {
					shell.Name, shell.Aliases = "powershell", []string{"pwsh"}
				}
			}
			completion.Action = func(_ context.Context, cmd *cli.Command) error {
				return usageErrorf(cmd, "which shell? bash, zsh, fish or powershell")
			}
			completion.OnUsageError = onUsageError
		},
		Writer:         out.out,
		ErrWriter:      out.err,
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // Run decides
	}
	root.Action = func(_ context.Context, cmd *cli.Command) error {
		if !cmd.Args().Present() {
			return cli.ShowRootCommandHelp(cmd)
		}
		var names []string
		for _, c := range root.VisibleCommands() {
			names = append(names, c.Name)
		}
		return usageErrorf(cmd, "no such command: %q; there are %s", cmd.Args().First(), strings.Join(names, ", "))
	}
	for _, cmd := range append(root.Commands, root) {
		cmd.OnUsageError = onUsageError
		cmd.HideHelpCommand = true
		cmd.DisableSliceFlagSeparator = true // a value may have a comma in it
	}
	return root
}

// version is that of the module if it was built from one, or else that of the
// source.
func version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("%s (Temporal server %s)", v, devserver.ServerVersion)
}

// setBuildID tells the SDK which build of the program this is. Otherwise the
// SDK reads the whole executable, 200 MB of it, to find out.
func setBuildID() {
	path, err := os.Executable()
	if err != nil {
		return
	}
	if info, err := os.Stat(path); err == nil {
		worker.SetBinaryChecksum(fmt.Sprintf("coffee-%x-%x", info.Size(), info.ModTime().UnixNano()))
	}
}

// noArguments refuses arguments that a command does not take.
func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		return usageErrorf(cmd, "%s takes no argument: %q", cmd.Name, cmd.Args().First())
	}
	return nil
}

// oneOf refuses a flag's value that is not in the list; empty is allowed.
func oneOf(cmd *cli.Command, flag string, values ...string) error {
	if value := cmd.String(flag); value != "" && !slices.Contains(values, value) {
		return usageErrorf(cmd, "--%s is %q: use %s", flag, value, strings.Join(values, ", "))
	}
	return nil
}
