package commands

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/internal/sleep"
)

// TestIdleVersions: the workers of a version that is not rolled out, of none while one is,
// and of another deployment get no orders; those with a share of the new orders, or with
// old ones, do.
func TestIdleVersions(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	version := func(deployment, buildID string) worker.WorkerDeploymentVersion {
		return worker.WorkerDeploymentVersion{DeploymentName: deployment, BuildID: buildID}
	}
	// await waits until an answer is as it should be: the server's parts learn of a
	// change one after another.
	await := func(what string, v worker.WorkerDeploymentVersion, idle bool, current string) {
		t.Helper()
		for {
			err := s.versions().CheckVersion(ctx, v)
			var said *rollout.IdleError
			if !errors.As(err, &said) && err != nil {
				t.Fatal(err)
			}
			if (said != nil) == idle && (said == nil || said.Current.BuildID == current) {
				return
			}
			if !sleep.For(ctx, 20*time.Millisecond) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	pinned := func(version worker.WorkerDeploymentVersion) worker.DeploymentOptions {
		return worker.DeploymentOptions{UseVersioning: true, Version: version, DefaultVersioningBehavior: workflow.VersioningBehaviorPinned}
	}
	v1, v2, none, typo := version("coffee", "v1"), version("coffee", "v2"), worker.WorkerDeploymentVersion{}, version("cofee", "v1")
	slow := coffee.ServiceConfig{BrewTime: 5 * time.Second}
	s.startWorkerWith(coffee.WorkerOptions{Services: slow, Version: pinned(v1)})
	await("before a rollout", v1, true, "")
	await("before a rollout, without a version", none, false, "")
	plan := rolloutPlan{deployment: "coffee", buildID: "v1", percent: 100, force: true}
	s.rollOut(ctx, plan)
	await("current", v1, false, "")
	await("without a version", none, true, "v1")
	s.startWorkerWith(coffee.WorkerOptions{Version: pinned(typo)})
	await("of another deployment", typo, true, "v1")
	s.startWorkerWith(coffee.WorkerOptions{Version: pinned(v2)})
	await("before its rollout", v2, true, "v1")
	s.placeSome(ctx, "old")
	plan.buildID, plan.percent = "v2", 10
	s.rollOut(ctx, plan)
	await("with a tenth of the orders", v2, false, "")
	plan.percent = 100
	s.rollOut(ctx, plan)
	await("with orders that are under way", v1, false, "")
	await("when those have ended", v1, true, "v2")
	if err := s.versions().CheckVersion(ctx, v1); err == nil || err.Error() != "this worker gets no orders: it has coffee:v1, and coffee:v2 is current" {
		t.Errorf("it says: %v", err)
	}
}
