package commands

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/commands/internal/tour"
	"example.com/coffee/devserver"
)

func tourCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "tour",
		Usage: "learn Temporal in a quarter of an hour, by seeing it happen",
		Description: "Leads through ten chapters in this terminal. It starts servers and workers of its own on free ports, runs the commands that it shows, " +
			"kills some of them, and leaves nothing behind.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "chapter", Usage: "begin with chapter `N`, a number or a name"},
			&cli.BoolFlag{Name: "only", Usage: "end after that chapter"},
			&cli.BoolFlag{Name: "list", Usage: "list the chapters"},
			&cli.BoolFlag{Name: "auto", Usage: "go on without waiting for Enter"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.Bool("list") {
				for i, chapter := range tour.Chapters {
					a.out.printf("%2d  %-8s  %s\n", i+1, chapter.Name, chapter.Title)
				}
				return nil
			}
			first, err := parseChapter(c)
			if err != nil {
				return err
			}
			if devserver.ServerVersion == "" {
				return devserver.ErrNoServer
			}
			err = tour.Run(c.Context, tour.Options{
				In: os.Stdin, Out: a.out.out, Auto: c.Bool("auto"), First: first, Only: c.Bool("only"),
				Connect: func(ctx context.Context, address string) (client.Client, error) {
					return a.connect(ctx, connectOptions{Options: client.Options{HostPort: address, Namespace: client.DefaultNamespace}})
				},
			})
			if c.Context.Err() != nil { // whatever it interrupted
				return c.Context.Err()
			}
			return err
		},
	}
}

// parseChapter returns the number of the chapter to begin with.
func parseChapter(c *cli.Context) (int, error) {
	text := c.String("chapter")
	if !c.IsSet("chapter") {
		return 1, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(tour.Chapters) {
		return n, nil
	}
	i := slices.IndexFunc(tour.Chapters, func(chapter tour.Chapter) bool { return strings.EqualFold(chapter.Name, text) })
	if i < 0 {
		return 0, usageErrorf(c, "there is no chapter %q; coffee tour --list lists them", text)
	}
	return i + 1, nil
}
