// Package typo finds the name that a mistyped word was meant to be.
package typo

import "github.com/xrash/smetrics"

// maxLength bounds the length in bytes of a word: a longer one is not a mistyped
// name.
const maxLength = 64

// Nearest returns the name that is the fewest edits away from word. It reports
// false if more than about a third of each name's letters would have to change. Of
// equally near names the first wins.
func Nearest(word string, names []string) (string, bool) {
	if len(word) > maxLength {
		return "", false
	}
	best, fewest := "", -1
	for _, name := range names {
		edits := smetrics.WagnerFischer(word, name, 1, 1, 1)
		if edits*3 <= len(name)+1 && (fewest < 0 || edits < fewest) {
			best, fewest = name, edits
		}
	}
	return best, fewest >= 0
}
