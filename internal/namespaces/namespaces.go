// Package namespaces knows what a namespace of a Temporal server can be called.
package namespaces

import (
	"errors"
	"fmt"
	"strings"
)

// maxLength is the server's limit, in bytes (limit.maxIDLength).
const maxLength = 1000

// Check returns an error unless a namespace can have the name. A name travels in the
// header of requests, where there is only printable ASCII, without spaces around it: under
// another name, the server would create a namespace that nobody can use or delete.
func Check(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("a namespace needs a name")
	case len(name) > maxLength:
		return fmt.Errorf("a namespace's name has at most %d characters, not %d", maxLength, len(name))
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("a namespace cannot be called %+q: use printable ASCII characters", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("a namespace cannot be called %q: leave the spaces around it out", name)
	}
	return nil
}
