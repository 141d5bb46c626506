package commandline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/exit"
)

// Errorf returns the usage error of a command; see package exit.
func Errorf(c *cli.Context, format string, args ...any) error {
	return exit.Usagef(c.Command.HelpName, format, args...)
}

// NoArguments returns a usage error if a command that takes no argument got one.
func NoArguments(c *cli.Context) error {
	if c.Args().Present() {
		return Errorf(c, "%s takes no argument: %q", c.Command.Name, c.Args().First())
	}
	return nil
}

// OptionalOrderID returns the only argument, or "" if there is none. It may be the id of
// an order that another program has placed.
func OptionalOrderID(c *cli.Context) (string, error) {
	switch args := c.Args(); args.Len() {
	case 0:
		return "", nil
	case 1:
		return args.First(), coffee.ValidateForeignID(args.First())
	default:
		return "", Errorf(c, "%s takes one order id, not %d arguments", c.Command.Name, args.Len())
	}
}

// OneOf returns a usage error if a flag's value is neither empty nor in the list.
func OneOf(c *cli.Context, flag string, values ...string) error {
	if value := c.String(flag); value != "" && !slices.Contains(values, value) {
		return Errorf(c, "--%s is %q: use %s", flag, value, strings.Join(values, ", "))
	}
	return nil
}

// OutputFlag is the flag -o of every command that has data to print.
func OutputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of the output: text or json", Value: "text"}
}

// KeysetVariable is the environment variable for the flag --encryption-keyset.
const KeysetVariable = "COFFEE_ENCRYPTION_KEYSET"

// LedgerVariable is the environment variable for the flag --ledger.
const LedgerVariable = "COFFEE_LEDGER"
