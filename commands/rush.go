package commands

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
)

func rushCommand(out *output) *cli.Command {
	// Here --concurrency is about orders; a worker needs no more room than that.
	settings := slices.DeleteFunc(workerFlags(), func(flag cli.Flag) bool { return flag.Names()[0] == "concurrency" })
	return &cli.Command{
		Name:  "rush",
		Usage: "place a lot of orders, and measure how long they take",
		Description: "Places orders and waits for their results: so many at a time, the next one when one has ended, or so many a second. " +
			"An order's time starts when it is due. With the worker's default settings it is a realistic day; with " +
			"--charge-time 0 --brew-time 0 --receipt-time 0 --brew-failure-rate 0 what is measured is the engine.",
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "orders", Usage: "how many orders are placed", Value: 1000},
			&cli.IntFlag{Name: "concurrency", Usage: "how many orders are under way at once, at most", Value: 50},
			&cli.FloatFlag{Name: "rate", Usage: "how many orders are due in a second (default: one whenever another has ended)", HideDefault: true},
			outputFlag(),
			devFlag("bring a server and a worker, in memory"),
		}, settings, connectFlags()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return runRush(ctx, cmd, out)
		},
	}
}

// rush is one run.
type rush struct {
	out         *output
	orders      *coffee.Client
	count       int
	concurrency int
	rate        float64 // 0: closed, the next order is due when one has ended

	mu       sync.Mutex
	times    *hdrhistogram.Histogram // in microseconds
	outcomes map[coffee.OrderStatus]int
	failures int
	failure  error // the first
	bar      *progressbar.ProgressBar
}

// rushReport is the outcome of a run.
type rushReport struct {
	Orders      int     `json:"orders"`
	Concurrency int     `json:"concurrency"`
	Rate        float64 `json:"rate,omitempty"`
	Seconds     float64 `json:"seconds"`
	// PerSecond is how many orders ended in a second.
	PerSecond float64     `json:"orders_per_second"`
	Latency   rushLatency `json:"latency"`
	// Outcomes counts the orders by how they ended.
	Outcomes map[coffee.OrderStatus]int `json:"outcomes"`
	// Errors is how many orders have no result.
	Errors int `json:"errors"`
	// Ledger is what the rush has added to it; null if it cannot be read.
	Ledger *rushLedger `json:"ledger"`
}

// rushLatency is how long it took from when an order was due to its result, in
// milliseconds.
type rushLatency struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

type rushLedger struct {
	Charges  int64        `json:"charges"`
	Refunds  int64        `json:"refunds"`
	Voids    int64        `json:"voids"`
	NetCents coffee.Cents `json:"net_cents"`
}

func runRush(ctx context.Context, cmd *cli.Command, out *output) (err error) {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	r := &rush{
		out: out, count: cmd.Int("orders"), concurrency: cmd.Int("concurrency"), rate: cmd.Float("rate"),
		times:    hdrhistogram.New(1, time.Hour.Microseconds(), 3),
		outcomes: map[coffee.OrderStatus]int{},
	}
	if r.count < 1 || r.concurrency < 1 || !(r.rate >= 0) || math.IsInf(r.rate, 0) {
		return usageErrorf(cmd, "use 1 or more --orders and --concurrency, and 0 or more --rate")
	}
	var conn *connection
	var ledger coffee.Ledger
	if cmd.Bool("dev") {
		if cmd.String("log-level") == "" { // the story of a thousand orders is of no use to anybody
			out.log = out.log.Level(zerolog.Disabled)
		}
		d, err := out.startDev(ctx, cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.stop()) }()
		conn, ledger = d.connection, d.worker.ledger
	} else {
		if err := refuseWorkerFlags(cmd, "--dev", "concurrency", "ledger"); err != nil {
			return err
		}
		if conn, err = out.connect(ctx, cmd); err != nil {
			return err
		}
		defer conn.Close()
		if ledger, err = ledgerIfAny(ctx, cmd, conn); err != nil {
			return err
		}
		if ledger != nil {
			defer ledger.Close()
		}
	}
	r.orders = coffee.NewClient(conn, conn.namespace)
	report, err := r.run(ctx, ledger)
	if err != nil {
		return err
	}
	if asJSON {
		err = out.json(report)
	} else {
		report.print(out)
	}
	if err == nil && r.failures > 0 {
		err = fmt.Errorf("%s without a result, the first of them because: %w", plural(r.failures, "order", "orders"), r.failure)
	}
	return err
}

// ledgerIfAny opens the ledger, unless there is none on this machine.
func ledgerIfAny(ctx context.Context, cmd *cli.Command, conn *connection) (coffee.Ledger, error) {
	where, err := whichLedger(ctx, cmd, conn)
	if err != nil {
		return nil, err
	}
	ledger, err := coffee.OpenExistingLedger(ctx, where)
	if errors.Is(err, coffee.ErrNoLedger) {
		return nil, nil
	}
	return ledger, err
}

// run places all orders and waits for their results.
func (r *rush) run(ctx context.Context, ledger coffee.Ledger) (*rushReport, error) {
	var before, after coffee.Balance
	var err error
	if ledger != nil {
		if before, err = ledger.Balance(ctx); err != nil {
			return nil, err
		}
	}
	if isTerminal(r.out.err) {
		r.bar = progressbar.NewOptions(r.count, progressbar.OptionSetWriter(r.out.err), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("orders"), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	began := time.Now()
	r.placeAll(ctx, began)
	took := time.Since(began)
	if r.bar != nil {
		r.bar.Finish()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	report := &rushReport{
		Orders: r.count, Concurrency: r.concurrency, Rate: r.rate,
		Seconds: took.Seconds(), PerSecond: float64(r.times.TotalCount()) / took.Seconds(),
		Latency: rushLatency{
			P50: ms(r.times.ValueAtQuantile(50)), P90: ms(r.times.ValueAtQuantile(90)), P99: ms(r.times.ValueAtQuantile(99)), Max: ms(r.times.Max()),
		},
		Outcomes: r.outcomes, Errors: r.failures,
	}
	if ledger != nil {
		if after, err = ledger.Balance(ctx); err != nil {
			return nil, err
		}
		report.Ledger = &rushLedger{
			Charges: after.Charges - before.Charges, Refunds: after.Refunds - before.Refunds, Voids: after.Voids - before.Voids,
			NetCents: after.Net() - before.Net(),
		}
	}
	return report, nil
}

// placeAll hands out the orders. With a rate, an order's clock starts when it is
// due, even if there is no free slot by then: otherwise a slow server would make
// its own waiting time disappear.
func (r *rush) placeAll(ctx context.Context, began time.Time) {
	prefix := "rush-" + uuid.NewString()[:8]
	menu := coffee.Menu()
	slots := make(chan struct{}, r.concurrency)
	var wg sync.WaitGroup
	for i := range r.count {
		due := time.Time{} // as soon as there is a slot
		if r.rate > 0 {
			due = began.Add(time.Duration(float64(i) / r.rate * float64(time.Second)))
			if !sleep(ctx, time.Until(due)) {
				break
			}
		}
		select {
		case <-ctx.Done():
		case slots <- struct{}{}:
		}
		if ctx.Err() != nil {
			break
		}
		if due.IsZero() {
			due = time.Now()
		}
		wg.Go(func() {
			defer func() { <-slots }()
			r.place(ctx, due, coffee.OrderRequest{OrderID: fmt.Sprintf("%s-%d", prefix, i), Drink: menu[i%len(menu)], Size: coffee.SizeM})
		})
	}
	wg.Wait()
}

// place places one order and waits for its result.
func (r *rush) place(ctx context.Context, due time.Time, request coffee.OrderRequest) {
	_, err := r.orders.Place(ctx, request)
	var result coffee.OrderResult
	if err == nil {
		result, err = r.orders.Result(ctx, request.OrderID)
	}
	took := time.Since(due)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.times.RecordValue(max(took.Microseconds(), 1))
	}
	if err != nil {
		r.failures++
		if r.failure == nil {
			r.failure = err
		}
	} else {
		r.outcomes[result.Status]++
	}
	if r.bar != nil {
		r.bar.Add(1)
	}
}

func (r *rushReport) print(out *output) {
	line := func(name, format string, args ...any) { out.printf("%-12s %s\n", name, fmt.Sprintf(format, args...)) }
	var ends []string
	for _, status := range []coffee.OrderStatus{coffee.StatusCompleted, coffee.StatusFailed, coffee.StatusCancelled} {
		if n := r.Outcomes[status]; n > 0 {
			ends = append(ends, fmt.Sprintf("%d %s", n, strings.ToLower(string(status))))
		}
	}
	if r.Errors > 0 {
		ends = append(ends, fmt.Sprintf("%d without a result", r.Errors))
	}
	line("Orders", "%d: %s", r.Orders, strings.Join(ends, ", "))
	load := fmt.Sprintf("%d at a time", r.Concurrency)
	if r.Rate > 0 {
		load = fmt.Sprintf("%g a second, at most %d at a time", r.Rate, r.Concurrency)
	}
	line("Load", "%s", load)
	line("Throughput", "%.1f orders/s in %.1f s", r.PerSecond, r.Seconds)
	line("Latency", "p50 %.0f ms, p90 %.0f ms, p99 %.0f ms, at most %.0f ms", r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.Max)
	if r.Ledger != nil {
		line("Ledger", "%s, %s, %s; net %s", plural(int(r.Ledger.Charges), "charge", "charges"),
			plural(int(r.Ledger.Refunds), "refund", "refunds"), plural(int(r.Ledger.Voids), "void", "voids"), r.Ledger.NetCents)
	}
}
