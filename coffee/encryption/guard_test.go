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

// TestTrial: a worker that has read nothing takes one workflow task at a time, none within a
// second after it has refused one, and no activity. One that has read something takes all.
func TestTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard("Order")
		tuner, err := g.Tuner(5)
		if err != nil {
			t.Fatal(err)
		}
		tasks, activities := tuner.GetWorkflowTaskSlotSupplier(), tuner.GetActivityTaskSlotSupplier()
		given := make(chan *worker.SlotPermit, 100)
		reserve := func(from worker.SlotSupplier, n int) {
			for range n {
				go func() {
					if permit, err := from.ReserveSlot(t.Context(), nil); err == nil {
						given <- permit
					}
				}()
			}
			synctest.Wait()
		}
		reserve(tasks, 10)
		reserve(activities, 5)
		if len(given) != trialSlots || activities.TryReserveSlot(nil) != nil {
			t.Fatalf("it takes %d at once", len(given))
		}
		g.refuse("Order", "a", errDamaged)
		tasks.ReleaseSlot(released{permit: <-given})
		time.Sleep(refusalPause - time.Nanosecond)
		synctest.Wait()
		if len(given) != trialSlots-1 {
			t.Error("it takes the next at once")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(given) != trialSlots {
			t.Error("it takes no other")
		}
		g.read()
		synctest.Wait()
		if len(given) != 14 { // one was given back
			t.Errorf("now it takes %d at once", len(given))
		}
		for len(given) > 0 { // those of the trial, too
			if permit := <-given; permit.UserData != nil {
				tasks.ReleaseSlot(released{permit: permit})
			}
		}
	})
}
