package coffee

import (
	"errors"

	"go.temporal.io/sdk/temporal"
)

// rootCause returns the message of the error that says what happened, out of the
// chain that Temporal wraps around a failure.
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
