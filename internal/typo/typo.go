// Package typo finds the name that somebody meant.
package typo

import "github.com/xrash/smetrics"

// maxLength bounds what a word is compared with: nobody mistypes a longer name.
const maxLength = 64

// Nearest returns the name that takes the fewest edits to get from word to it. It
// reports false if more than about a third of each name's letters would have to
// change. Of names that are equally near, the first counts.
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
