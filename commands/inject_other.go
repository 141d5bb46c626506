//go:build !unix

package commands

// inject does nothing: there are no chaos runs on this system.
func (a *app) inject() error { return nil }
