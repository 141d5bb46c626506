package app

import (
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/devserver"
)

// Options are what a program that runs these commands gives them besides its command line.
// The zero value is the program coffee.
type Options struct {
	// Release, unless nil, is the workflow that workers run, and that orders are replayed
	// on, in place of this program's.
	Release Release
	// Dial are further options of each connection to a Temporal server.
	Dial []grpc.DialOption
	// Ledger are further options of each ledger that is opened for a worker.
	Ledger []ledger.Option
	// Worker, unless nil, changes what a worker is made of, its ledger included.
	Worker func(*coffee.WorkerOptions)
	// Server, unless nil, changes what a server is made of.
	Server func(*devserver.Options)
}

// Release is a release of the workflow, with the activities that only it has.
type Release interface {
	Register(worker.Registry)
	// Replay replays a history, like [replay.Check].
	Replay(desk.History) error
}

// Replay returns what replays a history on the workflow that workers of this program run.
func (a *App) Replay() func(desk.History) error {
	if a.Options.Release != nil {
		return a.Options.Release.Replay
	}
	current := (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow
	return func(history desk.History) error { return replay.Check(current, history) }
}
