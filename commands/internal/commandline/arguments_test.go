package commandline

import (
	"testing"

	"github.com/urfave/cli/v2"

	"example.com/coffee/internal/exit"
)

// TestNumberHint: an error about a number names the command, wherever the program is.
func TestNumberHint(t *testing.T) {
	t.Parallel()
	root := &cli.App{Name: "coffee", Commands: []*cli.Command{{Name: "status", Flags: []cli.Flag{&cli.IntFlag{Name: "limit"}}}}}
	_, err := FlagsFirst(root, []string{"/usr/bin/coffee", "status", "--limit", "010"})
	if e := exit.In(err); e == nil || e.Code != exit.Usage || e.Hint != "see coffee status --help" {
		t.Errorf("got %#v", e)
	}
}
