package commands

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// secondSignal is how long after the first signal another one ends the process at once.
// Who wants that has seen that it takes long. What comes sooner is the same wish once
// more: a terminal that closes sends SIGHUP, and then its shell does; some supervisors
// signal the process and then its group.
const secondSignal = 500 * time.Millisecond

// Signals returns a context that ends with the first signal that stops this process
// cleanly: SIGINT, SIGTERM, or SIGHUP, unless that is ignored, as under nohup. A second
// signal ends the process.
func Signals() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		stops = append(stops, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, stops...)
	go func() {
		<-signals
		cancel()
		time.Sleep(secondSignal)
		signal.Stop(signals)
	}()
	return ctx
}
