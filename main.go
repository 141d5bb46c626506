// Command coffee takes coffee orders as durable Temporal workflows.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"example.com/coffee/commands"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal stops cleanly, a second one ends the process
	os.Exit(commands.Run(ctx, os.Args, os.Stdout, os.Stderr))
}
