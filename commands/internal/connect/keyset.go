package connect

import (
	"cmp"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/private"
	"example.com/coffee/internal/text"
)

// KeysetFlag is the flag that names a keyset.
func KeysetFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "encryption-keyset",
		Usage:       "keyset `FILE` that encrypts and decrypts orders, made by coffee keys",
		DefaultText: "$" + commandline.KeysetVariable,
		Category:    category,
	}
}

// ParseKeyset opens the keyset that the flag or the variable names; nil if neither
// does.
func ParseKeyset(c *cli.Context) (*encryption.Keyset, error) {
	path := cmp.Or(c.String("encryption-keyset"), os.Getenv(commandline.KeysetVariable))
	if path == "" {
		return nil, nil
	}
	NoteExposed(c.App.ErrWriter, "keyset", path)
	keyset, err := encryption.Open(path)
	if err != nil {
		return nil, exit.Hinted(err, "make one with: coffee keys new FILE")
	}
	return keyset, nil
}

// NoteExposed writes a line if other people could read or change a file with secrets.
func NoteExposed(w io.Writer, what, path string) {
	if exposed := private.Exposed(path); exposed != "" {
		fmt.Fprintf(w, "the %s is not private: %s\n", what, text.Printable(exposed))
	}
}
