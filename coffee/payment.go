package coffee

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
)

// PaymentService takes payments and refunds them, and records both in the ledger.
type PaymentService struct {
	ledger     Ledger
	chargeTime time.Duration
	log        zerolog.Logger
}

// Charge takes the payment for an order. It returns the errors of [Ledger.Charge],
// or the context's error if the attempt ends first.
func (s *PaymentService) Charge(ctx context.Context, charge Charge) error {
	log := s.log.With().Ctx(ctx).Str("order_id", charge.OrderID).Stringer("amount", charge.Amount).Logger()
	log.Info().Msg("charging")
	if err := simulate(ctx, s.chargeTime); err != nil {
		log.Info().AnErr("because", err).Msg("charge stopped")
		return err
	}
	if _, err := s.ledger.Charge(ctx, charge); err != nil {
		log.Warn().Err(err).Msg("charge not made")
		return err
	}
	log.Info().Msg("charged")
	return nil
}

// Charged returns what the run paid for the order, refunded or not; 0 if nothing.
func (s *PaymentService) Charged(ctx context.Context, orderID, runID string) (Cents, error) {
	entries, err := s.ledger.Entries(ctx, orderID)
	for _, entry := range entries {
		if entry.Kind == EntryCharge && entry.RunID == runID {
			return entry.Amount, nil
		}
	}
	return 0, err
}

// Refund refunds what the run paid for the order, and returns the amount; 0 if there was
// nothing to refund. Afterwards no charge by this run can succeed, however late it
// comes, and no coffee is handed out. If the coffee was handed out already, the
// charge stands and Refund returns [ErrDelivered].
func (s *PaymentService) Refund(ctx context.Context, orderID, runID string) (refunded Cents, err error) {
	log := s.log.With().Ctx(ctx).Str("order_id", orderID).Logger()
	entry, err := s.ledger.Refund(ctx, orderID, runID)
	switch {
	case errors.Is(err, ErrDuplicateOrder):
		// The charge in the ledger belongs to an earlier order with this id.
		log.Info().Msg("nothing to refund: another order of this id was charged")
		return 0, nil
	case errors.Is(err, ErrDelivered):
		log.Info().Msg("no refund: the coffee was handed out")
		return 0, err
	case err != nil:
		log.Warn().Err(err).Msg("refund not made")
		return 0, err
	case entry.Kind == EntryRefund:
		log.Info().Stringer("amount", entry.Amount).Msg("refunded")
		return entry.Amount, nil
	}
	log.Info().Msg("voided: nothing was charged")
	return 0, nil
}

// Deliver hands out the coffee of an order, if its payment stands. It returns the
// errors of [Ledger.Deliver].
func (s *PaymentService) Deliver(ctx context.Context, orderID string) error {
	err := s.ledger.Deliver(ctx, orderID)
	if err != nil {
		s.log.Warn().Ctx(ctx).Str("order_id", orderID).Err(err).Msg("coffee not handed out")
	}
	return err
}

// Paid returns nil if the payment for an order stands, and reports whether its
// coffee was handed out already. It returns the errors of [Ledger.Paid].
func (s *PaymentService) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	delivered, err = s.ledger.Paid(ctx, orderID)
	if err != nil {
		s.log.Warn().Ctx(ctx).Str("order_id", orderID).Err(err).Msg("no coffee: the payment does not stand")
	}
	return delivered, err
}

// simulate takes as long as a real service would. It returns early, with the
// context's error, when the context ends.
func simulate(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
