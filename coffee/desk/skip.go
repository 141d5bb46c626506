package desk

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"example.com/coffee/coffee"
)

// ErrNoTimeSkipping means that the server does not let clients skip time, or not in
// the namespace.
var ErrNoTimeSkipping = errors.New("the server does not let time be skipped")

// CheckTimeSkipping returns [ErrNoTimeSkipping] if the server does not let clients
// skip time. A server that does not know what that is would start an order and not
// skip anything.
func (c *Client) CheckTimeSkipping(ctx context.Context) error {
	// There is nothing that says so. But a server that lets time be skipped misses
	// what such a request is about, and others refuse it.
	_, err := c.Temporal().WorkflowService().PollWorkflowExecutionTimeSkipping(ctx, &workflowservice.PollWorkflowExecutionTimeSkippingRequest{
		Namespace:         c.Namespace(),
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID("none")},
	})
	var missing *serviceerror.InvalidArgument
	if errors.As(err, &missing) {
		return nil
	}
	return noTimeSkipping(err)
}

// SkipTime lets the order's timers and backoffs pass at once, until as much time as in
// by has passed on the order's clock; 0 means to its end. Activities take the time
// they take. It returns when the server has recorded the request, or with
// [coffee.ErrNotFound], [coffee.ErrEnded] or [ErrNoTimeSkipping].
func (c *Client) SkipTime(ctx context.Context, orderID string, by time.Duration) error {
	config := &commonpb.TimeSkippingConfig{Enabled: true}
	if by > 0 {
		config.FastForwardConfig = &commonpb.FastForwardConfig{Id: uuid.NewString(), Duration: durationpb.New(by)}
	}
	_, err := c.Temporal().WorkflowService().UpdateWorkflowExecutionOptions(ctx, &workflowservice.UpdateWorkflowExecutionOptionsRequest{
		Namespace:                c.Namespace(),
		WorkflowExecution:        &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID(orderID)},
		WorkflowExecutionOptions: &workflowpb.WorkflowExecutionOptions{TimeSkippingConfig: config},
		UpdateMask:               &fieldmaskpb.FieldMask{Paths: []string{"time_skipping_config"}},
	})
	return noTimeSkipping(c.Ended(ctx, orderID, err))
}

// SkipsTime reports whether the order's time is skipped. The server stops skipping
// after a number of times, 200 unless it is configured otherwise. It returns
// [coffee.ErrNotFound].
func (c *Client) SkipsTime(ctx context.Context, orderID string) (bool, error) {
	described, err := c.Lookup(ctx, orderID, "")
	if err != nil {
		return false, err
	}
	return described.GetWorkflowExtendedInfo().GetTimeSkippingInfo().GetEffectiveConfig().GetEnabled(), nil
}

// noTimeSkipping turns the error of a server that does not know or allow a request
// about time skipping into [ErrNoTimeSkipping].
func noTimeSkipping(err error) error {
	var unimplemented *serviceerror.Unimplemented
	if errors.As(err, &unimplemented) {
		return ErrNoTimeSkipping
	}
	return err
}
