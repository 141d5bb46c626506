//go:build unix

package chaos

import (
	"context"
	"fmt"
	"slices"
)

// Fault is one fault of a seed's schedule, for people.
type Fault struct {
	// Number is its place in the schedule, from 0.
	Number int    `json:"number"`
	What   string `json:"what"`
	// After is how many orders are sent before it.
	After int `json:"after_orders"`
}

// Schedule returns the faults that a run with these options injects.
func Schedule(options Options) (faults []Fault) {
	r := &run{Options: options}
	numbers := options.Only
	for i, f := range r.schedule() {
		number := i
		if numbers != nil {
			number = numbers[i]
		}
		faults = append(faults, Fault{number, f.what(), int(f.at * float64(options.Orders))})
	}
	return faults
}

// what says what a fault is, as far as the schedule knows.
func (f fault) what() string {
	name := map[int]string{theServer: "server", theClient: "client", theBoard: "board", worker1: "worker 1", worker2: "worker 2", worker3: "worker 3", worker4: "worker 4"}[f.victim]
	switch f.kind {
	case network:
		return fmt.Sprintf("%s %s %.1f s: %s", f.kind, name, f.pause.Seconds(), f.disturbance().name)
	case kill, freeze, storage, clock, carryOver, forever:
		return fmt.Sprintf("%s %s %.1f s", f.kind, name, f.pause.Seconds())
	case rollForward:
		return "roll out " + nextRelease
	case rollBack:
		return "roll out " + firstRelease
	}
	return f.kind.String()
}

// Shrink looks for the fewest orders and faults with which a run still fails, and returns
// the options of that run. run makes a run. Shrink returns an error if even the first one,
// with all of them, does not fail.
func Shrink(ctx context.Context, options Options, run func(ctx context.Context, options Options) (failed bool, err error)) (Options, error) {
	known := map[string]bool{}
	fails := func(ctx context.Context, options Options) (bool, error) {
		key := fmt.Sprint(options.Orders, options.Only)
		if failed, ok := known[key]; ok {
			return failed, nil
		}
		failed, err := run(ctx, options)
		known[key] = failed
		return failed, err
	}
	for i := range Schedule(options) {
		options.Only = append(options.Only, i)
	}
	failed, err := fails(ctx, options)
	if err == nil && !failed {
		err = fmt.Errorf("the run of seed %d does not fail", options.Seed)
	}
	if err != nil {
		return options, err
	}
	// Fewer orders make all other attempts shorter.
	if options, err = fewerOrders(ctx, options, fails); err != nil {
		return options, err
	}
	// Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating
	// Failure-Inducing Input", 2002): leave out ever smaller parts.
	for size := (len(options.Only) + 1) / 2; len(options.Only) > 0; {
		without := false
		for from := 0; from < len(options.Only); {
			smaller := options
			smaller.Only = slices.Delete(slices.Clone(options.Only), from, min(from+size, len(options.Only)))
			failed, err := fails(ctx, smaller)
			if err != nil {
				return options, err
			}
			if failed {
				options, without = smaller, true
			} else {
				from += size
			}
		}
		if size == 1 && !without {
			break
		}
		size = max(1, size/2)
	}
	return fewerOrders(ctx, options, fails)
}

// fewerOrders halves the number of orders while the run still fails.
func fewerOrders(ctx context.Context, options Options, fails func(ctx context.Context, options Options) (bool, error)) (Options, error) {
	for options.Orders > 1 {
		smaller := options
		smaller.Orders /= 2
		failed, err := fails(ctx, smaller)
		if err != nil || !failed {
			return options, err
		}
		options = smaller
	}
	return options, nil
}
