//go:build unix && !noserver

// Command lab proves what coffee promises: that no order is lost and nobody is charged
// twice.
//
//	go run ./lab chaos --seed 42    orders, while everything fails that can fail
//	go run ./lab shrink --seed 3    the fewest orders and faults with which a run fails
//	go run ./lab simulate --seeds 1-100    such runs in virtual time, one after the other
//
// The processes of a run are this program again: called coffee it is that, with the faults
// that the run injects into it (inject.go), which reach the commands through
// [commands.Options]. chaos/ has the run, its judges and its schedule, simulation/ a Temporal server in virtual time, inject/ what
// a worker's ledger and clock do wrong, powerfailure/ what a
// power failure leaves of a disk, and cluster/ a distributed Temporal cluster to run it on.
// TestDefects proves that the judges see what is wrong.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"example.com/coffee/commands"
	"example.com/coffee/internal/exit"
	"example.com/coffee/lab/chaos"
	"example.com/coffee/lab/powerfailure"
)

func main() { os.Exit(run(commands.Signals(), os.Args, record)) }

// record begins to record what SQLite writes.
func record(dir string) (syncLog, error) {
	recorder, err := powerfailure.Record(dir)
	if err != nil {
		return nil, err
	}
	return recorder.Sync, nil
}

// run runs the program under the name that it was called, and returns its exit code. The
// changes, unless nil, are made to what commands get.
func run(ctx context.Context, args []string, record recording, changes ...func(*commands.Options)) int {
	var options commands.Options
	if filepath.Base(args[0]) != "coffee" {
		for _, change := range changes {
			change(&options)
		}
		return (&lab{os.Stdout, os.Stderr, options}).run(ctx, args)
	}
	faults := os.Getenv(chaos.InjectVariable)
	options, err := injected(faults, record)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exit.Failure
	}
	if faults != "" {
		fmt.Fprintln(os.Stderr, "this process injects faults into itself:", faults)
	}
	for _, change := range changes {
		change(&options)
	}
	return commands.Run(ctx, args, os.Stdout, os.Stderr, options)
}

// lab is what its commands work with.
type lab struct {
	out, err io.Writer
	options  commands.Options // of its client
}

func (l *lab) run(ctx context.Context, args []string) int {
	onUsageError := func(c *cli.Context, err error, _ bool) error { return exit.Usagef(c.Command.HelpName, "%w", err) }
	app := &cli.App{
		Name: "lab", HelpName: "lab", Usage: "prove that coffee keeps its promise, by injecting faults",
		Commands:                  []*cli.Command{l.chaosCommand(), l.shrinkCommand(), l.simulateCommand(), l.clientCommand()},
		Writer:                    l.out,
		ErrWriter:                 l.err,
		OnUsageError:              onUsageError,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // printed below
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return exit.Usagef("lab", "no such command: %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, command := range app.Commands {
		command.OnUsageError = onUsageError
		command.HideHelpCommand = true
		command.Before = func(c *cli.Context) error {
			if c.Args().Present() {
				return exit.Usagef(c.Command.HelpName, "%s takes no argument: %q", c.Command.Name, c.Args().First())
			}
			return nil
		}
	}
	err := app.RunContext(ctx, args)
	switch {
	case err == nil:
		return exit.OK
	case ctx.Err() != nil:
		l.notef("lab: interrupted")
		return exit.Interrupted
	}
	l.notef("lab: %v", err)
	e := cmp.Or(exit.In(err), &exit.Error{Code: exit.Failure})
	if e.Hint != "" {
		l.notef("%s", e.Hint)
	}
	return e.Code
}

// notef prints a message to stderr.
func (l *lab) notef(format string, args ...any) { fmt.Fprintf(l.err, format+"\n", args...) }

// line prints a name and its value.
func (l *lab) line(name, format string, args ...any) {
	fmt.Fprintf(l.out, "%-12s %s\n", name, fmt.Sprintf(format, args...))
}

// json prints data as indented JSON.
func (l *lab) json(v any) error {
	encoder := json.NewEncoder(l.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
