// Package exit has the exit codes of this module's programs, and the error that sets one.
package exit

import (
	"errors"
	"fmt"
)

// The exit codes.
const (
	OK           = 0
	Failure      = 1
	Usage        = 2
	Failed       = 3 // the order failed
	Cancelled    = 4 // the order was cancelled
	Conflict     = 5 // the order id is already taken
	Breach       = 6 // an audit or another judge has found a breach
	Unreplayable = 7 // a history does not replay
	Interrupted  = 130
)

// Error ends a program with an exit code.
type Error struct {
	Code int
	Err  error  // nil means that there is nothing to print
	Hint string // what to do next, on a line of its own; empty means none
}

func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error with a code.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Usagef returns an error about a command line. The hint names the --help of a command, such
// as coffee order; empty means no hint.
func Usagef(command, format string, args ...any) *Error {
	e := Errorf(Usage, format, args...)
	if command != "" {
		e.Hint = "see " + command + " --help"
	}
	return e
}

// Hinted returns a failure with a hint that only the place where it happened can give.
func Hinted(err error, hint string) *Error { return &Error{Failure, err, hint} }

// In returns what says how to end the program after an error: the outermost [*Error] in it,
// or nil if there is none.
func In(err error) *Error {
	var e *Error
	errors.As(err, &e)
	return e
}
