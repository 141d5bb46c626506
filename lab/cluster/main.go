//go:build unix

// Command cluster runs a distributed Temporal cluster on this machine, for tests and
// measurements: two frontends, two histories, two matchings and a worker service, each
// in a process of its own, on a PostgreSQL of its own. It starts again whatever ends, as
// a service manager would.
//
//	cluster [FLAGS] DIR             run it until it is interrupted
//	cluster strike DIR [SERVICE]    kill a process of it: frontend, history, matching,
//	                                worker or postgres; at random among the first three
//	                                if none is named
//
// DIR/env, for a shell, is there when the cluster is ready, and has its addresses. The
// server is the one of the module that this program depends on; nothing in it is ours.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "strike" {
		switch len(args) {
		case 2:
			return strike(args[1], "")
		case 3:
			return strike(args[1], args[2])
		}
		return errors.New("usage: cluster strike DIR [SERVICE]")
	}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	var c cluster
	flags.StringVar(&c.source, "source", ".", "directory of this module")
	flags.IntVar(&c.port, "port", 17500, "first of the ports, of which it takes a few dozen")
	flags.IntVar(&c.shards, "shards", 16, "history shards")
	flags.IntVar(&c.partitions, "partitions", 4, "partitions of a task queue")
	flags.IntVar(&c.frontends, "frontends", 2, "nodes of the frontend service")
	flags.IntVar(&c.histories, "histories", 2, "nodes of the history service")
	flags.IntVar(&c.matchings, "matchings", 2, "nodes of the matching service")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: cluster [FLAGS] DIR")
	}
	c.dir = flags.Arg(0)
	return c.run(ctx)
}
