//go:build unix && !noserver

package simulation

import (
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/worker"
)

// stuck is for how long, by the wall clock, virtual time may stand still.
const stuck = time.Minute

// Run runs f in virtual time, and returns when everything that f has started has ended. If
// virtual time stands still, or something cannot end, it panics; in the first case it writes
// all goroutines to stderr.
//
// Meanwhile the process uses one processor, unless the environment variable GOMAXPROCS is set:
// what happens at the same instant then happens in the same order more often. From then on
// workers of this process remember no workflow, and replay it for each task: see the package.
// One bubble is open at a time.
func Run(f func()) {
	seedRandom()
	worker.SetStickyWorkflowCacheSize(0)
	if os.Getenv("GOMAXPROCS") == "" {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	var beats atomic.Int64
	watched := make(chan struct{})
	defer close(watched)
	go watch(&beats, watched)
	var t testing.T // outside of tests, too: all that is used of it is its bubble
	synctest.Test(&t, func(*testing.T) {
		over := make(chan struct{})
		go func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Second):
					beats.Add(1)
				}
			}
		}()
		f()
		time.Sleep(linger)
		close(over)
	})
}

// seedRandom makes the pauses before another attempt the same in each run: the SDK and the
// server draw a part of them from math/rand, which stays predictable. It panics if that has no
// effect any more.
func seedRandom() {
	before := os.Getenv("GODEBUG")
	defer os.Setenv("GODEBUG", before)
	os.Setenv("GODEBUG", before+",randseednop=0") // otherwise Seed does nothing
	var drawn [2]int64
	for i := range drawn {
		//lint:ignore SA1019 there is no other way to seed what others draw from
		rand.Seed(1)
		drawn[i] = rand.Int63()
	}
	if drawn[0] != drawn[1] {
		panic("simulation: math/rand cannot be seeded any more")
	}
}

// linger is how long, in virtual time, everything has to end by itself. When f has returned,
// the clock stands still.
const linger = 2 * time.Minute

// watch panics if nothing beats any more, until done is closed.
func watch(beats *atomic.Int64, done <-chan struct{}) {
	for last := int64(-1); ; {
		select {
		case <-done:
			return
		case <-time.After(stuck):
		}
		now := beats.Load()
		if now == last {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2) // it panics all the same
			panic(fmt.Sprintf("virtual time has stood still for %v, after %d s", stuck, now))
		}
		last = now
	}
}
