package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

func rushCommand(a *app.App) *cli.Command {
	// Here --concurrency counts orders, and a worker needs no more than that.
	settings := slices.DeleteFunc(local.WorkerFlags("WORKER (with --dev)"), func(flag cli.Flag) bool { return flag.Names()[0] == "concurrency" })
	return &cli.Command{
		Name:  "rush",
		Usage: "place many orders, and measure throughput and latency",
		Description: "Places orders and waits for their results: --concurrency orders at a time, or --rate orders a second. " +
			"With --rate an order's time starts when it is due, however late it is placed. The worker's default settings make a realistic day; with " +
			"--charge-time 0 --brew-time 0 --receipt-time 0 --brew-failure-rate 0 the server and the ledger alone are measured.",
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "orders", Usage: "place `N` orders", Value: 1000},
			&cli.IntFlag{Name: "concurrency", Usage: "place at most `N` orders at once", Value: 50},
			&cli.Float64Flag{Name: "rate", Usage: "place `N` orders a second", DefaultText: "the next one when one has ended"},
			connect.SkipTimeFlag(),
			commandline.OutputFlag(),
			local.DevFlag("run a server in memory and a worker in this process"),
		}, settings, connect.Flags()),
		Action: run(a, parseRush, runRush),
	}
}

// longestRush bounds how long it takes to place the orders of a rush: much longer times
// cannot be told.
const longestRush = 365 * 24 * time.Hour

type rushPlan struct {
	count       int
	concurrency int
	rate        float64 // 0 means a closed load: an order is due when one has ended
	asJSON      bool
	quiet       bool // no log of each order, unless --log-level is given: there are too many
	// server is where the orders go, and ledger where the rush reads what they
	// paid, unless dev is set: then both are its own.
	server connect.Options
	ledger ledgers.Choice
	dev    *local.Worker
}

func parseRush(c *cli.Context) (plan rushPlan, err error) {
	plan = rushPlan{count: c.Int("orders"), concurrency: c.Int("concurrency"), rate: c.Float64("rate"), asJSON: commandline.WantsJSON(c), quiet: c.String("log-level") == ""}
	if plan.count < 1 || plan.concurrency < 1 || plan.rate < 0 {
		return plan, commandline.Errorf(c, "use 1 or more --orders and --concurrency, and 0 or more --rate")
	}
	if plan.rate > 0 && float64(plan.count)/plan.rate > longestRush.Seconds() {
		return plan, commandline.Errorf(c, "--rate is %g: to place %s would take more than a year", plan.rate, text.Plural(plan.count, "order", "orders"))
	}
	if plan.server, plan.dev, err = local.ParseWhere(c, "concurrency", "ledger"); err != nil {
		return plan, err
	}
	plan.ledger, err = ledgers.Parse(c)
	return plan, err
}

// rush is one run.
type rush struct {
	rushPlan
	orders *desk.Client

	mu      sync.Mutex
	report  rushReport
	placed  []string                // order ids
	times   *hdrhistogram.Histogram // in microseconds
	failure error                   // the first
	bar     *progressbar.ProgressBar
}

// rushReport is the outcome of a run.
type rushReport struct {
	Orders      int     `json:"orders"`
	Concurrency int     `json:"concurrency"`
	Rate        float64 `json:"rate,omitempty"`
	Seconds     float64 `json:"seconds"`
	// PerSecond is how many orders ended per second.
	PerSecond float64     `json:"orders_per_second"`
	Latency   rushLatency `json:"latency"`
	// Outcomes counts the orders by how they ended.
	Outcomes map[coffee.OrderStatus]int `json:"outcomes"`
	// Errors is how many orders have no result.
	Errors int `json:"errors"`
	// Left is how many orders were not placed, or not waited for, because of an
	// interrupt.
	Left int `json:"left,omitempty"`
	// Ledger is what the orders of the rush have added to it; null if this machine has
	// none.
	Ledger *rushLedger `json:"ledger"`
}

// rushLatency is the time from when an order was due until its result, in
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

func runRush(ctx context.Context, a *app.App, plan rushPlan) (err error) {
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	conn, ledger, err := openRush(ctx, a, &tasks, plan)
	if err != nil {
		return err
	}
	r := &rush{
		rushPlan: plan, orders: conn.Orders(), times: hdrhistogram.New(1, time.Hour.Microseconds(), 3),
		report: rushReport{Orders: plan.count, Concurrency: plan.concurrency, Rate: plan.rate, Outcomes: map[coffee.OrderStatus]int{}},
		bar: progressbar.NewOptions(plan.count, progressbar.OptionSetVisibility(terminal.IsTerminal(a.Out.Err)), progressbar.OptionSetWriter(a.Out.Err),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("orders"),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish()),
	}
	r.run(ctx)
	if ctx.Err() == nil && ledger != nil {
		r.report.Ledger, err = sumLedger(ctx, ledger, r.placed)
	}
	// If something has gone wrong, the report is about what there was until then.
	err = errors.Join(ctx.Err(), err, a.Out.Show(plan.asJSON, r.report, r.report.print))
	if err == nil && r.failure != nil {
		err = fmt.Errorf("%s without a result; the first error: %w", text.Plural(r.report.Errors, "order", "orders"), r.failure)
	}
	return err
}

// openRush connects to the server where the orders go, and opens the ledger; nil if there is none
// on this machine.
func openRush(ctx context.Context, a *app.App, tasks *background.Tasks, plan rushPlan) (conn *connect.Connection, ledger ledger.Store, err error) {
	if plan.dev != nil {
		if plan.quiet {
			a.Log = a.Log.Level(zerolog.Disabled)
		}
		d, err := local.StartDev(ctx, a, *plan.dev, plan.server.SkipTime)
		if err != nil {
			return nil, nil, err
		}
		tasks.OnStop(d.Tasks.Stop)
		return d.Conn, d.Ledger, nil
	}
	if conn, err = connect.Open(ctx, a, plan.server); err != nil {
		return nil, nil, err
	}
	tasks.OnStop(func() error { conn.Close(); return nil })
	if ledger, err = ledgers.IfAny(ctx, a, plan.ledger, conn); ledger != nil {
		tasks.OnStop(ledger.Close)
	}
	return conn, ledger, err
}

// run places all orders, waits for their results, and measures that.
func (r *rush) run(ctx context.Context) {
	began := time.Now()
	r.placeAll(ctx, began)
	seconds := time.Since(began).Seconds()
	r.bar.Finish()
	ms := func(us int64) float64 { return float64(us) / 1000 }
	r.report.Left = r.count - len(r.placed)
	r.report.Seconds, r.report.PerSecond = seconds, float64(r.times.TotalCount())/seconds
	r.report.Latency = rushLatency{ms(r.times.ValueAtQuantile(50)), ms(r.times.ValueAtQuantile(90)), ms(r.times.ValueAtQuantile(99)), ms(r.times.Max())}
}

// sumLedger sums up what a ledger has of some orders. Others may be using it, too.
func sumLedger(ctx context.Context, ledger ledger.Store, ids []string) (*rushLedger, error) {
	sum := &rushLedger{}
	for _, id := range ids {
		entries, err := ledger.Entries(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			switch entry.Kind {
			case coffee.EntryCharge:
				sum.Charges++
				sum.NetCents += entry.Amount
			case coffee.EntryRefund:
				sum.Refunds++
				sum.NetCents -= entry.Amount
			case coffee.EntryVoid:
				sum.Voids++
			}
		}
	}
	return sum, nil
}

// placeAll places the orders. With a rate, an order's clock starts when it is due,
// even if there is no free slot by then. Otherwise the time that orders wait for a
// slow server would not be measured (coordinated omission).
func (r *rush) placeAll(ctx context.Context, began time.Time) {
	prefix, menu := "rush-"+uuid.NewString()[:8], coffee.Menu()
	var placing errgroup.Group
	placing.SetLimit(r.concurrency)
	for i := range r.count {
		var due time.Time // the zero value means as soon as there is a free slot
		if r.rate > 0 {
			due = began.Add(time.Duration(float64(i) / r.rate * float64(time.Second)))
			sleep.For(ctx, time.Until(due))
		}
		if ctx.Err() != nil {
			break
		}
		placing.Go(func() error { // waits for a slot
			if due.IsZero() {
				due = time.Now()
			}
			r.place(ctx, due, coffee.OrderRequest{OrderID: fmt.Sprintf("%s-%d", prefix, i), Drink: menu[i%len(menu)], Size: coffee.SizeM})
			return nil
		})
	}
	_ = placing.Wait() // place keeps its errors
}

// place places one order and waits for its result.
func (r *rush) place(ctx context.Context, due time.Time, request coffee.OrderRequest) {
	_, err := r.orders.Place(ctx, request)
	var result coffee.OrderResult
	if err == nil {
		result, err = r.orders.Result(ctx, request.OrderID)
	}
	if coffee.IsUnreadable(err) && result.Status != "" {
		err = nil // it needs no keyset to count how orders end
	}
	took := time.Since(due)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return
	}
	r.placed = append(r.placed, request.OrderID)
	if err == nil {
		err = r.times.RecordValue(max(took.Microseconds(), 1))
	}
	if err == nil {
		r.report.Outcomes[result.Status]++
	} else {
		r.report.Errors++
		r.failure = cmp.Or(r.failure, err)
	}
	r.bar.Add(1)
}

func (r rushReport) print(out *terminal.Output) {
	line := out.Line
	var ends []string
	for _, status := range []coffee.OrderStatus{coffee.StatusCompleted, coffee.StatusFailed, coffee.StatusCancelled} {
		if n := r.Outcomes[status]; n > 0 {
			ends = append(ends, fmt.Sprintf("%d %s", n, strings.ToLower(string(status))))
		}
	}
	if r.Errors > 0 {
		ends = append(ends, fmt.Sprintf("%d without a result", r.Errors))
	}
	if r.Left > 0 {
		ends = append(ends, fmt.Sprintf("%d not waited for", r.Left))
	}
	line("Orders", "%d: %s", r.Orders, strings.Join(ends, ", "))
	load := fmt.Sprintf("%d at a time", r.Concurrency)
	if r.Rate > 0 {
		load = fmt.Sprintf("%g a second, at most %d at a time", r.Rate, r.Concurrency)
	}
	line("Load", "%s", load)
	line("Throughput", "%.1f orders/s in %.1f s", r.PerSecond, r.Seconds)
	line("Latency", "p50 %.0f ms, p90 %.0f ms, p99 %.0f ms, max %.0f ms", r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.Max)
	if r.Ledger != nil {
		line("Ledger", "%s, %s, %s; net %s", text.Plural(int(r.Ledger.Charges), "charge", "charges"),
			text.Plural(int(r.Ledger.Refunds), "refund", "refunds"), text.Plural(int(r.Ledger.Voids), "void", "voids"), r.Ledger.NetCents)
	}
}
