package timeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
)

// Attempt is one attempt at a brew, as told by the worker that made it.
//
// Temporal records when the last attempt began, and why the one before it failed,
// and nothing else about retries. So each brew keeps a list of its attempts. It
// hands the list on in two places: in the details of its heartbeats, which the
// server keeps for the next attempt, and in the details of a jam, which the server
// copies into the history when the next attempt starts.
type Attempt struct {
	// Number counts from 1.
	Number int `json:"attempt"`
	// Began is when the server handed the attempt to a worker, on the order's clock.
	Began time.Time `json:"began"`
	// Ended is when the attempt failed. If Failure is empty, it is when the worker
	// last gave a sign of life.
	Ended time.Time `json:"ended"`
	// Failure says why the attempt failed. It is empty while the attempt is under
	// way, and stays empty if the worker was lost.
	Failure string `json:"failure,omitempty"`
}

// maxAttemptList bounds the list of attempts, which grows with each retry. A brew
// is tried [coffee.MaxAttempts] times; other programs may declare other policies.
const maxAttemptList = 10

// Recorder returns an interceptor for a worker, which has its brews keep the list of their
// attempts. Without it, a timeline estimates when attempts began and ended.
func Recorder() interceptor.WorkerInterceptor { return &recorder{} }

type recorder struct {
	interceptor.WorkerInterceptorBase
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (*recorder) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &recording{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}}
}

// recording is one attempt of an activity.
type recording struct {
	interceptor.ActivityInboundInterceptorBase
	attempts []Attempt // including this one; nil unless it is a brew
	began    time.Time // on this machine's clock
}

// Init implements [interceptor.ActivityInboundInterceptor].
func (r *recording) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	return r.Next.Init(&heartbeats{interceptor.ActivityOutboundInterceptorBase{Next: outbound}, r})
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (r *recording) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if activity.GetInfo(ctx).ActivityType.Name == coffee.ActivityBrewCoffee {
		r.begin(ctx)
	}
	result, err := r.Next.ExecuteActivity(ctx, in)
	var jam *temporal.ApplicationError
	if r.attempts == nil || !errors.As(err, &jam) || jam.Type() != coffee.ErrorTypeJammed {
		return result, err
	}
	attempts := r.list(jam.Message())
	activity.RecordHeartbeat(ctx, attempts) // the next attempt reads it
	return result, temporal.NewApplicationErrorWithOptions(jam.Message(), jam.Type(), temporal.ApplicationErrorOptions{
		Category: jam.Category(), Cause: jam.Unwrap(), Details: []any{attempts},
	})
}

// begin begins the list with what the attempts before this one left.
func (r *recording) begin(ctx context.Context) {
	info := activity.GetInfo(ctx)
	// A worker of another program may have recorded something else, or nothing.
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &r.attempts) != nil {
		r.attempts = nil
	}
	if extra := len(r.attempts) + 1 - maxAttemptList; extra > 0 {
		r.attempts = r.attempts[extra:]
	}
	r.attempts = append(r.attempts, Attempt{Number: int(info.Attempt), Began: info.StartedTime, Ended: info.StartedTime})
	r.began = time.Now()
}

// list returns the attempts as of now. Unless failure is empty, the one under way has
// failed for that reason.
func (r *recording) list(failure string) []Attempt {
	list := slices.Clone(r.attempts)
	current := &list[len(list)-1]
	current.Ended = current.Began.Add(time.Since(r.began)) // independent of this machine's clock
	current.Failure = text.Clip(failure, text.MaxText)
	return list
}

// heartbeats adds the list of attempts to the heartbeats of a brew.
type heartbeats struct {
	interceptor.ActivityOutboundInterceptorBase
	attempt *recording
}

// RecordHeartbeat implements [interceptor.ActivityOutboundInterceptor].
func (h *heartbeats) RecordHeartbeat(ctx context.Context, details ...any) {
	if h.attempt.attempts != nil && len(details) == 0 {
		details = []any{h.attempt.list("")}
	}
	h.Next.RecordHeartbeat(ctx, details...)
}

// attemptsInFailure returns the attempts that the failure of an attempt lists: that
// of a jam, or of a timeout that ended the activity. It returns nil if the failure
// lists none.
func attemptsInFailure(failure *failurepb.Failure) []Attempt {
	return DecodeAttempts(cmp.Or(failure.GetTimeoutFailureInfo().GetLastHeartbeatDetails(), failure.GetApplicationFailureInfo().GetDetails()))
}

// DecodeAttempts decodes the details of a brew's heartbeat. It returns nil if they
// are not a list of attempts. The texts in it are clipped.
func DecodeAttempts(details *commonpb.Payloads) []Attempt {
	var attempts []Attempt
	if len(details.GetPayloads()) != 1 || !coffee.Decode(coffee.FirstPayload(details), &attempts) {
		return nil
	}
	for i := range attempts {
		attempts[i].Failure = text.Clip(attempts[i].Failure, text.MaxText)
	}
	return attempts
}
