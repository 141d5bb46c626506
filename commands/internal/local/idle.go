package local

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/monitor"
	"example.com/coffee/commands/internal/waiting"
	"example.com/coffee/internal/sleep"
)

// versionInterval is how often a worker asks whether its version gets orders.
const versionInterval = 5 * time.Second

// versionWatch knows whether the version of a worker gets orders.
type versionWatch struct {
	idle atomic.Pointer[rollout.IdleError] // nil if it gets orders, or if that is not known
}

// WatchVersion logs when the version of a worker gets no orders, and when it does again.
// The worker is not ready in between.
func WatchVersion(a *app.App, tasks *background.Tasks, conn *connect.Connection, version worker.WorkerDeploymentVersion, meters *monitor.Monitor) {
	var w versionWatch
	meters.Check(w.check)
	tasks.Start(func(ctx context.Context) error {
		for {
			asking, cancel := context.WithTimeout(ctx, waiting.AnswerPatience)
			err := conn.Versions().CheckVersion(asking, version)
			cancel()
			if ctx.Err() != nil {
				return nil
			}
			was, changed := w.set(err)
			switch {
			case changed && err != nil:
				a.Log.Warn().Err(err).Msg(idleHint(version))
			case changed && was:
				a.Log.Info().Msg("this worker gets orders now")
			}
			if !sleep.For(ctx, versionInterval) {
				return nil
			}
		}
	})
}

// set takes the answer, and returns whether the version was idle, and whether that or the
// reason has changed. Without an answer nothing has.
func (w *versionWatch) set(err error) (was, changed bool) {
	idle, ok := errors.AsType[*rollout.IdleError](err)
	if !ok && err != nil {
		return false, false
	}
	before := w.idle.Swap(idle)
	was = before != nil
	return was, was != (idle != nil) || was && *before != *idle
}

// check is a readiness check.
func (w *versionWatch) check(context.Context) error {
	if idle := w.idle.Load(); idle != nil { // not a nil in an error
		return idle
	}
	return nil
}

// idleHint says what to do about a version that gets no orders.
func idleHint(version worker.WorkerDeploymentVersion) string {
	if version.BuildID == "" {
		return "name the worker's version with --build-id"
	}
	hint := "new orders come to it after: coffee rollout " + version.BuildID
	if version.DeploymentName != coffee.DefaultDeployment {
		hint += " --deployment " + version.DeploymentName
	}
	return hint
}
