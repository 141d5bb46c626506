package commands

import (
	"cmp"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/private"
	"example.com/coffee/internal/text"
)

func keysetFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "encryption-keyset",
		Usage:       "keyset `FILE` that encrypts and decrypts orders, made by coffee keys",
		DefaultText: "$" + keysetVariable,
		Category:    category,
	}
}

// parseKeyset opens the keyset that the flag or the variable names; nil if neither
// does.
func parseKeyset(c *cli.Context) (*encryption.Keyset, error) {
	path := cmp.Or(c.String("encryption-keyset"), os.Getenv(keysetVariable))
	if path == "" {
		return nil, nil
	}
	noteExposed(c, "keyset", path)
	keyset, err := encryption.Open(path)
	if err != nil {
		return nil, exit.Hinted(err, "make one with: coffee keys new FILE")
	}
	return keyset, nil
}

// noteExposed says so if other people could read or change a file with secrets.
func noteExposed(c *cli.Context, what, path string) {
	if exposed := private.Exposed(path); exposed != "" {
		fmt.Fprintf(c.App.ErrWriter, "the %s is not private: %s\n", what, text.Printable(exposed))
	}
}
