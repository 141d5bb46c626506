// Package httpserver has the limits of everything here that speaks HTTP.
package httpserver

import (
	"net/http"
	"time"
)

// New returns a server for short answers that nobody can keep busy with connections that
// say nothing, or speak slowly. A handler that answers for longer sets its own deadline,
// with [http.ResponseController], or the caller sets WriteTimeout to 0.
func New(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}
