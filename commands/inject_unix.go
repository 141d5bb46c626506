//go:build unix

package commands

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/chaos"
	"example.com/coffee/internal/powerfailure"
	"example.com/coffee/internal/sqlitefile"
)

// recordWrites begins to record what SQLite writes, and returns what syncs files that
// SQLite does not sync.
var recordWrites = func(dir string) (sync func(*os.File) error, err error) {
	recorder, err := powerfailure.Record(dir)
	if err != nil {
		return nil, err
	}
	return recorder.Sync, nil
}

// inject lets this process inject faults into itself, if it belongs to a chaos run.
func (a *app) inject() error {
	list := os.Getenv(chaos.InjectVariable)
	if list == "" {
		return nil
	}
	a.log.Warn().Str("faults", list).Msg("this process injects faults into itself, as a part of coffee chaos")
	for fault := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(fault, "=")
		if name == "record" {
			sync, err := recordWrites(value)
			if err != nil {
				return err
			}
			sqlitefile.Sync = sync
			continue
		}
		if name == "refunds" {
			a.injected.noRefunds = true
			continue
		}
		seed, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", chaos.InjectVariable, err)
		}
		switch name {
		case "storage":
			a.injected.storage = seed
			a.injected.ledger = append(a.injected.ledger, ledger.Faulty(drawFaults(seed)))
		case "clock":
			a.injected.ledger = append(a.injected.ledger, ledger.Clock(wrongClock(seed)))
		default:
			return fmt.Errorf("%s has %q", chaos.InjectVariable, name)
		}
	}
	return nil
}

// drawFaults returns what makes one call of a ledger's database in five fail.
func drawFaults(seed uint64) func() ledger.Fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	calls := 0
	return func() ledger.Fault {
		mu.Lock()
		defer mu.Unlock()
		calls++
		p := r.Float64()
		switch {
		case calls <= 8: // they open the ledger
		case p < 0.1:
			return ledger.NotDone
		case p < 0.2:
			return ledger.DoneAndLost
		}
		return ledger.NoFault
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
