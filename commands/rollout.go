package commands

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/text"
)

func rolloutCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "rollout",
		Usage:     "move orders from one version of the workers to another",
		ArgsUsage: "[BUILD-ID]",
		Description: "Without arguments it lists the versions of the workers that were started with --build-id. " +
			"With one, new orders begin on that version from then on, and so do those under way that are not pinned. " +
			"It ends a --percent rollout of another version. " +
			"Run it with the program of that version: it first replays the orders that would move on its own code, and moves nothing if one would break (exit code 7). " +
			"Nor does it move anything to a version that no worker is polling for.",
		Flags: slices.Concat([]cli.Flag{
			&cli.Float64Flag{Name: "percent", Usage: "let only this `PERCENTAGE` of the orders move", DefaultText: "all"},
			&cli.BoolFlag{Name: "back", Usage: "end a --percent rollout, or return to the version before"},
			&cli.BoolFlag{Name: "force", Usage: "do it even if no worker of the version is polling: its orders wait for one"},
			&cli.StringFlag{Name: "move-from", Usage: "move the orders that are pinned to this `BUILD-ID`, and nothing else (a versioning override)"},
			&cli.BoolFlag{Name: "delete-version", Usage: "delete a version that is not in use"},
			local.DeploymentFlag(""), commandline.OutputFlag(),
		}, connect.Flags()),
		Action: run(a, parseRollout, runRollout),
	}
}

type rolloutPlan struct {
	server     connect.Options
	deployment string
	buildID    string // empty to look, or with back
	percent    float32
	back       bool
	force      bool
	moveFrom   string // the version whose pinned orders move; empty unless they do
	remove     bool
	asJSON     bool
}

func parseRollout(c *cli.Context) (plan rolloutPlan, err error) {
	plan = rolloutPlan{deployment: c.String("deployment"), back: c.Bool("back"), percent: 100,
		force: c.Bool("force"), moveFrom: c.String("move-from"), remove: c.Bool("delete-version"), asJSON: commandline.WantsJSON(c)}
	if c.Args().Len() > 1 {
		return plan, commandline.Errorf(c, "rollout takes one build id")
	}
	plan.buildID = c.Args().First()
	var ways []string
	for _, name := range []string{"back", "percent", "move-from", "delete-version"} {
		if c.IsSet(name) {
			ways = append(ways, "--"+name)
		}
	}
	switch {
	case plan.back && plan.buildID != "":
		return plan, commandline.Errorf(c, "--back returns to the version before: leave the build id out")
	case len(ways) > 1:
		return plan, commandline.Errorf(c, "%s and %s exclude each other", ways[0], ways[1])
	case plan.buildID == "" && !plan.back && len(ways) > 0:
		return plan, commandline.Errorf(c, "%s needs a build id", ways[0])
	case plan.force && plan.remove || plan.force && plan.buildID == "" && !plan.back:
		return plan, commandline.Errorf(c, "--force needs a version to move orders to")
	case c.IsSet("move-from") && plan.moveFrom == plan.buildID:
		return plan, commandline.Errorf(c, "--move-from is %s, the version to move orders to", text.Printable(plan.moveFrom))
	}
	if c.IsSet("percent") {
		if plan.percent = float32(c.Float64("percent")); !(plan.percent > 0 && plan.percent < 100) {
			return plan, commandline.Errorf(c, "--percent is %v: use more than 0 and less than 100", c.Float64("percent"))
		}
	}
	for _, name := range []string{plan.deployment, plan.buildID} {
		if err := local.CheckBuildID(c, name); err != nil && name != "" && !plan.remove { // workers of others may have any name
			return plan, err
		}
	}
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runRollout(ctx context.Context, a *app.App, plan rolloutPlan) error {
	return connect.WithOrders(ctx, a, plan.server, func(orders *desk.Client) error {
		return rollOut(ctx, a, rollout.New(orders), plan)
	})
}

// rollOut looks at the versions, or changes which of them gets the orders.
func rollOut(ctx context.Context, a *app.App, orders *rollout.Client, plan rolloutPlan) error {
	d, err := orders.Deployment(ctx, plan.deployment)
	if err != nil {
		return err
	}
	if plan.back || plan.buildID != "" {
		r := &change{out: a.Out, check: a.Replay(), orders: orders, d: d, plan: plan}
		if err = r.change(ctx); err != nil {
			return err
		}
		if d, err = orders.Deployment(ctx, plan.deployment); err != nil { // show what has changed
			return err
		}
	}
	return a.Out.Show(plan.asJSON, d, func(out *terminal.Output) { printVersions(out, d) })
}

// printVersions prints the versions for people.
func printVersions(out *terminal.Output, d rollout.Deployment) {
	if len(d.Versions) == 0 {
		out.Printf("no versions: workers get one with coffee worker --build-id\n")
		return
	}
	out.Printf("%-20s %-16s %8s %8s  %s\n", "VERSION", "STATE", "WORKERS", "RUNNING", "SINCE")
	for _, v := range d.Versions {
		state := v.State
		if v.Percent > 0 {
			state += fmt.Sprintf(" %g %%", v.Percent)
		}
		out.Printf("%-20s %-16s %8d %8s  %s\n", text.Printable(v.BuildID), state, v.Workers, known(v.Running), v.CreatedAt.Local().Format(time.DateTime))
	}
}

// known returns a count, or a question mark for -1.
func known(n int64) string {
	if n < 0 {
		return "?"
	}
	return fmt.Sprint(n)
}
