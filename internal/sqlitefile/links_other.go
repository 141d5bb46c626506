//go:build !unix

package sqlitefile

import "os"

// links returns how many names a file has. This system does not say, so it is 1.
func links(os.FileInfo) uint64 { return 1 }
