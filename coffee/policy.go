package coffee

import "time"

// How often a step is tried, how long it may take, and how soon a dead worker is
// noticed. [ActivityTimeout], [MaxAttempts], [FirstBackoff] and [BackoffFactor] are
// part of the contract.
const (
	// ActivityTimeout is the start-to-close timeout of one attempt.
	ActivityTimeout = 10 * time.Second
	// MaxAttempts is how often a charge, a brew or a receipt is tried. A refund, or
	// a delivery without a receipt, is tried until it succeeds.
	MaxAttempts = 5
	// FirstBackoff is the pause after the first failed attempt. Each further pause
	// is BackoffFactor times as long, up to MaxBackoff.
	FirstBackoff  = time.Second
	BackoffFactor = 2
	MaxBackoff    = 100 * time.Second
	// MaxRefundBackoff bounds the pause between attempts of a step that is tried
	// until it succeeds.
	MaxRefundBackoff = 30 * time.Second

	// BrewHeartbeatTimeout is how long a brew may go without a heartbeat before the
	// server considers its worker dead and gives the brew to another one.
	BrewHeartbeatTimeout = 3 * time.Second
	// heartbeatInterval is the time between two heartbeats of a brew. A brew learns
	// of a cancel from the server's answer to a heartbeat.
	heartbeatInterval = BrewHeartbeatTimeout / 10

	// stickyTimeout is how long the server offers an order's next workflow task
	// only to the worker that has the order in its cache, before it offers it to
	// all. It is the pause after a worker is killed; the SDK's default is 5 s.
	stickyTimeout = 2 * time.Second
)
