package coffee

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// NotificationService tells customers about their orders.
type NotificationService struct {
	receiptTime time.Duration
	log         zerolog.Logger
}

// SendReceipt sends the receipt of an order. A retry may send it twice; unlike a
// second charge, a second receipt does no harm.
func (s *NotificationService) SendReceipt(ctx context.Context, orderID string) error {
	log := s.log.With().Ctx(ctx).Str("order_id", orderID).Logger()
	log.Info().Msg("sending receipt")
	if err := simulate(ctx, s.receiptTime); err != nil {
		return err
	}
	log.Info().Msg("receipt sent")
	return nil
}
