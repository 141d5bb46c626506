package text

import "strings"

// Wrap breaks a line between its words where it is wider than a number of columns. What
// follows is below the last of the line's columns, which two spaces separate, or else
// indented like the line.
func Wrap(line string, width int) (lines []string) {
	text := []rune(line)
	indent := len(line) - len(strings.TrimLeft(line, " "))
	if i := strings.LastIndex(line, "  "); i >= indent {
		if column := len([]rune(line[:i])) + 2; column < width*3/4 {
			indent = column
		}
	}
	for len(text) > width {
		end := width
		for end > indent && text[end] != ' ' {
			end--
		}
		if end == indent { // a word longer than a line
			end = width
		}
		lines = append(lines, strings.TrimRight(string(text[:end]), " "))
		text = append([]rune(strings.Repeat(" ", indent)), []rune(strings.TrimLeft(string(text[end:]), " "))...)
	}
	return append(lines, string(text))
}
