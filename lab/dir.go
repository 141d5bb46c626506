//go:build unix && !noserver

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"example.com/coffee/internal/tempdir"
)

// runDir is the directory of a run. One that the user has named is the user's.
type runDir struct {
	path      string
	temporary *tempdir.Dir // nil if the user has named it
}

// makeRunDir makes a directory, or returns the one that the user has named, which must
// be empty. Its path is absolute.
func makeRunDir(named string) (runDir, error) {
	if named == "" {
		temporary, err := tempdir.Make("chaos")
		if err != nil {
			return runDir{}, err
		}
		return runDir{temporary.Path(), temporary}, nil
	}
	if err := os.MkdirAll(named, 0o700); err != nil {
		return runDir{}, err
	}
	entries, err := os.ReadDir(named)
	if err != nil {
		return runDir{}, err
	}
	if len(entries) > 0 {
		return runDir{}, fmt.Errorf("--dir %s is not empty", named)
	}
	path, err := filepath.Abs(named)
	return runDir{path: path}, err
}

// remove removes the directory unless it is the user's.
func (d runDir) remove() error {
	if d.temporary == nil {
		return nil
	}
	return d.temporary.Remove()
}

// keep leaves the directory to the user.
func (d runDir) keep() error {
	if d.temporary == nil {
		return nil
	}
	return d.temporary.Keep()
}
