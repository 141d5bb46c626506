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

// NoArguments returns a usage error if a command that takes no argument got one. A drink is
// meant as a flag, if there is one for it.
func NoArguments(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	hint := ""
	if drink, err := coffee.ParseDrink(c.Args().First()); err == nil && FindFlag(c.Command.Flags, "drink") != nil {
		hint = "; did you mean --drink " + string(drink) + "?"
	}
	return Errorf(c, "%s takes no argument: %q%s", c.Command.Name, c.Args().First(), hint)
}

// OrderID returns the only argument. It may be the id of an order that another program has
// placed. Without one the error says what is missing.
func OrderID(c *cli.Context, missing string) (string, error) {
	id, err := OptionalOrderID(c)
	if err == nil && id == "" {
		err = Errorf(c, "%s", missing)
	}
	return id, err
}

// OptionalOrderID is [OrderID], but returns "" if there is no argument.
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
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of the output: text or json", Value: "text",
		Action: func(c *cli.Context, _ string) error { return OneOf(c, "output", "text", "json") }}
}

// WantsJSON reports whether that flag asks for JSON.
func WantsJSON(c *cli.Context) bool { return c.String("output") == "json" }

// KeysetVariable is the environment variable for the flag --encryption-keyset.
const KeysetVariable = "COFFEE_ENCRYPTION_KEYSET"

// LedgerVariable is the environment variable for the flag --ledger.
const LedgerVariable = "COFFEE_LEDGER"
