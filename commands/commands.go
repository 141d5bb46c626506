// Package commands is the command line: flags in, text or JSON out. Each command
// has a file that reads from top to bottom: its flags, the plan that they ask for,
// and the run. The commands share
//
//   - app.go, what every command works with, and background.go, what runs while a
//     command waits;
//   - connect.go, ledger.go, data.go and dev.go, which open a connection to a
//     server, a ledger in the data directory, or all of it in this process;
//   - keys.go, secure.go, telemetry.go and web.go: keysets, certificates, metrics and
//     traces, and whatever speaks HTTP;
//   - output.go, words.go, screen.go and live.go, which print;
//   - arguments.go, help.go, completion.go, errors.go and waiting.go: what a command
//     line may say, how it is explained and completed, how it fails, and what an order
//     waits for.
//
// options.go has what another program, such as the laboratory, can give them besides flags.
// Whatever else is no command helps one, and is named after what it does.
package commands

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/exit"
)

// Run runs the program and returns its exit code. When the context is
// cancelled, commands stop cleanly.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, options Options) int {
	a := newApp(stdout, stderr, options)
	if completesArgument(args) {
		return exit.OK
	}
	setBuildID()
	root := newRoot(a, args)
	line, err := flagsFirst(root, args)
	if err == nil {
		err = root.RunContext(ctx, line)
	}
	a.stopTracing()
	if a.out.out.err != nil { // failing to write the data is a failure
		err = a.out.out.err
	}
	return a.out.fail(ctx, err)
}

func groups(a *app, last string) []group {
	running, all := orderIDs(a, coffee.StatusRunning), orderIDs(a, "")
	completing := func(command *cli.Command, ids func(*cli.Context) []string) *cli.Command {
		command.BashComplete = complete(last, ids)
		return command
	}
	return []group{
		{"RUNNING", []*cli.Command{serverCommand(a), workerCommand(a)}},
		{"ORDERS", []*cli.Command{orderCommand(a), completing(statusCommand(a), all), completing(cancelCommand(a), running)}},
		{"LEARNING", []*cli.Command{tourCommand(a)}},
		{"INSPECTING", []*cli.Command{completing(timelineCommand(a), all), completing(skipCommand(a), running), boardCommand(a), menuCommand(a)}},
		{"VERIFYING", []*cli.Command{completing(replayCommand(a), all), auditCommand(a), rushCommand(a)}},
		{"OPERATING", []*cli.Command{readyCommand(a), backupCommand(a), completing(rolloutCommand(a), deployedVersions(a)), keysCommand(a), codecCommand(a), completionCommand(a)}},
	}
}

func newRoot(a *app, args []string) *cli.App {
	last, completing := completed(args)
	groups := groups(a, last)
	root := &cli.App{
		Name:     "coffee",
		HelpName: "coffee",
		Usage:    "take coffee orders as durable Temporal workflows",
		UsageText: "coffee order --dev --drink latte     everything in one process\n" +
			"coffee server, coffee worker,\n" +
			"coffee order --drink latte           each in a terminal of its own",
		Version: version(),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of log messages: debug, info, warn, error or never", DefaultText: "info; warn for the Temporal server and SDK"},
			&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of log messages: text or json", DefaultText: "text on a terminal, json otherwise"},
		},
		Before: func(c *cli.Context) error {
			if err := a.configureLogs(c.String("log-level"), c.String("log-format")); err != nil {
				return err
			}
			if err := checkFlags(c, c.App.Flags); err != nil {
				return err
			}
			a.adoptLoggers()
			a.startTracing(c.Context)
			return nil
		},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowAppHelp(c)
			}
			return noSuchCommand(c, c.Args().First(), groups)
		},
		EnableBashCompletion:      true,
		BashComplete:              complete(last, nil),
		DisableSliceFlagSeparator: true, // a value may have a comma in it
		HideHelpCommand:           true,
		OnUsageError:              onUsageError,
		Writer:                    a.out.out,
		ErrWriter:                 a.out.err,
		ExitErrHandler:            func(*cli.Context, error) {}, // run prints the error
	}
	for _, group := range groups {
		root.Commands = append(root.Commands, group.commands...)
	}
	root.Flags = append(root.Flags, cli.HelpFlag) // urfave/cli leaves it out beside a command help
	root.CustomAppHelpTemplate = rootHelp(root, groups)
	root.Commands = append(root.Commands, helpCommand(root, groups))
	finish(a, last, root.Name, root.Commands)
	if completing {
		a.configureLogs("never", "text") // cannot fail: both values are valid
	}
	return root
}

// finish sets what all commands and their subcommands have in common.
func finish(a *app, last, parent string, commands []*cli.Command) {
	for _, command := range commands {
		command.HideHelpCommand = true
		command.OnUsageError = onUsageError
		if command.BashComplete == nil {
			command.BashComplete = complete(last, nil)
		}
		command.Before = func(c *cli.Context) error { return checkFlags(c, command.Flags) }
		for _, flag := range command.Flags {
			if b, ok := flag.(*cli.BoolFlag); ok {
				b.DisableDefaultText = true // it is always false
			}
		}
		name := parent + " " + command.Name
		command.CustomHelpTemplate = commandHelp(command, name)
		finish(a, last, name, command.Subcommands)
	}
}
