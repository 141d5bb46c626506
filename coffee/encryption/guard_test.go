package encryption

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/worker"
)

// TestGuard: a worker that has refused three different orders, and can read nothing, not
// even what it looks at then, should stop. Nobody else should.
func TestGuard(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refuse   []string
		kind     string
		readNow  bool // something, before it refuses
		canRead  bool // what it looks at
		hopeless bool
	}{
		"three orders":               {[]string{"a", "b", "c"}, "Order", false, false, true},
		"one order again and again":  {[]string{"a", "a", "a", "a"}, "Order", false, false, false},
		"something else":             {[]string{"a", "b", "c"}, "Transfer", false, false, false},
		"it has read something":      {[]string{"a", "b", "c"}, "Order", true, false, false},
		"it can read something else": {[]string{"a", "b", "c"}, "Order", false, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := NewGuard("Order")
			told := 0
			g.Refused = func(string, error) { told++ }
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				looks := 0
				done <- g.Wait(ctx, func(context.Context) error {
					switch looks++; {
					case looks == 1:
						return errors.New("the server is away")
					case looks > 2 && test.canRead:
						g.read()
					}
					return nil
				})
			}()
			time.Sleep(lookAgain)
			synctest.Wait()
			if err := g.Check(ctx); err != nil {
				t.Errorf("%s: it is not ready before anything has come: %v", name, err)
			}
			if test.readNow {
				g.read()
			}
			for _, id := range test.refuse {
				g.refuse(test.kind, id, errDamaged)
			}
			time.Sleep(lookAgain)
			synctest.Wait()
			readable := test.readNow || test.canRead || test.kind != "Order"
			if err := g.Check(ctx); (err == nil) != readable || told != len(test.refuse) {
				t.Errorf("%s: ready is %v, told %d times", name, err, told)
			}
			cancel()
			if err := <-done; (err != nil) != test.hopeless || err != nil && !errors.Is(err, errDamaged) {
				t.Errorf("%s: it ends with %v", name, err)
			}
		})
	}
	var none *Guard // of a client
	none.read()
	none.refuse("Order", "a", errDamaged)
}

// released is what the SDK says about a slot that it gives back.
type released struct {
	worker.SlotReleaseInfo
	permit *worker.SlotPermit
}

func (r released) Permit() *worker.SlotPermit { return r.permit }

// TestTrial: a worker that has read nothing takes one workflow task at a time, and none within
// a second after it has refused one. Once it has looked around it takes one activity, and no
// other if it has refused something. One that has read something takes all.
func TestTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard("Order")
		tuner, err := g.Tuner(5)
		if err != nil {
			t.Fatal(err)
		}
		type supplier struct {
			worker.SlotSupplier
			given chan *worker.SlotPermit
		}
		reserve := func(from worker.SlotSupplier, n int) supplier {
			given := make(chan *worker.SlotPermit, n)
			for range n {
				go func() {
					if permit, err := from.ReserveSlot(t.Context(), nil); err == nil {
						given <- permit
					}
				}()
			}
			return supplier{from, given}
		}
		tasks, activities := reserve(tuner.GetWorkflowTaskSlotSupplier(), 10), reserve(tuner.GetActivityTaskSlotSupplier(), 5)
		want := func(when string, wantTasks, wantActivities int) {
			t.Helper()
			synctest.Wait()
			if len(tasks.given) != wantTasks || len(activities.given) != wantActivities {
				t.Errorf("%s it takes %d tasks and %d activities, not %d and %d", when, len(tasks.given), len(activities.given), wantTasks, wantActivities)
			}
		}
		release := func(s supplier) { s.ReleaseSlot(released{permit: <-s.given}) }

		want("before it has looked around", 2, 0) // the SDK takes two for one task at a time
		if activities.TryReserveSlot(nil) != nil {
			t.Error("it begins an activity without a poll")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Wait(ctx, func(context.Context) error { return nil }) }()
		want("then", 2, 1)
		release(activities)
		want("after an activity", 2, 1)
		g.refuse("Order", "a", errDamaged)
		release(tasks)
		release(activities)
		time.Sleep(time.Second - time.Nanosecond)
		want("within a second after a refusal", 1, 0)
		time.Sleep(time.Nanosecond)
		want("after it", 2, 0)
		g.read()
		want("once it has read something", 9, 3) // all but those that were given back
		for _, s := range []supplier{tasks, activities} {
			for len(s.given) > 0 { // those of the trial, too
				release(s)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
