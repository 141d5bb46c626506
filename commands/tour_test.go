package commands

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/tour"
)

// TestTour goes through the tour. A chapter fails if what it says does not happen.
func TestTour(t *testing.T) {
	t.Parallel()
	a := app.New(io.Discard, io.Discard, app.Options{})
	for i, chapter := range tour.Chapters {
		t.Run(chapter.Name, func(t *testing.T) {
			if slices.Contains([]string{"jam", "cancel", "queue", "replay"}, chapter.Name) {
				rarely(t)
			}
			t.Parallel()
			var out bytes.Buffer
			options := tourOptions(a)
			options.Out, options.Auto, options.First, options.Only = &out, true, i+1, true
			err := tour.Run(context.Background(), options)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			// It ends with places in the code, which must be there.
			_, places, found := strings.Cut(out.String(), "\nWhere it lives:\n")
			if !found {
				t.Fatalf("it does not say where things are:\n%s", out.String())
			}
			for line := range strings.Lines(places) {
				// What a place has goes on in lines that are indented further.
				if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(line, "     ") {
					if _, err := os.Stat(filepath.Join("..", fields[0])); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}
