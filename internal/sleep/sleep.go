// Package sleep pauses unless a context ends.
package sleep

import (
	"context"
	"time"
)

// For returns true after a time, or false as soon as the context ends.
func For(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
