package coffee

import (
	"errors"

	"go.temporal.io/sdk/temporal"
)

// rootCause finds, in the chain of errors that Temporal wraps around a
// failure, the one that says what happened.
func rootCause(err error) string {
	var application *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case errors.As(err, &application):
		return application.Message()
	case errors.As(err, &timeout):
		return "timed out (" + timeout.TimeoutType().String() + ")"
	}
	return err.Error()
}

// isRefused reports whether a step failed because the ledger refused it for good.
func isRefused(err error) bool {
	var application *temporal.ApplicationError
	return errors.As(err, &application) && application.Type() == ErrorTypeRefused
}
