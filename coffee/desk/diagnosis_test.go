package desk

import (
	"testing"
	"time"

	"example.com/coffee/coffee"
)

// TestDiagnoser: for twenty seconds after the server was away, its workers are not
// missing but reconnecting.
func TestDiagnoser(t *testing.T) {
	t.Parallel()
	var d Diagnoser
	for _, step := range []struct {
		second         time.Duration
		away, noWorker bool
		want           Diagnosis
	}{
		{0, false, false, ""},
		{1, false, true, "no_worker"},
		{2, true, false, "server_away"},
		{3, true, true, "server_away"},
		{60, false, true, "reconnecting"},
		{61, false, false, ""},
		{62, false, true, "reconnecting"},
		{80, false, true, "reconnecting"},
		{81, false, true, "no_worker"},
		{82, true, false, "server_away"},
		{83, false, false, ""},
	} {
		var waits Waiting
		if step.noWorker {
			waits.Diagnosis = DiagnosisNoWorker
		}
		if got := d.Observe(time.Unix(0, 0).Add(step.second*time.Second), step.away, waits); got.Diagnosis != step.want {
			t.Errorf("after %d s: %q, want %q", step.second, got.Diagnosis, step.want)
		}
	}
}

func TestOldestWaiting(t *testing.T) {
	t.Parallel()
	view := func(id string, status coffee.OrderStatus, age time.Duration) OrderView {
		v := OrderView{OrderState: coffee.OrderState{OrderID: id}, Status: status, StartedAt: time.Now().Add(-age)}
		if status != coffee.StatusRunning {
			v.EndedAt = time.Now()
		}
		return v
	}
	over, young := view("over", coffee.StatusCompleted, time.Hour), view("young", coffee.StatusRunning, time.Second)
	if got := OldestWaiting([]OrderView{over, young}); got != "" {
		t.Errorf("got %q", got)
	}
	if got := OldestWaiting([]OrderView{young, view("old", coffee.StatusRunning, time.Minute), view("older", coffee.StatusRunning, time.Hour), over}); got != "older" {
		t.Errorf("got %q", got)
	}
}
