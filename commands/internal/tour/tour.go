// Package tour is the guided tour: chapters in which the program shows what Temporal
// does by doing it, on a server and workers of the tour's own.
//
// chapters.go has the chapters, guide.go what a chapter can do, process.go what it starts
// and kills, and page.go how it speaks.
package tour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.temporal.io/sdk/client"

	"example.com/coffee/internal/child"
	"example.com/coffee/internal/release"
	"example.com/coffee/internal/tempdir"
)

// Options say where a tour takes place.
type Options struct {
	// In is where the person types, and Out what the person reads.
	In  io.Reader
	Out io.Writer
	// Auto goes through without waiting for the person.
	Auto bool
	// First is the chapter to begin with; the first one is 1, and 0 means 1.
	First int
	// Only ends the tour after its first chapter.
	Only bool
	// Connect connects to the namespace default of the server at an address.
	Connect func(ctx context.Context, address string) (client.Client, error)
	// Work runs a worker of a release of the workflow, on the server at an address and a
	// ledger, until the context ends. It writes its log to w. Replay is coffee replay of that
	// release.
	Work   func(ctx context.Context, next release.Release, address, ledger string, w io.Writer) error
	Replay func(ctx context.Context, next release.Release, address string, stdout, stderr io.Writer) (code int)
}

// Chapter is a part of the tour.
type Chapter struct {
	// Name is a word to call it by.
	Name string
	// Title says what it shows.
	Title string
	run   func(g *guide)
}

// Run leads through the tour. Leaving it early is no error. Run returns an error if
// something does not happen as the tour says, or the context's error. It leaves
// nothing behind; what a tour that was killed left, the next one removes.
func Run(ctx context.Context, options Options) error {
	var lines <-chan string
	if !options.Auto {
		lines = readLines(options.In)
		fmt.Fprintln(options.Out, "[Enter] goes on; q and [Enter] leaves.\nNothing of yours is touched, and nothing is left behind.")
	}
	first := max(options.First, 1)
	for i, chapter := range Chapters[first-1:] {
		title := fmt.Sprintf("%d. %s", first+i, chapter.Title)
		fmt.Fprintf(options.Out, "\n%s\n%s\n", title, strings.Repeat("─", len([]rune(title))))
		quit, err := runChapter(ctx, options, lines, chapter)
		if err != nil {
			return fmt.Errorf("chapter %d, %s: %w", first+i, chapter.Name, err)
		}
		if quit || options.Only {
			return nil
		}
	}
	return nil
}

// runChapter runs a chapter, and reports whether the person has had enough.
func runChapter(ctx context.Context, options Options, lines <-chan string, chapter Chapter) (quit bool, err error) {
	dir, err := tempdir.Make("tour")
	if err != nil {
		return false, err
	}
	g := &guide{Options: options, ctx: ctx, lines: lines, dir: dir.Path(), shown: 5}
	defer func() {
		g.close()
		err = errors.Join(err, dir.Remove())
	}()
	if g.env, err = child.Environment(dir.Path()); err != nil {
		return false, err
	}
	g.env = append(g.env, fmt.Sprint("COLUMNS=", columns-len("  ")))
	err = g.run(chapter.run)
	if errors.Is(err, errQuit) {
		return true, nil
	}
	return false, err
}
