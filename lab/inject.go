//go:build unix && !noserver

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/release"
	"example.com/coffee/lab/chaos"
	"example.com/coffee/lab/inject"
)

// recording begins to record in a directory what SQLite writes, and returns what syncs a
// log that SQLite does not sync.
type recording func(dir string) (syncLog, error)

type syncLog = func(log *os.File) error

// injected returns the options of a program that injects the faults of a list into itself;
// see [chaos.InjectVariable].
func injected(list string, record recording) (options commands.Options, err error) {
	if list == "" {
		return options, nil
	}
	var sync syncLog
	var storage uint64
	var worker []func(*coffee.WorkerOptions)
	for fault := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(fault, "=")
		seed, notANumber := strconv.ParseUint(value, 10, 64)
		switch {
		case name == "record":
			if sync, err = record(value); err != nil {
				return options, err
			}
		case name == "refunds":
			worker = append(worker, func(o *coffee.WorkerOptions) { inject.RefuseRefunds(o, func() bool { return true }) })
		case name == "release" && release.Named(value) != nil:
			options.Release = release.Named(value)
		case notANumber != nil:
			return options, fmt.Errorf("%s has %q", chaos.InjectVariable, fault)
		case name == "late":
			worker = append(worker, func(o *coffee.WorkerOptions) { inject.ChargeLate(o, seed) })
		case name == "storage":
			storage = seed
			options.Ledger = append(options.Ledger, ledger.Wrapped(inject.Faulty(inject.DrawFaults(seed))))
		case name == "clock":
			options.Ledger = append(options.Ledger, ledger.Clock(inject.WrongClock(seed)))
		default:
			return options, fmt.Errorf("%s has %q", chaos.InjectVariable, fault)
		}
	}
	options.Worker = func(o *coffee.WorkerOptions) {
		for _, change := range worker {
			change(o)
		}
	}
	options.Server = func(o *devserver.Options) {
		o.SyncLog = sync
		o.Configure = func(c *devserver.ServerConfig) { injectStorageFaults(c, storage) }
	}
	return options, nil
}
