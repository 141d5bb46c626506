//go:build unix && !noserver

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/chaos"
)

func (l *lab) simulateCommand() *cli.Command {
	return &cli.Command{
		Name:  "simulate",
		Usage: "the same in virtual time: thousands of runs, one after the other",
		Description: "Makes the run of each of the seeds in this process, in virtual time: the Temporal server, two workers and the client. " +
			"What takes a minute of the wall clock takes a second or two of the processor. " +
			"The exit code is 6 if something is wrong with a run, which is then told as a story.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "seeds", Usage: "the `SEEDS` to run, as FROM-TO or one number", Value: "1-20"},
			&cli.IntFlag{Name: "orders", Usage: "place `N` orders", Value: 40},
			&cli.IntFlag{Name: "kills", Usage: "kill something `N` times", Value: 6},
			&cli.StringFlag{Name: "faults", Usage: "`LIST` of the kinds of faults, with commas in between: " + strings.Join(chaos.SimulatedFaults, ", ") + "; or none", DefaultText: "all"},
			&cli.StringFlag{Name: "only", Usage: "of the faults of a seed inject only those with the `NUMBERS`, as a run that fails names them"},
			&cli.IntFlag{Name: "repeat", Usage: "make each run `N` times more, and say how often it went as before"},
			&cli.BoolFlag{Name: "verbose", Usage: "say what happens, and when"},
		},
		Action: l.simulate,
	}
}

func (l *lab) simulate(c *cli.Context) error {
	options, err := parseSize(c, chaos.SimulatedFaults, chaos.SimulatedFaults)
	if err != nil {
		return err
	}
	options.Say = func(string) {}
	from, to, ranged := strings.Cut(c.String("seeds"), "-")
	if !ranged {
		to = from
	}
	first, err := strconv.ParseUint(from, 10, 64)
	last, lastErr := strconv.ParseUint(to, 10, 64)
	if errors.Join(err, lastErr) != nil || first > last {
		return exit.Usagef(c.Command.HelpName, "--seeds is %q: use a number, or FROM-TO", c.String("seeds"))
	}
	if c.Bool("verbose") {
		options.Say = func(line string) { l.notef("%s", line) }
	}
	return l.simulateAll(c.Context, options, first, last, c.Int("repeat"))
}

// manyRuns are enough for each step under way to meet each fault.
const manyRuns = 1000

// simulateAll makes the runs of some seeds, and sums them up.
func (l *lab) simulateAll(ctx context.Context, options chaos.Options, first, last uint64, repeat int) error {
	var failed []uint64
	sum, began, said := chaos.Sum{}, time.Now(), time.Now()
	same := 0 // how often a run went as the first one of its seed
	for seed := first; seed <= last && ctx.Err() == nil; seed++ {
		options.Seed = seed
		result, err := simulateOne(options)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		sum.Add(result)
		for range repeat {
			again, err := simulateOne(options)
			if err != nil {
				return fmt.Errorf("seed %d: %w", seed, err)
			}
			sum.Add(again)
			if again.Trace == result.Trace {
				same++
			}
		}
		if result.Breaches() > 0 {
			failed = append(failed, seed)
			l.notef("seed %d fails: %s", seed, cmp.Or(result.Story...))
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			l.notef("%d of %d seeds, %d failed, %.2f s of processor time a run", seed-first+1, last-first+1, len(failed), processorTime().Seconds()/float64(sum.Runs))
		}
	}
	l.line("Runs", "%d, in %.0f s; %.2f s of processor time a run", sum.Runs, time.Since(began).Seconds(), processorTime().Seconds()/float64(max(1, sum.Runs)))
	l.line("Orders", "%d acknowledged; %.0f min simulated", sum.Acknowledged, sum.Seconds/60)
	if repeat > 0 {
		l.line("Repeated", "%d of %d runs went as the first of their seed", same, sum.Runs-sum.Runs/(repeat+1))
	}
	l.line("Late", "%d charges, %d of them refused", sum.LateCharges, sum.LateRefused)
	for _, name := range slices.Sorted(maps.Keys(sum.Hits)) {
		l.line("  "+strconv.Itoa(sum.Hits[name]), "%s", name)
	}
	l.pairs(sum.Pairs)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	l.line("Left", "%d MiB of heap, %s", memory.HeapAlloc>>20, text.Plural(runtime.NumGoroutine(), "goroutine", "goroutines"))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(failed) > 0 {
		return l.tellSmallest(ctx, options, failed)
	}
	if missing := sum.Missing(); sum.Runs >= manyRuns && options.Only == nil && len(options.Faults) == len(chaos.SimulatedFaults) && len(missing) > 0 {
		return fmt.Errorf("the plan leaves something out: no order met %v", missing)
	}
	l.line("Verdict", "no breach")
	return nil
}

// tellSmallest makes the run of the first seed that failed small, and tells its story.
func (l *lab) tellSmallest(ctx context.Context, options chaos.Options, failed []uint64) error {
	breach := &exit.Error{Code: exit.Breach, Err: fmt.Errorf("%s: %v", text.Plural(len(failed), "seed fails", "seeds fail"), failed)}
	options.Seed = failed[0]
	small, story, err := shrinkSimulated(ctx, options)
	if err != nil {
		l.notef("it cannot be made small: %v", err)
		return breach
	}
	l.notef("\nThe smallest run of seed %d that fails has %s and %s:", small.Seed, text.Plural(small.Orders, "order", "orders"), text.Plural(len(small.Only), "fault", "faults"))
	for _, line := range story {
		l.notef("  %s", line)
	}
	breach.Hint = "the same again: " + again("simulate", "seeds", small)
	return breach
}

// shrinkSimulated makes a run that fails small, and returns its story.
func shrinkSimulated(ctx context.Context, options chaos.Options) (small chaos.Options, story []string, err error) {
	small, err = chaos.Shrink(ctx, options, func(_ context.Context, options chaos.Options) (bool, error) {
		result, err := simulateOne(options)
		if err != nil || result.Breaches() == 0 {
			return false, err
		}
		story = result.Story
		return true, nil
	})
	return small, story, err
}

// simulateOne makes one run, in a directory of its own.
func simulateOne(options chaos.Options) (result *chaos.Simulated, err error) {
	if options.Dir, err = os.MkdirTemp(inMemory(), "simulated-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(options.Dir)) }()
	return chaos.Simulate(options)
}

// inMemory is a directory in memory, if the system has one: nothing here waits for a disk
// then. Otherwise it is empty, as for [os.MkdirTemp].
func inMemory() string {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		return ""
	}
	return shm
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// pairs prints how many orders were at which step when there was a fault.
func (l *lab) pairs(pairs map[chaos.Pair]int) {
	faults, steps := map[string]bool{}, map[string]bool{}
	for pair := range pairs {
		faults[pair.Fault], steps[pair.Step] = true, true
	}
	columns := slices.Sorted(maps.Keys(faults))
	fmt.Fprintf(l.out, "%-32s", "orders at a step, by fault")
	for _, name := range columns {
		fmt.Fprintf(l.out, "%16s", name)
	}
	fmt.Fprintln(l.out)
	for _, step := range slices.Sorted(maps.Keys(steps)) {
		fmt.Fprintf(l.out, "%-32s", step)
		for _, name := range columns {
			fmt.Fprintf(l.out, "%16d", pairs[chaos.Pair{Step: step, Fault: name}])
		}
		fmt.Fprintln(l.out)
	}
}
