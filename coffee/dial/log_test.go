package dial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
)

// TestSDKLoggerAftermath: what the SDK logs about an activity of a cancelled order,
// about a late heartbeat, or about a poll of a worker that stops, is demoted to debug.
// Other warnings stay warnings.
func TestSDKLoggerAftermath(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"context cancelled":     {context.Canceled, "debug"},
		"wrapped":               {fmt.Errorf("brew: %w", context.Canceled), "debug"},
		"cancelled by server":   {serviceerror.NewCanceled("cancelled"), "debug"},
		"cancelled activity":    {temporal.NewCanceledError(), "debug"}, // as the answer to a heartbeat says
		"activity is gone":      {serviceerror.NewNotFound("no such activity"), "debug"},
		"worker stops":          {errors.New("worker stopping"), "debug"}, // as a poll that was in flight ends
		"deadline":              {context.DeadlineExceeded, "warn"},
		"any other":             {errors.New("disk full"), "warn"},
		"server is unavailable": {serviceerror.NewUnavailable("no connection"), "warn"},
	} {
		var out bytes.Buffer
		NewLogger(zerolog.New(&out)).Warn("Activity error.", "Attempt", 1, "Error", test.err)
		var line struct{ Level, Error string }
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Level != test.want || line.Error != test.err.Error() {
			t.Errorf("%s: got %s (%v), want level %s", name, out.String(), err, test.want)
		}
	}
	// That the code does not fit is said once, in words, and without the SDK's stack.
	var misfit bytes.Buffer
	log := NewLogger(zerolog.New(&misfit).Level(zerolog.InfoLevel))
	unfit := errors.New("[TMPRL1100] nondeterministic workflow")
	log.Error("Workflow panic", "WorkflowID", "order-1", "Error", unfit, "StackTrace", "internal.go:1")
	log.Warn("Failed to process workflow task.", "WorkflowID", "order-1", "Error", unfit)
	if got := misfit.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "this worker's code does not fit the order's history") ||
		!strings.Contains(got, "coffee replay") || !strings.Contains(got, "order-1") || !strings.Contains(got, "TMPRL1100") || strings.Contains(got, "internal.go") {
		t.Errorf("got %s", got)
	}
	var out bytes.Buffer
	if NewLogger(zerolog.New(&out).Level(zerolog.InfoLevel)).Error("Activity error.", "Error", context.Canceled); out.Len() > 0 {
		t.Errorf("at level info it says %s", out.String())
	}
}
