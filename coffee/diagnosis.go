package coffee

import "time"

// Diagnosis is why orders do not go on. The zero value means that nothing is known to
// be in their way.
//
// An order can also be stuck by itself, because the code of its worker does not fit
// its history: see [OrderView.WorkflowTaskFailure].
type Diagnosis string

// The reasons why orders do not go on.
const (
	// DiagnosisServerAway: the server does not answer.
	DiagnosisServerAway Diagnosis = "server_away"
	// DiagnosisReconnecting: the server is back, and its workers are not yet.
	DiagnosisReconnecting Diagnosis = "reconnecting"
	// DiagnosisNoWorker: orders wait, and no worker is running.
	DiagnosisNoWorker Diagnosis = "no_worker"
)

// reconnectPatience is how long workers have to come back after the server was away.
// Those of this program need a second (see [Reconnect]); those of others may pause for
// ten seconds between two attempts, and try twice in vain.
const reconnectPatience = 20 * time.Second

// Diagnoser tells apart why orders do not go on, from what is seen over time: a server
// that is back has no list of its workers. The zero value is ready to use.
type Diagnoser struct {
	away bool
	back time.Time // when the server was back; zero if it was not away
}

// Observe takes what was seen at a time, on whatever clock: whether the server gave no
// answer, and otherwise whether orders wait for a worker that is not there, as
// [Client.NoWorker] reports. It returns the diagnosis.
func (d *Diagnoser) Observe(now time.Time, away, noWorker bool) Diagnosis {
	if away {
		d.away = true
		return DiagnosisServerAway
	}
	if d.away {
		d.away, d.back = false, now
	}
	switch {
	case !noWorker:
		return ""
	case !d.back.IsZero() && now.Sub(d.back) <= reconnectPatience:
		return DiagnosisReconnecting
	}
	return DiagnosisNoWorker
}

// oldestPatience is how old an order must be before it counts as waiting.
const oldestPatience = 2 * time.Second

// OldestWaiting returns the id of the oldest running order, the first one to ask
// [Client.NoWorker] about, or "" if no order has been running for long.
func OldestWaiting(views []OrderView) (orderID string) {
	var oldest *OrderView
	for i := range views {
		if v := &views[i]; v.Status == StatusRunning && (oldest == nil || v.StartedAt.Before(oldest.StartedAt)) {
			oldest = v
		}
	}
	if oldest == nil || oldest.Age() < oldestPatience {
		return ""
	}
	return oldest.OrderID
}
