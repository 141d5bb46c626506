package commands

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
)

// chaosClientCommand is the client of a chaos run, a process of its own that
// can be killed at any time.
func chaosClientCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:         "client",
		Hidden:       true,
		Usage:        "the client of a chaos run",
		OnUsageError: onUsageError,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "address"},
			&cli.StringFlag{Name: "journal"},
			&cli.IntFlag{Name: "orders"},
			&cli.Uint64Flag{Name: "seed"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			conn, err := out.dial(ctx, client.Options{HostPort: cmd.String("address"), Namespace: client.DefaultNamespace})
			if err != nil {
				return err
			}
			defer conn.Close()
			journal, err := openJournal(cmd.String("journal"))
			if err != nil {
				return err
			}
			c := &chaosCustomer{conn: conn, orders: coffee.NewClient(conn, conn.namespace), journal: journal}
			return errors.Join(c.run(ctx, cmd.Uint64("seed"), cmd.Int("orders")), journal.close())
		},
	}
}

// The files of a journal. Each has the ids of orders, one per line.
const (
	journalSent         = "sent"         // before an order is sent
	journalAcknowledged = "acknowledged" // after the server has said that it has it
	journalCancelled    = "cancelled"    // after the server has said that it has the request to cancel it
	journalEnded        = "ended"        // after its result is known
	// journalBreaches has a line for each thing that a client must never see.
	journalBreaches = "breaches"
)

// journal is what the client has on disk. Other than its memory it survives the
// client.
type journal struct {
	mu    sync.Mutex
	files map[string]*os.File
	known map[string]map[string]bool
}

func openJournal(dir string) (*journal, error) {
	j := &journal{files: map[string]*os.File{}, known: map[string]map[string]bool{}}
	for _, name := range []string{journalSent, journalAcknowledged, journalCancelled, journalEnded, journalBreaches} {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return nil, errors.Join(err, j.close())
		}
		j.files[name], j.known[name] = file, map[string]bool{}
		scanner := bufio.NewScanner(file)
		for scanner.Scan() {
			j.known[name][scanner.Text()] = true
		}
		if err := scanner.Err(); err != nil {
			return nil, errors.Join(err, j.close())
		}
	}
	return j, nil
}

// write writes a line, and returns when it is on disk. A line that is there
// already is not written again.
func (j *journal) write(name, line string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.known[name][line] {
		return nil
	}
	j.known[name][line] = true
	if _, err := j.files[name].WriteString(line + "\n"); err != nil {
		return err
	}
	return j.files[name].Sync()
}

func (j *journal) has(name, line string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known[name][line]
}

func (j *journal) close() error {
	var errs []error
	for _, file := range j.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// chaosCustomer places orders, whatever happens to the server and to itself.
type chaosCustomer struct {
	conn    *connection
	orders  *coffee.Client
	journal *journal
}

// run places all orders that have not ended yet, and returns when all have.
func (c *chaosCustomer) run(ctx context.Context, seed uint64, orders int) error {
	var wg sync.WaitGroup
	var once sync.Once
	var failure error
	for n := range orders {
		order := planOrder(seed, n)
		id := order.request.OrderID
		if c.journal.has(journalEnded, id) {
			continue
		}
		if !c.journal.has(journalSent, id) && !sleep(ctx, chaosPace) {
			break
		}
		wg.Go(func() {
			if err := c.serve(ctx, order); err != nil {
				once.Do(func() { failure = err })
			}
		})
	}
	wg.Wait()
	return failure
}

// serve sees to one order, from the start or from wherever it is. An error is
// one that ends the client; what the client must never see is a breach.
func (c *chaosCustomer) serve(ctx context.Context, order chaosOrder) error {
	id := order.request.OrderID
	if err := c.journal.write(journalSent, id); err != nil {
		return err
	}
	place := func() error { return c.place(ctx, order.request) }
	if order.input != nil {
		place = func() error { return c.placeInvalid(ctx, id, order.input) }
	}
	if err := c.insist(ctx, place); err != nil {
		return c.breach(ctx, id, "cannot be placed: %v", err)
	}
	if err := c.journal.write(journalAcknowledged, id); err != nil {
		return err
	}
	acknowledged := time.Now()
	if order.twice {
		if err := c.insist(ctx, place); err != nil {
			return c.breach(ctx, id, "cannot be placed twice: %v", err)
		}
	}
	if order.another != "" {
		request := order.request
		request.Drink = order.another
		var conflict *coffee.ConflictError
		if err := c.insist(ctx, func() error { return c.place(ctx, request) }); !errors.As(err, &conflict) {
			return c.breach(ctx, id, "another order of the same id was not refused, but: %v", err)
		}
	}
	cancelled := false
	if order.cancelAfter >= 0 {
		if !sleep(ctx, time.Until(acknowledged.Add(order.cancelAfter))) {
			return ctx.Err()
		}
		err := c.insist(ctx, func() error { return c.orders.Cancel(ctx, id, "") })
		if err != nil && !errors.Is(err, coffee.ErrEnded) {
			return c.breach(ctx, id, "cannot be cancelled: %v", err)
		}
		if err == nil {
			err = c.journal.write(journalCancelled, id)
		}
		if err != nil && !errors.Is(err, coffee.ErrEnded) {
			return err
		}
		cancelled = true
	}
	var result coffee.OrderResult
	err := c.insist(ctx, func() (err error) {
		result, err = c.orders.Result(ctx, id)
		return err
	})
	var ended *coffee.EndedError
	switch {
	case order.input != nil && errors.As(err, &ended):
	case order.input != nil:
		return c.breach(ctx, id, "was invalid, and yet it ended %s, %v", result.Status, err)
	case err != nil:
		return c.breach(ctx, id, "has no result: %v", err)
	case result.Status == coffee.StatusCancelled && !cancelled:
		return c.breach(ctx, id, "was cancelled, and nobody asked for it")
	}
	return c.journal.write(journalEnded, id)
}

// place places an order.
func (c *chaosCustomer) place(ctx context.Context, request coffee.OrderRequest) error {
	placed, err := c.orders.Place(ctx, request)
	if err == nil && placed.Order != request {
		return &wrongAnswer{fmt.Sprintf("got %v instead of %v", placed.Order, request)}
	}
	return err
}

// wrongAnswer is an answer that trying again does not make right.
type wrongAnswer struct{ string }

func (e *wrongAnswer) Error() string { return e.string }

// placeInvalid sends what our own client would not.
func (c *chaosCustomer) placeInvalid(ctx context.Context, id string, input any) error {
	_, err := c.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                    coffee.WorkflowID(id),
		TaskQueue:             coffee.TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}, coffee.WorkflowType, input)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) { // by the same client, before it was killed
		return nil
	}
	return err
}

// insist does it again until the answer is one that counts, and not that the
// server is away.
func (c *chaosCustomer) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		var conflict *coffee.ConflictError
		var ended *coffee.EndedError
		var invalid *serviceerror.InvalidArgument
		var wrong *wrongAnswer
		if err == nil || errors.As(err, &wrong) || errors.As(err, &conflict) || errors.As(err, &ended) || errors.As(err, &invalid) ||
			errors.Is(err, coffee.ErrEnded) || errors.Is(err, coffee.ErrNotFound) {
			return err
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// breach writes down what should not have happened.
func (c *chaosCustomer) breach(ctx context.Context, id, format string, args ...any) error {
	if ctx.Err() != nil { // it is only that this process was asked to stop
		return ctx.Err()
	}
	if err := c.journal.write(journalBreaches, "order "+id+" "+coffee.Printable(fmt.Sprintf(format, args...))); err != nil {
		return err
	}
	return c.journal.write(journalEnded, id)
}

// chaosEnv is an environment in which nothing of the user's leads anywhere but
// into the directory.
func chaosEnv(dir string) ([]string, error) {
	config := filepath.Join(dir, "temporal.toml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, err
	}
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "TEMPORAL_") && !strings.HasPrefix(pair, ledgerVariable+"=") {
			env = append(env, pair)
		}
	}
	return append(env, "XDG_DATA_HOME="+dir, "TEMPORAL_CONFIG_FILE="+config), nil
}
