// Package inject makes the ledger and the clock of a worker fail, in a process of its own
// or in virtual time.
package inject

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/activity"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/around"
)

// RefuseRefunds gives a worker a ledger that takes no refunds while it is to refuse them.
func RefuseRefunds(options *coffee.WorkerOptions, refuse func() bool) {
	options.Ledger = noRefunds{options.Ledger, refuse}
}

var errNoRefunds = errors.New("injected fault: the ledger takes no refunds")

type noRefunds struct {
	coffee.Ledger
	refuse func() bool
}

// Refund implements [coffee.Ledger].
func (l noRefunds) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	if l.refuse() {
		return coffee.Entry{}, errNoRefunds
	}
	return l.Ledger.Refund(ctx, orderID, runID)
}

// Log messages about a charge that has outlived its attempt.
const (
	LateCharge        = "charged late, after the attempt was given up"
	LateChargeRefused = "late charge refused"
)

// lateRate is the share of charges that come late.
const lateRate = 0.7

// attemptKey is the key of the context of an attempt to charge in that of a charge that goes
// on without it.
type attemptKey struct{}

// ChargeLate lets charges go on after their attempt was given up, like a request that is
// already on its way to a payment provider. The ledger must withstand them. The seed
// decides which do.
func ChargeLate(options *coffee.WorkerOptions, seed uint64) {
	options.Ledger = lateLedger{options.Ledger, options.Log}
	options.Interceptors = append(options.Interceptors, &around.Calls{Activity: func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
		info := activity.GetInfo(ctx)
		id := fnv.New64a()
		id.Write([]byte(info.WorkflowExecution.ID))
		if info.ActivityType.Name == coffee.ActivityChargeCustomer && rand.New(rand.NewPCG(seed, id.Sum64())).Float64() < lateRate {
			ctx = context.WithValue(context.WithoutCancel(ctx), attemptKey{}, ctx)
		}
		return next(ctx)
	}})
}

// lateLedger logs which charges come late, for the report of the run.
type lateLedger struct {
	coffee.Ledger
	log zerolog.Logger
}

// Charge implements [coffee.Ledger].
func (l lateLedger) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	entry, err := l.Ledger.Charge(ctx, charge)
	if attempt, ok := ctx.Value(attemptKey{}).(context.Context); ok && attempt.Err() != nil {
		log := l.log.Warn().Ctx(ctx).Str("order_id", charge.OrderID)
		switch {
		case err == nil:
			log.Msg(LateCharge)
		case coffee.IsRefusal(err):
			log.Err(err).Msg(LateChargeRefused)
		}
	}
	return entry, err
}
