//go:build !unix

package private

import (
	"io/fs"
	"os"
)

const (
	nonblocking = 0
	// enforced: who may use a file follows from its directory here, not from its mode.
	enforced = false
)

func foreign(fs.FileInfo) bool              { return false }
func writable(fs.FileInfo) bool             { return false }
func keepOwner(*os.File, fs.FileInfo) error { return nil }
