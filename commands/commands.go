// Package commands is the command line: flags in, text or JSON out. Each command
// has a file that reads from top to bottom: xCommand has its flags, xPlan is what they ask for,
// parseX makes that of a command line, and runX carries it out; see [run].
//
// What the commands share is below internal/: app, what each of them works with;
// commandline, connect, ledgers and local, which turn flags into a connection, a ledger, a
// server and a worker; background and monitor, what runs while a command waits; terminal,
// findings and waiting, which speak to the user. options.go has what another program, such as
// the laboratory, can use.
package commands

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/process"
	"example.com/coffee/internal/exit"
)

// Run runs the program and returns its exit code. When the context is
// cancelled, commands stop cleanly.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, options app.Options) int {
	a := app.New(stdout, stderr, options)
	if commandline.CompletesArgument(args) {
		return exit.OK
	}
	process.SetBuildID()
	root := newRoot(a, args)
	line, err := commandline.FlagsFirst(root, args)
	if err == nil {
		err = root.RunContext(ctx, line)
	}
	a.StopTracing()
	if a.Out.Out.Err != nil { // failing to write the data is a failure
		err = a.Out.Out.Err
	}
	return a.Out.Fail(ctx, err)
}

func groups(a *app.App, last string) []commandline.Group {
	running, all := orderIDs(a, coffee.StatusRunning), orderIDs(a, "")
	completing := func(command *cli.Command, ids func(*cli.Context) []string) *cli.Command {
		command.BashComplete = commandline.Complete(last, ids)
		return command
	}
	return []commandline.Group{
		{Title: "RUNNING", Commands: []*cli.Command{serverCommand(a), workerCommand(a)}},
		{Title: "ORDERS", Commands: []*cli.Command{orderCommand(a), completing(statusCommand(a), all), completing(cancelCommand(a), running)}},
		{Title: "LEARNING", Commands: []*cli.Command{tourCommand(a)}},
		{Title: "INSPECTING", Commands: []*cli.Command{completing(timelineCommand(a), all), completing(skipCommand(a), running), boardCommand(a), menuCommand(a)}},
		{Title: "VERIFYING", Commands: []*cli.Command{completing(replayCommand(a), all), auditCommand(a), rushCommand(a)}},
		{Title: "OPERATING", Commands: []*cli.Command{readyCommand(a), backupCommand(a), completing(rolloutCommand(a), deployedVersions(a)), keysCommand(a), codecCommand(a), completionCommand(a)}},
	}
}

func newRoot(a *app.App, args []string) *cli.App {
	last, completing := commandline.Completed(args)
	groups := groups(a, last)
	root := &cli.App{
		Name:     "coffee",
		HelpName: "coffee",
		Usage:    "take coffee orders as durable Temporal workflows",
		UsageText: "coffee order --dev --drink latte     everything in one process\n" +
			"coffee server, coffee worker,\n" +
			"coffee order --drink latte           each in a terminal of its own",
		Version: app.Version(),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of log messages: debug, info, warn, error or never", DefaultText: "info; warn for the Temporal server and SDK"},
			&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of log messages: text or json", DefaultText: "text on a terminal, json otherwise"},
		},
		Before: func(c *cli.Context) error {
			if err := a.ConfigureLogs(c.String("log-level"), c.String("log-format")); err != nil {
				return err
			}
			if err := commandline.CheckFlags(c, c.App.Flags); err != nil {
				return err
			}
			a.AdoptLoggers()
			a.StartTracing(c.Context)
			return nil
		},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowAppHelp(c)
			}
			return commandline.NoSuchCommand(c, c.Args().First())
		},
		EnableBashCompletion:      true,
		BashComplete:              commandline.Complete(last, nil),
		DisableSliceFlagSeparator: true, // a value may have a comma in it
		HideHelpCommand:           true,
		OnUsageError:              commandline.OnUsageError,
		Writer:                    a.Out.Out,
		ErrWriter:                 a.Out.Err,
		ExitErrHandler:            func(*cli.Context, error) {}, // run prints the error
	}
	for _, group := range groups {
		root.Commands = append(root.Commands, group.Commands...)
	}
	root.Flags = append(root.Flags, cli.HelpFlag) // urfave/cli leaves it out beside a command help
	root.CustomAppHelpTemplate = commandline.FirstHelp(root)
	root.Commands = append(root.Commands, commandline.HelpCommand(root, groups))
	finish(a, last, root.Name, root.Commands)
	if completing {
		a.ConfigureLogs("never", "text") // cannot fail: both values are valid
	}
	return root
}

// run returns the action of a command: parse makes a plan, which says what the flags and the
// arguments ask for and does not change any more, and do carries it out. A command without
// [cli.Command.ArgsUsage] takes no arguments.
func run[Plan any](a *app.App, parse func(*cli.Context) (Plan, error), do func(context.Context, *app.App, Plan) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Command.ArgsUsage == "" {
			if err := commandline.NoArguments(c); err != nil {
				return err
			}
		}
		plan, err := parse(c)
		if err != nil {
			return err
		}
		return do(c.Context, a, plan)
	}
}

// finish sets what all commands and their subcommands have in common.
func finish(a *app.App, last, parent string, commands []*cli.Command) {
	for _, command := range commands {
		command.HideHelpCommand = true
		command.OnUsageError = commandline.OnUsageError
		if command.BashComplete == nil {
			command.BashComplete = commandline.Complete(last, nil)
		}
		command.Before = func(c *cli.Context) error { return commandline.CheckFlags(c, command.Flags) }
		for _, flag := range command.Flags {
			if b, ok := flag.(*cli.BoolFlag); ok {
				b.DisableDefaultText = true // it is always false
			}
		}
		name := parent + " " + command.Name
		command.CustomHelpTemplate = commandline.CommandHelp(command, name)
		finish(a, last, name, command.Subcommands)
	}
}
