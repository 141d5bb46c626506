// Package text makes text that strangers wrote harmless: clients and workers in other
// languages may send any, of any length.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// It is cut to size where it comes in, so that lists and pages need not do it.
const (
	MaxName = 64  // characters of a drink, a size, a price list
	MaxText = 200 // characters of a reason or a failure
)

// Quote makes text from outside safe to show in a message: quoted, cut to 64
// characters, with control characters, bidirectional marks and the like escaped.
func Quote(s string) string { return fmt.Sprintf("%q", Clip(s, MaxName)) }

// Printable returns s unchanged if a terminal can show it harmlessly, and quoted
// with escapes otherwise.
func Printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// Clip cuts s after n characters, and marks the cut with an ellipsis.
func Clip(s string, n int) string {
	count := 0
	for i := range s {
		if count == n {
			return s[:i] + "…"
		}
		count++
	}
	return s
}

// plainText makes a text one that every program takes: valid UTF-8, in one line, without
// what a terminal may obey, and not too long.
func Plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	return Clip(strings.TrimSpace(s), maxPlain)
}

// maxPlain is the length of the longest message of a failure, in characters. The server
// cuts the messages of failures that are longer than a few kilobytes.
const maxPlain = 1000

// Plural returns a count and what is counted, one thing or many.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
