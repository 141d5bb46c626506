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

	"example.com/coffee/internal/text"
)

// Attempt is one attempt of an activity, as told by the worker that made it.
//
// Temporal records when the last attempt began, and why the one before it failed, and
// nothing else about retries. So an activity of a [Recorder] keeps a list of its attempts.
// It hands the list on in two places: in the details of its heartbeats, which the server
// keeps for the next attempt, and in the details of a failure, which the server copies into
// the history when the next attempt starts.
type Attempt struct {
	// Number counts from 1.
	Number int `json:"attempt"`
	// Began is when the server handed the attempt to a worker, on the workflow's clock.
	Began time.Time `json:"began"`
	// Ended is when the attempt failed. If Failure is empty, it is when the worker
	// last gave a sign of life.
	Ended time.Time `json:"ended"`
	// Failure says why the attempt failed. It is empty while the attempt is under
	// way, and stays empty if the worker was lost.
	Failure string `json:"failure,omitempty"`
}

// Recorder returns an interceptor for a worker, which has the activities of some types keep
// the list of their attempts. Without it, a timeline estimates when attempts began and
// ended. Where an activity records details of its own in a heartbeat, or gives details to
// its failure, those stay.
func Recorder(activityTypes ...string) interceptor.WorkerInterceptor {
	return &recorder{activityTypes: activityTypes}
}

type recorder struct {
	interceptor.WorkerInterceptorBase
	activityTypes []string
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (r *recorder) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &recording{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, activityTypes: r.activityTypes}
}

// recording is one attempt of an activity.
type recording struct {
	interceptor.ActivityInboundInterceptorBase
	activityTypes []string
	attempts      []Attempt // including this one; nil unless it is of those types
	began         time.Time // on this machine's clock
}

// Init implements [interceptor.ActivityInboundInterceptor].
func (r *recording) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	return r.Next.Init(&heartbeats{interceptor.ActivityOutboundInterceptorBase{Next: outbound}, r})
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (r *recording) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if slices.Contains(r.activityTypes, activity.GetInfo(ctx).ActivityType.Name) {
		r.begin(ctx)
	}
	result, err := r.Next.ExecuteActivity(ctx, in)
	var failure *temporal.ApplicationError
	if r.attempts == nil || !errors.As(err, &failure) || failure.HasDetails() || failure.NonRetryable() {
		return result, err
	}
	attempts := r.list(failure.Message())
	activity.RecordHeartbeat(ctx, attempts) // the next attempt reads it
	return result, temporal.NewApplicationErrorWithOptions(failure.Message(), failure.Type(), temporal.ApplicationErrorOptions{
		Category: failure.Category(), NextRetryDelay: failure.NextRetryDelay(), Cause: failure.Unwrap(), Details: []any{attempts},
	})
}

// begin begins the list with what the attempts before this one left.
func (r *recording) begin(ctx context.Context) {
	info := activity.GetInfo(ctx)
	// A worker of another program may have recorded something else, or nothing.
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &r.attempts) != nil {
		r.attempts = nil
	}
	if extra := len(r.attempts) + 1 - mostAttempts; extra > 0 {
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

// heartbeats adds the list of attempts to the heartbeats of an activity.
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

// attemptsInFailure returns the attempts that the failure of an attempt lists: its own, or
// that of a timeout that ended the activity. It returns nil if the failure lists none.
func attemptsInFailure(failure *failurepb.Failure) []Attempt {
	return DecodeAttempts(cmp.Or(failure.GetTimeoutFailureInfo().GetLastHeartbeatDetails(), failure.GetApplicationFailureInfo().GetDetails()))
}

// DecodeAttempts decodes the details of a heartbeat. It returns nil if they are not a list
// of attempts. The texts in it are clipped.
func DecodeAttempts(details *commonpb.Payloads) []Attempt {
	var attempts []Attempt
	if len(details.GetPayloads()) != 1 || !decode(details, &attempts) {
		return nil
	}
	for i := range attempts {
		attempts[i].Failure = text.Clip(attempts[i].Failure, text.MaxText)
	}
	return attempts
}
