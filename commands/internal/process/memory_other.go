//go:build !linux

package process

// ReleaseProgram does nothing: other systems decide by themselves which pages of a
// program are in memory.
func ReleaseProgram() error { return nil }
