package coffee

import (
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// ServiceConfig configures the simulated services. With the zero value, everything
// succeeds at once; see [DefaultServiceConfig].
type ServiceConfig struct {
	// ChargeTime, BrewTime and ReceiptTime are how long each step takes. They must
	// be shorter than [ActivityTimeout], or no attempt would ever succeed.
	ChargeTime, BrewTime, ReceiptTime time.Duration
	// BrewFailureRate is the share of brew attempts that jam, from 0 to 1.
	BrewFailureRate float64
	// Seed decides which attempts jam.
	Seed uint64
}

// DefaultServiceConfig returns the settings of an ordinary day. With its seed the
// first attempt to brew order 123 jams, and the second succeeds.
func DefaultServiceConfig() ServiceConfig {
	return ServiceConfig{
		ChargeTime:      500 * time.Millisecond,
		BrewTime:        time.Second,
		ReceiptTime:     300 * time.Millisecond,
		BrewFailureRate: 0.3,
		Seed:            3,
	}
}

// Validate returns an error that names a setting out of range; nil if all are
// valid.
func (c ServiceConfig) Validate() error {
	for _, step := range []struct {
		name string
		time time.Duration
	}{{"charge", c.ChargeTime}, {"brew", c.BrewTime}, {"receipt", c.ReceiptTime}} {
		if step.time < 0 || step.time >= ActivityTimeout {
			return fmt.Errorf("%s time is %v: it must be from 0 to less than %v, after which an attempt times out", step.name, step.time, ActivityTimeout)
		}
	}
	if !(c.BrewFailureRate >= 0 && c.BrewFailureRate <= 1) { // this way round, NaN is refused
		return fmt.Errorf("brew failure rate is %v: it must be from 0 to 1", c.BrewFailureRate)
	}
	return nil
}

// ServiceFactory builds each service on first use, and returns the same one from
// then on. It is safe for concurrent use.
type ServiceFactory struct {
	Payment      func() *PaymentService
	Brew         func() *BrewService
	Notification func() *NotificationService
}

// NewServiceFactory returns a factory of services that write to the ledger and log
// what they do.
func NewServiceFactory(config ServiceConfig, ledger Ledger, log zerolog.Logger) *ServiceFactory {
	return &ServiceFactory{
		Payment: sync.OnceValue(func() *PaymentService {
			return &PaymentService{ledger: ledger, chargeTime: config.ChargeTime, log: log}
		}),
		Brew: sync.OnceValue(func() *BrewService {
			return &BrewService{brewTime: config.BrewTime, failureRate: config.BrewFailureRate, seed: config.Seed, log: log}
		}),
		Notification: sync.OnceValue(func() *NotificationService {
			return &NotificationService{receiptTime: config.ReceiptTime, log: log}
		}),
	}
}
