//go:build !linux

package commands

// releaseProgram does nothing: other systems decide by themselves which pages of a
// program are in memory.
func releaseProgram() error { return nil }
