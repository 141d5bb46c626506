package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/release"
	"example.com/coffee/internal/sleep"
)

// TestRolloutReplays: a release without its patch is refused if orders would move to
// it, and nothing moves. With the patch they move, under load, and all end. Pinned
// orders do not move, so even the broken release does them no harm.
func TestRolloutReplays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		behavior workflow.VersioningBehavior
		release  string
		refused  bool
	}{
		{"auto-upgrade, broken", workflow.VersioningBehaviorAutoUpgrade, "broken", true},
		{"auto-upgrade, patched", workflow.VersioningBehaviorAutoUpgrade, "patched", false},
		{"pinned, broken", workflow.VersioningBehaviorPinned, "broken", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s := newShop(t)
			moves := test.behavior == workflow.VersioningBehaviorAutoUpgrade && !test.refused
			services := coffee.ServiceConfig{BrewTime: 2 * time.Second}
			first := services
			switch { // no order ends before it can move
			case moves:
				first = coffee.ServiceConfig{BrewTime: 9 * time.Second, BrewFailureRate: 1}
			case test.refused:
				first = coffee.ServiceConfig{BrewTime: 9 * time.Second}
			}
			stop := s.startWorkerWith(coffee.WorkerOptions{Services: first, Version: versioned("v1", test.behavior)})
			plan := rolloutPlan{deployment: "coffee", buildID: "v1", percent: 100, force: true}
			s.rollOut(ctx, plan)
			ids := s.placeSome(ctx, "old")

			next := release.Named(test.release)
			s.startWorkerWith(coffee.WorkerOptions{Services: services, Register: next.Register, Version: versioned("v2", test.behavior)})
			plan.buildID = "v2"
			if test.refused {
				err := s.tryRollOut(ctx, plan, next)
				if e := exit.In(err); e == nil || e.Code != 7 || !strings.Contains(e.Error(), "would break") {
					t.Errorf("got %v", err)
				}
			} else if err := s.tryRollOut(ctx, plan, next); err != nil {
				t.Fatal(err)
			}
			if moves {
				stop() // it hands its brews back
			}
			ids = append(ids, s.placeSome(ctx, "new")...)
			for _, id := range ids {
				s.WantCompleted(ctx, id, 525)
				view, err := s.Orders.Describe(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				moved := moves || !test.refused && strings.HasPrefix(id, "new")
				if want := map[bool]string{false: "v1", true: "v2"}[moved]; view.WorkerBuildID != want {
					t.Errorf("order %s ended on %s, want %s", id, view.WorkerBuildID, want)
				}
				if history := s.history(ctx, id); strings.Contains(history.String(), "NON_DETERMINISTIC") {
					t.Errorf("a workflow task of order %s has failed", id)
				}
			}
			s.wantTenCharges(ctx)
		})
	}
}

// TestRolloutMovesOrdersWithoutVersion: orders of workers without a version go to the
// first version that becomes current, so its code has to fit them.
func TestRolloutMovesOrdersWithoutVersion(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	services := coffee.ServiceConfig{BrewTime: 2 * time.Second}
	// No order ends before it can move.
	stop := s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second, BrewFailureRate: 1}})
	ids := s.placeSome(ctx, "old")
	for i, name := range []string{release.Broken, release.Patched} {
		next, buildID := release.Named(name), fmt.Sprintf("v%d", i+1)
		s.startWorkerWith(coffee.WorkerOptions{Services: services, Register: next.Register,
			Version: versioned(buildID, workflow.VersioningBehaviorPinned)})
		err := s.tryRollOut(ctx, rolloutPlan{deployment: "coffee", buildID: buildID, percent: 100, force: true}, next)
		e := exit.In(err)
		if refused := e != nil && e.Code == 7; refused != (name == release.Broken) || err != nil && !refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop() // it hands its brews back
	for _, id := range ids {
		s.WantCompleted(ctx, id, 525)
	}
}

// placeSome places orders, and waits until each is brewing.
func (s *shop) placeSome(ctx context.Context, prefix string) (ids []string) {
	s.T.Helper()
	for i := range 5 {
		ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
		s.Place(ctx, ids[i])
	}
	for _, id := range ids {
		s.Await(ctx, id, func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
	}
	return ids
}

// unchecked is a release that no history keeps from being rolled out.
type unchecked struct{ app.Release }

func (unchecked) Replay(desk.History) error { return nil }

// rollOut rolls a version out, unchecked, as soon as its worker has polled.
func (s *shop) rollOut(ctx context.Context, plan rolloutPlan) {
	s.T.Helper()
	if err := s.tryRollOut(ctx, plan, unchecked{}); err != nil {
		s.T.Fatal(err)
	}
}

func (s *shop) tryRollOut(ctx context.Context, plan rolloutPlan, release app.Release) error {
	s.T.Helper()
	for {
		var out bytes.Buffer
		err := rollOut(ctx, app.New(&out, io.Discard, app.Options{Release: release}), s.versions(), plan)
		if !errors.Is(err, rollout.ErrNoVersion) && !errors.Is(err, rollout.ErrVersionRefused) {
			return err
		}
		if !sleep.For(ctx, 50*time.Millisecond) {
			s.T.Fatal(err)
		}
	}
}

// wantTenCharges checks that each of ten orders was charged once. (The audit would
// replay them on the code of today, which has no greeting.)
func (s *shop) wantTenCharges(ctx context.Context) {
	s.T.Helper()
	balance, err := s.Ledger.Balance(ctx)
	if err != nil || balance.Charges != 10 || balance.Charged != 5250 || balance.Refunds != 0 {
		s.T.Errorf("the ledger has %+v, %v", balance, err)
	}
}
