//go:build !linux

package sqlitefile

import "os"

// Holds reports whether a hold keeps other processes out.
const Holds = false

func lock(*os.File) error { return nil }

// renameNew renames a file. It returns [fs.ErrExist] if there is one of the new
// name.
func renameNew(from, to string) error { return linkNew(from, to) }
