//go:build !linux

package sqlitefile

import "os"

// Holds reports whether a hold excludes other processes.
const Holds = false

func lock(*os.File) error   { return nil }
func unlock(*os.File) error { return nil }

// renameNew renames a file. It returns [fs.ErrExist] if the new name is taken.
func renameNew(from, to string) error { return linkNew(from, to) }
