// Package commandline says what a command line may be, how it is explained and completed.
package commandline

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
	"example.com/coffee/internal/typo"
)

// CompletionFlag is the flag that a shell appends to ask for completions.
const CompletionFlag = "--generate-bash-completion"

// level is the program or a command on a command line, with the flags given to it.
type level struct {
	name        string
	flags       []cli.Flag
	subcommands []*cli.Command
	given       []string // flags, with their values
}

// FlagsFirst moves the flags of a command line in front of its arguments, because
// urfave/cli v2 takes everything after an argument for another argument. A global
// flag after the command, such as --log-level, moves in front of the command.
// Whatever follows -- stays where it is. A last flag that lacks its value stays last,
// so that it does not take an argument for its value. A --help anywhere becomes the command
// help, because the parser has none for the commands of a command. It returns a usage error for
// a number in another notation than the decimal one: Go's flag package would take 010 for 8.
func FlagsFirst(root *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	levels := []*level{{name: args[0], flags: root.Flags, subcommands: root.Commands}}
	var arguments, last []string
	helps := false
	args = args[1:]
	if n := len(args); n > 0 && args[n-1] == CompletionFlag {
		args, last = args[:n-1], args[n-1:]
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		isFlag := len(arg) >= 2 && arg[0] == '-'
		switch {
		case arg == "--" && last != nil && len(args) == 0: // the user is about to type a flag
		case arg == "--":
			arguments, args = slices.Concat([]string{"--"}, arguments, args), nil
		case isFlag && last == nil && slices.Contains(cli.HelpFlag.Names(), flagName(arg)):
			helps = true
		case isFlag:
			name, value, hasValue := strings.Cut(flagName(arg), "=")
			owner, flag := ownerOf(levels, name)
			if flag != nil { // under its first name: the parser refuses a flag that is given under two
				first := flag.Names()[0]
				arg, name = "--"+first+strings.TrimPrefix(flagName(arg), name), first
			}
			given := []string{arg}
			switch {
			case !takesValue(flag) || hasValue:
			case len(args) > 0:
				value, args = args[0], args[1:]
				given = append(given, value)
			case last == nil:
				levels, arguments = levels[:owner+1], nil
			}
			levels[owner].given = append(levels[owner].given, given...)
			if isNumber(flag) && oddNumber.MatchString(value) && last == nil {
				return nil, exit.Usagef(strings.Join(append([]string{root.Name}, names(levels[1:owner+1])...), " "), "--%s is %q: use decimal digits, without a leading zero", name, value)
			}
		default:
			commands := levels[len(levels)-1].subcommands
			i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) })
			if i < 0 || len(arguments) > 0 {
				arguments = append(arguments, arg)
			} else {
				levels = append(levels, &level{name: arg, flags: commands[i].Flags, subcommands: commands[i].Subcommands})
			}
		}
	}
	if helps && len(levels)+len(arguments) == 1 {
		return names(levels), nil // which shows the first help
	}
	if helps {
		return slices.Concat([]string{levels[0].name, "help"}, names(levels[1:]), arguments), nil
	}
	var line []string
	for _, l := range levels {
		line = append(append(line, l.name), l.given...)
	}
	return slices.Concat(line, arguments, last), nil
}

func names(levels []*level) (names []string) {
	for _, l := range levels {
		names = append(names, l.name)
	}
	return names
}

// oddNumber matches a number that Go does not read as decimal, such as 010 and 0x10, or
// that has a _ in it.
var oddNumber = regexp.MustCompile(`^[+-]?0[0-9xXbBoO]|^[+-]?[0-9].*_`)

func isNumber(flag cli.Flag) bool {
	switch flag.(type) {
	case *cli.IntFlag, *cli.Uint64Flag, *cli.Float64Flag:
		return true
	}
	return false
}

// ownerOf returns the innermost level that has a flag, and the flag. It is the last level, and
// nil, if none has it.
func ownerOf(levels []*level, name string) (owner int, flag cli.Flag) {
	for i, l := range slices.Backward(levels) {
		if flag := FindFlag(l.flags, name); flag != nil {
			return i, flag
		}
	}
	return len(levels) - 1, nil
}

// flagName returns an argument without the one or two hyphens of a flag.
func flagName(arg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
}

// FindFlag returns the flag of a name or an alias; nil if there is none.
func FindFlag(flags []cli.Flag, name string) cli.Flag {
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

func takesValue(flag cli.Flag) bool {
	documented, ok := flag.(cli.DocGenerationFlag)
	return ok && documented.TakesValue()
}

// Messages of Go's flag package, which urfave/cli v2 passes on.
var (
	unknownFlag  = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	missingValue = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	badValue     = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^ :]+): `)
)

// OnUsageError rewords an error of the parser in the style of this program, and
// suggests the flag that was probably meant.
func OnUsageError(c *cli.Context, err error, _ bool) error {
	message := err.Error()
	flags := slices.Concat(c.Command.Flags, c.App.Flags)
	if match := unknownFlag.FindStringSubmatch(message); match != nil {
		message = "no such flag: " + text.Printable("--"+match[1])
		if near, ok := typo.Nearest(match[1], visibleNames(flags)); ok {
			message += "; did you mean --" + near + "?"
		}
	} else if match := missingValue.FindStringSubmatch(message); match != nil {
		message = text.Printable("--"+match[1]) + " needs a value"
	} else if match := badValue.FindStringSubmatch(message); match != nil {
		message = fmt.Sprintf("--%s is %s: use %s", match[2], match[1], expected(FindFlag(flags, match[2])))
	} else {
		message = text.Printable(message)
	}
	return Errorf(c, "%s", message)
}

// visibleNames returns the long names of the flags that --help shows.
func visibleNames(flags []cli.Flag) []string {
	var names []string
	for _, flag := range flags {
		name := flag.Names()[0]
		if visible, ok := flag.(cli.VisibleFlag); (!ok || visible.IsVisible()) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// expected describes the values that a flag takes.
func expected(flag cli.Flag) string {
	switch flag.(type) {
	case *cli.BoolFlag:
		return "true or false, or leave the value out"
	case *cli.IntFlag, *cli.Uint64Flag:
		return "a whole number"
	case *cli.Float64Flag:
		return "a number"
	case *cli.DurationFlag:
		return "a duration, such as 1.5s or 200ms"
	}
	return "another value"
}

// CheckFlags returns a usage error if a flag was given a value that none of its kind takes:
// text, number, duration, port (0 means a free one) or IP address. An
// empty one is that of a shell's variable that is not set: to take it for no flag at all would
// leave out what was asked for, be it a ledger, a keyset or a check.
func CheckFlags(c *cli.Context, flags []cli.Flag) error {
	for _, flag := range flags {
		name := flag.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		empty := false
		switch flag.(type) {
		case *cli.StringFlag:
			empty = c.String(name) == ""
			if name == "ip" || name == "ui-ip" {
				if !empty && net.ParseIP(IP(c, name)) == nil {
					return Errorf(c, "--%s is %q: use an IP address", name, c.String(name))
				}
			}
		case *cli.IntFlag:
			if port := c.Int(name); strings.HasSuffix(name, "port") && (port < 0 || port > 65535) {
				return Errorf(c, "--%s is %d: ports are 0 to 65535", name, port)
			}
		case *cli.StringSliceFlag:
			empty = slices.Contains(c.StringSlice(name), "")
		case *cli.Float64Flag:
			if value := c.Float64(name); math.IsNaN(value) || math.IsInf(value, 0) {
				return Errorf(c, "--%s is %v: use a number", name, value)
			}
		case *cli.DurationFlag:
			if value := c.Duration(name); value < 0 {
				return Errorf(c, "--%s is %v: use 0 or more", name, value)
			}
		}
		if empty {
			return Errorf(c, "--%s is empty: give it a value, or leave it out", name)
		}
	}
	return nil
}

// ParseTime parses a number of seconds or a duration.
func ParseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if seconds, floatErr := strconv.ParseFloat(s, 64); floatErr == nil && !oddNumber.MatchString(s) && math.Abs(seconds) < math.MaxInt64/float64(time.Second) {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

// EachPair calls use with each value NAME=VALUE of a flag, until the first error.
func EachPair(c *cli.Context, flag string, use func(name, value string) error) error {
	for _, pair := range c.StringSlice(flag) {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return Errorf(c, "--%s is %q: use NAME=VALUE", flag, pair)
		}
		if err := use(name, value); err != nil {
			return err
		}
	}
	return nil
}

// IP returns the IP address of a flag: localhost and an address in brackets, as start-dev
// takes them, are others' spellings of one.
func IP(c *cli.Context, flag string) string {
	value := c.String(flag)
	if value == "localhost" {
		return "127.0.0.1"
	}
	if inside, ok := strings.CutPrefix(value, "["); ok {
		return strings.TrimSuffix(inside, "]")
	}
	return value
}
