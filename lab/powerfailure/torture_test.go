//go:build unix

package powerfailure

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// random returns a generator that is seeded from the environment, for a test to be
// repeated, or at random.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("POWERFAILURE_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("POWERFAILURE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// torture is a database whose processes are killed.
type torture struct {
	t            *testing.T
	rng          *rand.Rand
	program      program
	begin        int64         // of the last round
	transactions map[int]int64 // those that were printed, and when
	outcomes     map[error]int // how many imagined failures had it
	loss         Loss          // of all imagined failures
	checked      int           // transactions that had to be there, of all failures
}

func newTorture(t *testing.T, p program) *torture {
	dir := t.TempDir()
	p.Recordings, p.Database = filepath.Join(dir, "recordings"), filepath.Join(dir, "x.db")
	if err := os.Mkdir(p.Recordings, 0o700); err != nil {
		t.Fatal(err)
	}
	return &torture{t: t, rng: random(t), program: p, transactions: map[int]int64{}, outcomes: map[error]int{}}
}

// command returns a process of the program.
func (x *torture) command() *exec.Cmd {
	x.t.Helper()
	text, err := json.Marshal(x.program)
	if err != nil {
		x.t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), environment+"="+string(text))
	return command
}

// kill runs processes until they have committed some transactions, and kills them.
func (x *torture) kill(processes int) {
	x.t.Helper()
	type line struct {
		n    int
		when int64
	}
	lines, ended := make(chan line), make(chan error)
	var commands []*exec.Cmd
	x.begin = Now()
	for range processes {
		x.program.First += 1_000_000
		x.program.Checkpoint = []int{5, 50, 1000}[x.rng.IntN(3)]
		x.program.Limit = []int{-1, 20_000}[x.rng.IntN(2)]
		command := x.command()
		command.Stderr = os.Stderr
		output, err := command.StdoutPipe()
		if err != nil {
			x.t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			x.t.Fatal(err)
		}
		commands = append(commands, command)
		go func() {
			scanner := bufio.NewScanner(output)
			for scanner.Scan() {
				n, err := strconv.Atoi(scanner.Text())
				if err != nil {
					break
				}
				lines <- line{n, Now()}
			}
			ended <- command.Wait()
		}()
	}
	patience := x.rng.IntN(30)
	kill := func() { // each somewhere in its next transactions
		for _, command := range commands {
			time.AfterFunc(time.Duration(x.rng.Int64N(int64(20*time.Millisecond))), func() {
				_ = command.Process.Kill() // it may have ended
			})
		}
	}
	if patience == 0 {
		kill()
	}
	for running := processes; running > 0; {
		select {
		case l := <-lines:
			x.transactions[l.n] = l.when
			if patience--; patience == 0 {
				kill()
			}
		case err := <-ended:
			running--
			if err == nil || err.Error() != "signal: killed" {
				kill()
				x.t.Errorf("a process ended by itself: %v", err)
			}
		}
	}
	if x.t.Failed() {
		x.t.FailNow()
	}
}

// moment returns one when something began in the last round, or the end of it.
func (x *torture) moment() int64 {
	x.t.Helper()
	events, err := readEvents(x.program.Recordings)
	if err != nil {
		x.t.Fatal(err)
	}
	if err := events.close(); err != nil {
		x.t.Fatal(err)
	}
	var moments []int64
	for _, all := range events.inodes {
		for _, e := range all {
			if e.Begin >= x.begin {
				moments = append(moments, e.Begin)
			}
		}
	}
	if len(moments) == 0 || x.rng.IntN(3) == 0 {
		return math.MaxInt64
	}
	slices.Sort(moments)
	return moments[x.rng.IntN(len(moments))]
}

// imagine checks what some power failures leave, without letting them happen.
func (x *torture) imagine(failures int) {
	x.t.Helper()
	for range failures {
		at := x.moment()
		databases, err := resolve([]string{x.program.Database})
		if err != nil {
			x.t.Fatal(err)
		}
		contents, loss, err := imagine(x.program.Recordings, at, x.rng, databases)
		if err != nil {
			x.t.Fatal(err)
		}
		x.loss.Lost += loss.Lost
		x.loss.Kept += loss.Kept
		x.loss.Torn += loss.Torn
		x.loss.Late += loss.Late
		x.count(x.checkCopy(contents, at))
	}
}

// fail lets a power failure happen.
func (x *torture) fail() {
	x.t.Helper()
	at := x.moment()
	if _, err := Fail(x.program.Recordings, at, x.rng, x.program.Database); err != nil {
		x.t.Fatal(err)
	}
	contents := map[string][]byte{}
	for _, ending := range []string{"", "-wal", "-journal"} {
		content, err := os.ReadFile(x.program.Database + ending)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			x.t.Fatal(err)
		}
		contents[x.program.Database+ending] = content
	}
	if _, err := os.Stat(x.program.Database + "-shm"); !errors.Is(err, fs.ErrNotExist) {
		x.t.Errorf("the index of the log is still there: %v", err)
	}
	x.count(x.checkCopy(contents, at))
	maps.DeleteFunc(x.transactions, func(_ int, when int64) bool { return when > at })
}

// checkCopy checks a database as it was at a moment, without changing it.
func (x *torture) checkCopy(contents map[string][]byte, at int64) error {
	x.t.Helper()
	dir := x.t.TempDir()
	for path, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), content, 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
	printed := map[int]bool{}
	for n, when := range x.transactions {
		if when <= at {
			printed[n] = true
		}
	}
	x.checked += len(printed)
	path := filepath.Join(dir, filepath.Base(x.program.Database))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && len(printed) == 0 {
		return nil // it was killed before it had created the database
	}
	err := check(path, printed)
	if removeErr := os.RemoveAll(dir); removeErr != nil {
		x.t.Fatal(removeErr)
	}
	return err
}

func (x *torture) count(err error) {
	var d damage
	switch {
	case errors.As(err, &d):
		err = errDamaged
	case err != nil && !errors.Is(err, errLost):
		x.t.Fatal(err)
	}
	x.outcomes[err]++
}

var errDamaged = errors.New("a database is damaged")

// TestDurable: with SQLite's own promises, no power failure loses a transaction or
// damages the database.
func TestDurable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		program   program
		processes int
		existing  bool // made by a process that does not record
	}{
		"a log":                             {program{Journal: "wal", Synchronous: "FULL"}, 1, false},
		"a log of two processes":            {program{Journal: "wal", Synchronous: "FULL"}, 2, false},
		"a log that the program syncs":      {program{Journal: "wal", Synchronous: "NORMAL", OwnSync: true}, 1, false},
		"a deleted journal":                 {program{Journal: "delete", Synchronous: "FULL"}, 1, false},
		"a truncated journal":               {program{Journal: "truncate", Synchronous: "FULL"}, 1, false},
		"a persistent journal":              {program{Journal: "persist", Synchronous: "FULL"}, 2, false},
		"a log of a database that is there": {program{Journal: "wal", Synchronous: "FULL"}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTorture(t, test.program)
			if test.existing {
				if err := x.program.create(); err != nil {
					t.Fatal(err)
				}
			}
			begin := time.Now()
			for round := 1; ; round++ {
				x.kill(test.processes)
				x.imagine(5)
				x.fail()
				atStake, elapsed := x.checked > 0 && x.loss.Lost+x.loss.Kept+x.loss.Torn > 0, time.Since(begin)
				switch {
				case x.outcomes[errLost]+x.outcomes[errDamaged] > 0:
					t.Fatalf("the outcomes are %v", x.outcomes)
				case atStake && elapsed > time.Second && round >= 3:
					t.Logf("%d rounds, %d failures, %+v, %d transactions checked", round, x.outcomes[nil], x.loss, x.checked)
					return
				case elapsed > time.Minute:
					t.Fatalf("nothing was at stake: %+v", x.loss)
				}
			}
		})
	}
}

// TestLost: what was not synced is lost sooner or later, or else [TestDurable] could not
// fail. A log that was not synced at the end of each transaction damages nothing.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		program program
		damage  bool
	}{
		"SQLite is told not to sync":     {program{Journal: "wal", Synchronous: "OFF"}, true},
		"no sync is done":                {program{Journal: "wal", Synchronous: "FULL", WithoutSync: true}, true},
		"no sync of the program is done": {program{Journal: "wal", Synchronous: "NORMAL", OwnSync: true, WithoutSync: true}, true},
		"no sync of a journal is done":   {program{Journal: "delete", Synchronous: "FULL", WithoutSync: true}, true},
		"the program does not sync":      {program{Journal: "wal", Synchronous: "NORMAL"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTorture(t, test.program)
			wanted := errLost
			if test.damage {
				wanted = errDamaged
			}
			for range 20 {
				x.kill(1)
				if x.imagine(5); x.outcomes[wanted] > 0 {
					break
				}
			}
			t.Logf("the outcomes are %v", x.outcomes)
			if x.outcomes[wanted] == 0 || x.outcomes[errDamaged] > 0 && !test.damage {
				t.Errorf("the outcomes are %v", x.outcomes)
			}
		})
	}
}
