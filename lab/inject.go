//go:build unix && !noserver

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/release"
	"example.com/coffee/lab/chaos"
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
			worker = append(worker, refuseRefunds)
		case name == "release" && release.Named(value) != nil:
			options.Release = release.Named(value)
		case notANumber != nil:
			return options, fmt.Errorf("%s has %q", chaos.InjectVariable, fault)
		case name == "late":
			worker = append(worker, func(o *coffee.WorkerOptions) { chargeLate(o, seed) })
		case name == "storage":
			storage = seed
			options.Ledger = append(options.Ledger, ledger.Wrapped(faulty(drawFaults(seed))))
		case name == "clock":
			options.Ledger = append(options.Ledger, ledger.Clock(wrongClock(seed)))
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

// drawFaults returns what makes one call of a ledger's database in five fail.
func drawFaults(seed uint64) func() fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	calls := 0
	return func() fault {
		mu.Lock()
		defer mu.Unlock()
		calls++
		p := r.Float64()
		switch {
		case calls <= 8: // they open the ledger
		case p < 0.1:
			return notDone
		case p < 0.2:
			return doneAndLost
		}
		return noFault
	}
}

// wrongClock returns a clock that is minutes to hours off, and jumps every second.
func wrongClock(seed uint64) func() time.Time {
	return func() time.Time {
		now := time.Now()
		r := rand.New(rand.NewPCG(seed, uint64(now.Unix())))
		off := time.Minute + time.Duration(r.Int64N(int64(12*time.Hour)))
		if r.IntN(2) == 0 {
			off = -off
		}
		return now.Add(off)
	}
}
