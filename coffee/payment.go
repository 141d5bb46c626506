package coffee

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
)

// PaymentService takes money and gives it back, and writes both down.
type PaymentService struct {
	ledger     Ledger
	chargeTime time.Duration
	log        zerolog.Logger
}

// Charge takes the money for an order. It returns the errors of
// [Ledger.Charge].
func (s *PaymentService) Charge(ctx context.Context, charge Charge) error {
	log := s.log.With().Str("order_id", charge.OrderID).Stringer("amount", charge.Amount).Logger()
	log.Info().Msg("charging")
	if err := simulate(ctx, s.chargeTime); err != nil {
		return err
	}
	if _, err := s.ledger.Charge(ctx, charge); err != nil {
		log.Warn().Err(err).Msg("charge not made")
		return err
	}
	log.Info().Msg("charged")
	return nil
}

// Refund gives back what the run paid for the order, and reports whether there
// was anything to give back. Afterwards no charge of this run can succeed any
// more, however late it comes.
func (s *PaymentService) Refund(ctx context.Context, orderID, runID string) (refunded bool, err error) {
	log := s.log.With().Str("order_id", orderID).Logger()
	entry, err := s.ledger.Refund(ctx, orderID, runID)
	switch {
	case errors.Is(err, ErrDuplicateOrder):
		// The money that is there belongs to an earlier order of this id.
		log.Info().Msg("nothing to refund: another order of this id was charged")
		return false, nil
	case err != nil:
		log.Warn().Err(err).Msg("refund not made")
		return false, err
	case entry.Kind == EntryRefund && entry.RunID == runID:
		log.Info().Stringer("amount", entry.Amount).Msg("refunded")
		return true, nil
	}
	log.Info().Msg("voided: nothing was charged")
	return false, nil
}

// simulate takes the time that a real service would take. It returns early,
// with the context's error, when the context ends.
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
