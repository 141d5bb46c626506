package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	ordertimeline "example.com/coffee/coffee/timeline"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/timeline"
)

// TestTimelineOfAttempts: a worker is killed in a brew, and the next attempt jams. The
// timeline knows when each attempt began and how it ended, while the order runs and
// when it is over.
func TestTimelineOfAttempts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := newShop(t)
	services := coffee.ServiceConfig{BrewFailureRate: 0.5, BrewTime: 200 * time.Millisecond}
	id := jamsAtSecond(t, s, services)

	killed := coffeeCommand(t, "worker", "--address", s.conn.At.Address, "-n", s.conn.Namespace, "--ledger", s.Book, "--charge-time", "0s", "--brew-time", "9s")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	s.Place(ctx, id)
	s.Await(ctx, id, func(view desk.OrderView) bool { return view.BrewAttempts == 1 })
	// The brew has said that it began once a heartbeat has arrived.
	var began time.Time
	for began.IsZero() {
		history, err := s.Orders.History(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, pending := range history.Pending {
			if len(timeline.DecodeAttempts(pending.GetHeartbeatDetails())) == 1 {
				began = pending.GetLastStartedTime().AsTime()
			}
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			t.Fatal("no heartbeat has arrived")
		}
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed

	s.startWorkerWith(coffee.WorkerOptions{Services: services})
	s.Await(ctx, id, func(view desk.OrderView) bool { return view.BrewAttempts == 2 && !view.NextAttemptAt.IsZero() })
	check := func(when string) {
		history, err := s.Orders.History(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		var attempts []timeline.Row
		for _, row := range ordertimeline.New(history).Rows {
			if row.Kind == timeline.KindAttempt {
				attempts = append(attempts, row)
			}
		}
		if len(attempts) < 2 {
			t.Fatalf("%s: %+v", when, attempts)
		}
		lost, jam := attempts[0], attempts[1]
		if !lost.Start.Equal(began) || lost.Outcome != "heartbeat timeout: no sign of life" || lost.Estimated || lost.End.Sub(lost.Start) < 3*time.Second {
			t.Errorf("%s: the attempt whose worker was killed, and which began at %v, is %+v", when, began, lost)
		}
		// It is due one second after the end of the first one.
		if jam.Start.Sub(lost.End) < time.Second || jam.Outcome != "brew machine jammed" || jam.Estimated || jam.End.Sub(jam.Start) < 200*time.Millisecond {
			t.Errorf("%s: the attempt that jammed is %+v", when, jam)
		}
	}
	check("while it waits for the third attempt")
	s.WantCompleted(ctx, id, 525)
	check("when it is over")
}

// jamsAtSecond returns an order id whose second attempt to brew jams, and no other.
func jamsAtSecond(t *testing.T, s *shop, services coffee.ServiceConfig) string {
	t.Helper()
	services.BrewTime = 0
	brew := coffee.NewServiceFactory(services, s.Ledger, zerolog.Nop()).Brew()
	for i := range 1000 {
		order := coffee.OrderRequest{OrderID: fmt.Sprint(i), Drink: "latte", Size: coffee.SizeM}
		var jams strings.Builder
		for attempt := 1; attempt <= 3; attempt++ {
			err := brew.Brew(context.Background(), order, attempt)
			if err != nil && !errors.Is(err, coffee.ErrJammed) {
				t.Fatal(err)
			}
			fmt.Fprint(&jams, err != nil, " ")
		}
		if jams.String() == "false true false " {
			return order.OrderID
		}
	}
	t.Fatal("there is no such order")
	return ""
}
