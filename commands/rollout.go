package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
)

func rolloutCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "rollout",
		Usage:     "move orders from one version of the workers to another",
		ArgsUsage: "[BUILD-ID]",
		Description: "Without arguments it lists the versions of the workers that were started with --build-id. " +
			"With one, new orders begin on that version from then on, and so do those under way that are not pinned. " +
			"Run it with the program of that version: it first replays the orders that would move on its own code, and moves nothing if one would break (exit code 7).",
		Flags: slices.Concat([]cli.Flag{
			&cli.Float64Flag{Name: "percent", Usage: "let only this `PERCENTAGE` of the orders move"},
			&cli.BoolFlag{Name: "back", Usage: "end a --percent rollout, or return to the version before"},
			deploymentFlag(""), outputFlag(), releaseFlag(),
		}, connectFlags()),
		Action: func(c *cli.Context) error {
			plan, err := parseRollout(c)
			if err != nil {
				return err
			}
			return a.withOrders(c.Context, plan.server, func(orders *coffee.Client) error {
				return rollOut(c.Context, a.out, orders, plan)
			})
		},
	}
}

// deploymentFlag names the deployment, for the commands that know versions.
func deploymentFlag(category string) cli.Flag {
	return &cli.StringFlag{Name: "deployment", Usage: "`NAME` of the deployment that the versions belong to", Value: coffee.DefaultDeployment, Category: category}
}

// rolloutPlan is what the flags ask for.
type rolloutPlan struct {
	server     connectOptions
	deployment string
	buildID    string // empty to look, or with back
	percent    float32
	back       bool
	asJSON     bool
	// replay replays a history on the workflow that is to take over.
	replay func(coffee.History) error
}

func parseRollout(c *cli.Context) (plan rolloutPlan, err error) {
	plan = rolloutPlan{deployment: c.String("deployment"), back: c.Bool("back"), percent: 100}
	if plan.replay, err = parseReplayer(c); err != nil {
		return plan, err
	}
	if c.Args().Len() > 1 {
		return plan, usageErrorf(c, "rollout takes one build id")
	}
	plan.buildID = c.Args().First()
	switch {
	case plan.back && plan.buildID != "":
		return plan, usageErrorf(c, "--back returns to the version before: leave the build id out")
	case plan.back && c.IsSet("percent"):
		return plan, usageErrorf(c, "--back and --percent exclude each other")
	case c.IsSet("percent") && plan.buildID == "":
		return plan, usageErrorf(c, "--percent needs a build id")
	}
	if c.IsSet("percent") {
		if plan.percent = float32(c.Float64("percent")); !(plan.percent > 0 && plan.percent < 100) {
			return plan, usageErrorf(c, "--percent is %v: use more than 0 and less than 100", c.Float64("percent"))
		}
	}
	for _, name := range []string{plan.deployment, plan.buildID} {
		if err := checkBuildID(c, name); err != nil && name != "" {
			return plan, err
		}
	}
	if plan.asJSON, err = wantsJSON(c); err != nil {
		return plan, err
	}
	plan.server, err = parseConnect(c)
	return plan, err
}

// rollOut looks at the versions, or changes which of them gets the orders.
func rollOut(ctx context.Context, out *output, orders *coffee.Client, plan rolloutPlan) error {
	d, err := orders.Deployment(ctx, plan.deployment)
	if errors.Is(err, coffee.ErrNoVersion) && plan.buildID == "" && !plan.back {
		d, err = coffee.Deployment{Name: plan.deployment, Versions: []coffee.DeployedVersion{}}, nil
	}
	if err != nil {
		return versionError(err, plan.deployment, plan.buildID)
	}
	switch {
	case plan.back:
		if err := rollBack(ctx, out, orders, d); err != nil {
			return err
		}
	case plan.buildID != "":
		if err := rollForward(ctx, out, orders, d, plan); err != nil {
			return err
		}
	}
	if plan.back || plan.buildID != "" { // show what has changed
		if d, err = orders.Deployment(ctx, plan.deployment); err != nil {
			return err
		}
	}
	if plan.asJSON {
		return out.json(d)
	}
	printVersions(out, d)
	return nil
}

// rollForward makes a version current, or lets it take a share, unless an order that
// would move does not replay.
func rollForward(ctx context.Context, out *output, orders *coffee.Client, d coffee.Deployment, plan rolloutPlan) error {
	if _, err := d.Version(plan.buildID); err != nil {
		return versionError(err, plan.deployment, plan.buildID)
	}
	report := replayed{Broken: []broken{}}
	for history, err := range orders.Movable(ctx) {
		if err = report.take(history, err, "", plan.replay); err != nil {
			return err
		}
	}
	if len(report.Broken) > 0 || slices.ContainsFunc(report.Unreadable, func(order unreadableOrder) bool { return order.begun }) {
		return printReplay(out, report, plan.asJSON)
	}
	for _, order := range report.Unreadable { // whatever version it goes to, it waits for its key
		out.notef("order %s cannot be read, and no worker has begun it: %s", coffee.Printable(order.OrderID), coffee.Printable(order.Problem))
	}
	out.notef("%s would move, and replayed", plural(report.Histories, "order", "orders"))
	for began := time.Now(); ; {
		var err error
		if plan.percent < 100 {
			err = orders.SetRamping(ctx, d, plan.buildID, plan.percent)
		} else {
			err = orders.SetCurrent(ctx, d, plan.buildID)
		}
		// A worker that has just started polls for one kind of task before the other.
		if err == nil || !strings.Contains(err.Error(), "is missing active task queues") || time.Since(began) > pollsPatience || !sleep(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

// pollsPatience is how long a worker has to poll for all kinds of tasks.
const pollsPatience = 5 * time.Second

// rollBack ends a ramp, or returns to the version that was current before.
func rollBack(ctx context.Context, out *output, orders *coffee.Client, d coffee.Deployment) error {
	if ramping, ok := d.Ramping(); ok {
		out.notef("ending the rollout of %s", coffee.Printable(ramping.BuildID))
		return orders.SetRamping(ctx, d, "", 0)
	}
	previous, ok := d.Previous()
	if !ok {
		return errors.New("there is no version to return to")
	}
	out.notef("returning to %s", coffee.Printable(previous.BuildID))
	return orders.SetCurrent(ctx, d, previous.BuildID)
}

// versionError explains that there is no such deployment or version.
func versionError(err error, deployment, buildID string) error {
	if !errors.Is(err, coffee.ErrNoVersion) {
		return err
	}
	hint := "coffee worker --build-id " + buildID
	if deployment != coffee.DefaultDeployment {
		hint += " --deployment " + deployment
	}
	if buildID == "" {
		return errors.New("there is no deployment " + coffee.Printable(deployment))
	}
	return &hintedError{fmt.Errorf("there is no version %s: %w", coffee.Printable(buildID), err), "start one with: " + hint}
}

// printVersions prints the versions for people.
func printVersions(out *output, d coffee.Deployment) {
	if len(d.Versions) == 0 {
		out.printf("no versions: workers get one with coffee worker --build-id\n")
		return
	}
	out.printf("%-20s %-16s %8s %8s  %s\n", "VERSION", "STATE", "WORKERS", "RUNNING", "SINCE")
	for _, v := range d.Versions {
		state := v.State
		if v.Percent > 0 {
			state += fmt.Sprintf(" %g %%", v.Percent)
		}
		running := "?"
		if v.Running >= 0 {
			running = fmt.Sprint(v.Running)
		}
		out.printf("%-20s %-16s %8d %8s  %s\n", coffee.Printable(v.BuildID), state, v.Workers, running, v.CreatedAt.Local().Format(time.DateTime))
	}
}
