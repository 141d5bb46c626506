//go:build unix

package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/audit"
)

func chaosCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:  "chaos",
		Usage: "prove that no order is lost and nobody is charged twice, under kill -9",
		Description: "Starts a server, two workers and a client, each in a process of its own, in a temporary directory. " +
			"The client places orders, five a second; it cancels some, places some twice, and some are invalid. " +
			"Meanwhile the processes are killed with SIGKILL and started again, and for every four kills " +
			"a worker is frozen with SIGSTOP until others have taken over its work, and then wakes up. " +
			"In the end coffee audit gives its verdict; the exit code is 6 if a rule is broken.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "orders", Usage: "how many orders are placed", Value: 200},
			&cli.IntFlag{Name: "kills", Usage: "how often a process is killed", Value: 20},
			&cli.Uint64Flag{Name: "seed", Usage: "decides what is ordered, and who is hit when (default: another one each time)", HideDefault: true},
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` to work in, which is kept (default: a temporary one, kept only if something is wrong)"},
			outputFlag(),
		},
		Commands: []*cli.Command{chaosClientCommand(out)},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return runChaos(ctx, cmd, out)
		},
	}
}

// chaos is one run.
type chaos struct {
	out    *output
	seed   uint64
	orders int
	kills  int
	dir    string
	server string // its address

	processes [chaosProcesses]*process
	began     time.Time
	struck    []chaosStrike
	incidents []string
	outages   *outages
	freezeBy  time.Time // until then a freeze waits for a charge
}

// chaosStrike is a blow that has fallen.
type chaosStrike struct {
	chaosBlow
	when time.Time
}

// chaosReport is the outcome of a run.
type chaosReport struct {
	Seed           uint64 `json:"seed"`
	Sent           int    `json:"sent"`
	Acknowledged   int    `json:"acknowledged"`
	KillsOfServer  int    `json:"kills_of_server"`
	KillsOfWorkers int    `json:"kills_of_workers"`
	KillsOfClient  int    `json:"kills_of_client"`
	Freezes        int    `json:"freezes"`
	// LateCharges is how many charges went on after their attempt had been given
	// up, and LateRefused how many of them the ledger refused.
	LateCharges int           `json:"late_charges"`
	LateRefused int           `json:"late_charges_refused"`
	Recovery    recovery      `json:"recovery"`
	Audit       *audit.Report `json:"audit"`
	// Incidents are what the client saw and should not have seen, orders whose
	// end it never saw, cancels that were acknowledged and lost, workers that did
	// nothing, and processes that ended by themselves or did not stop.
	Incidents []string `json:"incidents"`
	Seconds   float64  `json:"seconds"`
}

// recovery is how long it took from a blow until a worker had taken each order
// that was under way one step further, in seconds. It includes what the step
// itself takes. An order counts once for each blow that it lived through.
type recovery struct {
	Orders int     `json:"orders"`
	P50    float64 `json:"p50_seconds"`
	P99    float64 `json:"p99_seconds"`
	Max    float64 `json:"max_seconds"`
}

func (r *chaosReport) kills() int { return r.KillsOfServer + r.KillsOfWorkers + r.KillsOfClient }

func runChaos(ctx context.Context, cmd *cli.Command, out *output) error {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	c := &chaos{out: out, seed: cmd.Uint64("seed"), orders: cmd.Int("orders"), kills: cmd.Int("kills"), dir: cmd.String("dir")}
	if c.orders < 1 || c.kills < 0 {
		return usageErrorf(cmd, "use 1 or more --orders and 0 or more --kills")
	}
	if !cmd.IsSet("seed") {
		c.seed = rand.Uint64N(1_000_000)
	}
	keep := c.dir != ""
	if err := c.makeDir(); err != nil {
		return err
	}
	report, err := c.run(ctx)
	if ctx.Err() != nil && !keep {
		return errors.Join(ctx.Err(), os.RemoveAll(c.dir))
	}
	if err != nil {
		return &hintedError{err, "everything is in " + c.dir}
	}
	if asJSON {
		err = out.json(report)
	} else {
		c.print(report)
	}
	if err != nil {
		return err
	}
	if breaches := len(report.Audit.Breaches) + len(report.Incidents); breaches > 0 {
		return &exitError{
			code:    exitBreach,
			message: fmt.Sprintf("%s; everything is in %s", plural(breaches, "breach", "breaches"), c.dir),
			hint:    fmt.Sprintf("the same blows again: coffee chaos --orders %d --kills %d --seed %d", c.orders, c.kills, c.seed),
		}
	}
	if !keep {
		return os.RemoveAll(c.dir)
	}
	return nil
}

func (c *chaos) makeDir() (err error) {
	if c.dir == "" {
		c.dir, err = os.MkdirTemp("", "coffee-chaos-*")
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("--dir %s is not empty", c.dir)
	}
	if err == nil {
		c.dir, err = filepath.Abs(c.dir)
	}
	return err
}

func (c *chaos) path(name string) string { return filepath.Join(c.dir, name) }

// run starts everything, strikes, waits until all orders have ended, and audits.
func (c *chaos) run(ctx context.Context) (*chaosReport, error) {
	c.out.notef("seed %d: %s, %s; the directory is %s", c.seed, plural(c.orders, "order", "orders"), plural(c.kills, "kill", "kills"), c.dir)
	c.began = time.Now()
	defer c.killAll()
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	if err := c.strike(ctx); err != nil {
		return nil, err
	}
	if err := c.waitForEnd(ctx); err != nil {
		return nil, err
	}
	c.say("stopping the client and the workers, auditing")
	c.stop(chaosClient, chaosWorker1, chaosWorker2)
	if err := c.waitForServer(ctx); err != nil { // the last blow may have been for it
		return nil, err
	}
	report, err := c.audit(ctx)
	if err != nil {
		return nil, err
	}
	c.stop(chaosServer)
	report.Incidents = append(report.Incidents, c.incidents...)
	report.Seconds = time.Since(c.began).Seconds()
	return report, nil
}

// start starts the processes.
func (c *chaos) start(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	c.server = fmt.Sprintf("127.0.0.1:%d", port)
	env, err := chaosEnv(c.dir)
	if err != nil {
		return err
	}
	common := []string{"--log-format", "text"}
	worker := append(slices.Clone(common), "worker", "--address", c.server, "--ledger", c.path("ledger.db"),
		"--charge-time", "500ms", "--brew-time", "700ms", "--receipt-time", "150ms", "--seed", fmt.Sprint(c.seed), "--late-charge-rate", "0.7")
	for i, p := range []*process{
		chaosServer:  {name: "server", args: append(slices.Clone(common), "server", "--port", fmt.Sprint(port), "--headless", "--db-filename", c.path("server.db"))},
		chaosWorker1: {name: "worker 1", args: worker},
		chaosWorker2: {name: "worker 2", args: worker},
		chaosClient: {name: "client", once: true, args: append(slices.Clone(common), "chaos", "client",
			"--address", c.server, "--journal", c.dir, "--orders", fmt.Sprint(c.orders), "--seed", fmt.Sprint(c.seed))},
	} {
		p.env, p.log = env, c.path(strings.ReplaceAll(p.name, " ", "-")+".log")
		if i != chaosServer { // the others would only complain that it is not there yet
			if err := c.waitForServer(ctx); err != nil {
				return err
			}
		}
		if err := p.start(); err != nil {
			return err
		}
		c.processes[i] = p
	}
	c.say("a server, two workers and a client are up")
	c.outages = watchOutages(c.server)
	return nil
}

// chaosPatience is how long a run waits for something that must happen: a server
// that answers, an order that ends.
const chaosPatience = 2 * time.Minute

// waitForServer returns when the server answers.
func (c *chaos) waitForServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, chaosPatience)
	defer cancel()
	for {
		conn, err := c.dial(ctx)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-c.processes[chaosServer].done:
			return errors.Join(errors.New("the server cannot be started"), c.processes[chaosServer].err)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *chaos) dial(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.out.dial(ctx, client.Options{HostPort: c.server, Namespace: client.DefaultNamespace})
}

// strike deals all blows, each when so many orders have been sent.
func (c *chaos) strike(ctx context.Context) error {
	for _, blow := range planBlows(c.seed, c.kills) {
		known, last := -1, time.Now()
		c.freezeBy = time.Time{}
		for {
			sent, err := c.lines(journalSent)
			if err != nil {
				return err
			}
			if len(sent) > known {
				known, last = len(sent), time.Now()
			}
			if float64(len(sent)) >= blow.at*float64(c.orders) {
				if c.freezeBy.IsZero() {
					c.freezeBy = time.Now().Add(freezePatience)
				}
				if c.deal(blow) {
					break
				}
			}
			select {
			case <-c.processes[chaosClient].done:
				return nil // the orders have all ended: there is nobody left to disturb
			default:
			}
			if time.Since(last) > chaosPatience {
				return fmt.Errorf("nothing moves any more, or the %s is down for good", c.processes[blow.victim].name)
			}
			if !sleep(ctx, 20*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// freezePatience is how long a freeze waits for its victim to begin a charge.
const freezePatience = 3 * time.Second

var chargeInLog = regexp.MustCompile(`(charging|charged|charge stopped|late charge refused|charge not made)\b.*\border_id=(\S+)`)

// charging reports whether a worker's log says that a charge is under way.
func (c *chaos) charging(worker int) bool {
	p := c.processes[worker]
	p.mu.Lock()
	start := p.logStart
	p.mu.Unlock()
	log, err := os.ReadFile(p.log)
	if err != nil || start > int64(len(log)) {
		return false
	}
	underWay := map[string]bool{}
	for _, line := range chargeInLog.FindAllSubmatch(log[start:], -1) {
		underWay[string(line[2])] = string(line[1]) == "charging"
	}
	return slices.Contains(slices.Collect(maps.Values(underWay)), true)
}

// deal deals a blow, and tells whether there was anything to hit.
func (c *chaos) deal(blow chaosBlow) bool {
	if other := chaosWorker1 + chaosWorker2 - blow.victim; (blow.victim == chaosWorker1 || blow.victim == chaosWorker2) && c.processes[blow.victim].isFrozen() {
		blow.victim = other // one that is frozen is to wake up
	}
	victim := c.processes[blow.victim]
	// A zombie is most dangerous with a charge in its hands.
	if blow.freeze && !c.charging(blow.victim) && time.Now().Before(c.freezeBy) {
		return false
	}
	what, pid := "kill", 0
	if blow.freeze {
		what, pid = "freeze", victim.freeze(blow.pause)
	} else {
		pid = victim.kill(blow.pause)
	}
	if pid == 0 {
		return false
	}
	c.struck = append(c.struck, chaosStrike{chaosBlow: blow, when: time.Now()})
	sent, _ := c.lines(journalSent) // for show
	ended, _ := c.lines(journalEnded)
	c.say("%-6s %-8s for %4.1f s; %d of %d orders sent, %d ended", what, victim.name, blow.pause.Seconds(), len(sent), c.orders, len(ended))
	return true
}

// waitForEnd returns when the client has seen the end of every order, or when
// nothing has ended for a long time: the report says what is stuck.
func (c *chaos) waitForEnd(ctx context.Context) error {
	ended, last := 0, time.Now()
	for time.Since(last) < chaosPatience {
		lines, err := c.lines(journalEnded)
		if err != nil {
			return err
		}
		if len(lines) > ended {
			ended, last = len(lines), time.Now()
		}
		select {
		case <-c.processes[chaosClient].done:
			return c.processes[chaosClient].err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// lines are the lines of one of the client's files. One that is being written
// is none yet.
func (c *chaos) lines(name string) ([]string, error) {
	data, err := os.ReadFile(c.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var lines []string
	for line := range bytes.Lines(data) {
		if text, complete := strings.CutSuffix(string(line), "\n"); complete {
			lines = append(lines, text)
		}
	}
	return lines, err
}

// stop stops processes. What was wrong with them are incidents.
func (c *chaos) stop(which ...int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, i := range which {
		p := c.processes[i]
		if err := p.stop(ctx); err != nil {
			c.incidents = append(c.incidents, err.Error())
		}
		for _, exit := range p.exits {
			// Whoever finds no server may say so and end; it is started again.
			if i != chaosServer && exit.code == exitFailure && c.outages.during(exit.ended.Add(-outageExcuse), exit.ended) {
				continue
			}
			c.incidents = append(c.incidents, exit.what)
		}
	}
}

// killAll leaves nothing behind, however the run ended.
func (c *chaos) killAll() {
	for _, p := range c.processes {
		if p != nil {
			p.end()
		}
	}
	if c.outages != nil {
		c.outages.stop()
	}
}

// audit lets the auditor speak.
func (c *chaos) audit(ctx context.Context) (*chaosReport, error) {
	report := &chaosReport{Seed: c.seed, Incidents: []string{}}
	sent, err1 := c.lines(journalSent)
	acknowledged, err2 := c.lines(journalAcknowledged)
	ended, err3 := c.lines(journalEnded)
	breaches, err4 := c.lines(journalBreaches)
	cancelled, err5 := c.lines(journalCancelled)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	report.Sent, report.Acknowledged = len(sent), len(acknowledged)
	report.Incidents = append(report.Incidents, breaches...)
	for _, id := range sent {
		if !slices.Contains(ended, id) {
			report.Incidents = append(report.Incidents, "order "+id+" was sent, and the client has not seen its end")
		}
	}
	for _, strike := range c.struck {
		switch {
		case strike.freeze:
			report.Freezes++
		case strike.victim == chaosServer:
			report.KillsOfServer++
		case strike.victim == chaosClient:
			report.KillsOfClient++
		default:
			report.KillsOfWorkers++
		}
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	book, err := audit.OpenBook(ctx, c.path("ledger.db"))
	if err != nil {
		return nil, err
	}
	defer book.Close()
	report.Audit, err = audit.Run(ctx, audit.Options{Client: conn.Client, Namespace: conn.namespace, Book: book, Acknowledged: acknowledged})
	if err != nil {
		return nil, err
	}
	histories, err := readChaosHistories(ctx, conn, acknowledged)
	if err != nil {
		return nil, err
	}
	report.Recovery = c.recovery(histories)
	report.Incidents = append(report.Incidents, lostCancels(histories, cancelled)...)
	report.Incidents = append(report.Incidents, c.idleWorkers(histories)...)
	report.LateCharges, report.LateRefused, err = c.lateCharges()
	return report, err
}

// say tells what happens, and when.
func (c *chaos) say(format string, args ...any) {
	c.out.notef("%6.1f s  %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

func (c *chaos) print(r *chaosReport) {
	line := func(name, format string, args ...any) { c.out.printf("%-12s %s\n", name, fmt.Sprintf(format, args...)) }
	line("Seed", "%d", r.Seed)
	line("Took", "%.0f s", r.Seconds)
	line("Sent", "%s, %d acknowledged", plural(r.Sent, "order", "orders"), r.Acknowledged)
	line("Kills", "%d: %d of the server, %d of workers, %d of the client", r.kills(), r.KillsOfServer, r.KillsOfWorkers, r.KillsOfClient)
	line("Freezes", "%d of workers; %s came late, %d refused", r.Freezes, plural(r.LateCharges, "charge", "charges"), r.LateRefused)
	line("Recovery", "p50 %.1f s, p99 %.1f s, at most %.1f s, from a blow to the next step of an order under way", r.Recovery.P50, r.Recovery.P99, r.Recovery.Max)
	c.out.auditReport(r.Audit)
	for _, incident := range r.Incidents {
		c.out.printf("\nBREACH seen from outside\n  %s\n", incident)
	}
}
