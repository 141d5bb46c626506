package coffee

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// ErrJammed is the error of a failed brew. The next attempt may well succeed.
var ErrJammed = errors.New("brew machine jammed")

// BrewService makes coffee with a machine that jams now and then.
type BrewService struct {
	brewTime    time.Duration
	failureRate float64
	seed        uint64
	log         zerolog.Logger
}

// Brew makes one cup. It returns [ErrJammed] if the machine jams, or the context's
// error if the context ends first. Attempts count from 1.
func (s *BrewService) Brew(ctx context.Context, order OrderRequest, attempt int) error {
	log := s.log.With().Ctx(ctx).Str("order_id", order.OrderID).Int("attempt", attempt).Logger()
	log.Info().Str("drink", string(order.Drink)).Str("size", string(order.Size)).Msg("brewing")
	if err := simulate(ctx, s.brewTime); err != nil {
		log.Info().AnErr("because", err).Msg("brew stopped")
		return err
	}
	if s.jams(order.OrderID, attempt) {
		log.Error().Msg("brew machine jammed")
		return ErrJammed
	}
	log.Info().Msg("brewed")
	return nil
}

// jams reports whether an attempt fails.
func (s *BrewService) jams(orderID string, attempt int) bool {
	return chance(s.seed, orderID, attempt) < s.failureRate
}

// chance returns a number from 0 up to but not including 1. It is a hash: the same
// seed and words always give the same number, so a run can be repeated exactly.
func chance(seed uint64, words ...any) float64 {
	text := fmt.Append(nil, seed)
	for _, word := range words {
		text = fmt.Appendf(text, "/%v", word)
	}
	hash := sha256.Sum256(text)
	return float64(binary.BigEndian.Uint64(hash[:8])>>11) / (1 << 53) // the upper 53 bits
}
