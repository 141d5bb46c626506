package inject

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Fault is what goes wrong with a call of the database.
type Fault int

// The faults. After either the caller gets an error, and cannot know which it was.
const (
	noFault Fault = iota
	// notDone means that the database does nothing.
	notDone
	// doneAndLost means that the database does it, and the answer is lost.
	doneAndLost
)

// Faulty lets calls of a ledger's database fail: before each statement and each commit,
// draw says what goes wrong. Calls of draw may overlap.
func Faulty(draw func() Fault) func(driver.Connector) driver.Connector {
	return func(c driver.Connector) driver.Connector { return faultyConnector{c, draw} }
}

var errInjected = errors.New("injected fault: the database did not answer")

type faultyConnector struct {
	driver.Connector
	draw func() Fault
}

// Connect implements [driver.Connector].
func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &faultyConn{conn, c.draw}, nil
}

// faultyConn is a connection whose calls fail. What a driver may leave out, this one
// leaves to [database/sql], as the driver would.
type faultyConn struct {
	driver.Conn
	draw func() Fault
}

var (
	_ driver.ExecerContext     = (*faultyConn)(nil)
	_ driver.QueryerContext    = (*faultyConn)(nil)
	_ driver.ConnBeginTx       = (*faultyConn)(nil)
	_ driver.NamedValueChecker = (*faultyConn)(nil)
	_ driver.SessionResetter   = (*faultyConn)(nil)
	_ driver.Validator         = (*faultyConn)(nil)
)

// ExecContext implements [driver.ExecerContext].
func (c *faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	execer, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	fault := c.draw()
	if fault == notDone {
		return nil, errInjected
	}
	result, err := execer.ExecContext(ctx, query, args)
	if err == nil && fault == doneAndLost {
		return nil, errInjected
	}
	return result, err
}

// QueryContext implements [driver.QueryerContext]. A query that is done and lost is one
// that was not done.
func (c *faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	queryer, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	if c.draw() != noFault {
		return nil, errInjected
	}
	return queryer.QueryContext(ctx, query, args)
}

// BeginTx implements [driver.ConnBeginTx].
func (c *faultyConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	return faultyTx{tx, c.draw}, nil
}

// CheckNamedValue implements [driver.NamedValueChecker].
func (c *faultyConn) CheckNamedValue(value *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(value)
	}
	return driver.ErrSkip
}

// ResetSession implements [driver.SessionResetter].
func (c *faultyConn) ResetSession(ctx context.Context) error {
	if resetter, ok := c.Conn.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

// IsValid implements [driver.Validator].
func (c *faultyConn) IsValid() bool {
	validator, ok := c.Conn.(driver.Validator)
	return !ok || validator.IsValid()
}

type faultyTx struct {
	driver.Tx
	draw func() Fault
}

// Commit implements [driver.Tx]. A transaction that is not committed is rolled back.
func (t faultyTx) Commit() error {
	fault := t.draw()
	if fault == notDone {
		return errors.Join(errInjected, t.Rollback())
	}
	err := t.Tx.Commit()
	if err == nil && fault == doneAndLost {
		return errInjected
	}
	return err
}

// DrawFaults returns what makes one call of a ledger's database in five fail.
func DrawFaults(seed uint64) func() Fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	calls := 0
	return func() Fault {
		mu.Lock()
		defer mu.Unlock()
		calls++
		p := r.Float64()
		switch {
		case calls <= 8: // they open the ledger
		case p < 0.1:
			return notDone
		case p < 0.2:
			return doneAndLost
		}
		return noFault
	}
}

// WrongClock returns a clock that is minutes to hours off, and jumps every second.
func WrongClock(seed uint64) func() time.Time {
	return func() time.Time {
		now := time.Now()
		r := rand.New(rand.NewPCG(seed, uint64(now.Unix())))
		off := time.Minute + time.Duration(r.Int64N(int64(12*time.Hour)))
		if r.IntN(2) == 0 {
			off = -off
		}
		return now.Add(off)
	}
}
