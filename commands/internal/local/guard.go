package local

import (
	"context"
	"errors"

	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
)

// NewGuard returns a guard that logs which orders a worker cannot read. Such an order waits
// for another worker, and harms no other.
func NewGuard(a *app.App) *encryption.Guard {
	guard := encryption.NewGuard(coffee.WorkflowType)
	guard.Refused = func(workflowID string, err error) {
		event := a.Log.Error().Err(err).Str("workflow_id", workflowID)
		var unreadable *encryption.UnreadableError
		if errors.As(err, &unreadable) && unreadable.Keyset != "" {
			event.Str("keyset", unreadable.Keyset)
			if unreadable.Err != nil {
				event.AnErr("keyset_error", unreadable.Err)
			}
		}
		event.Msg("this worker cannot go on with an order, which waits for another one")
	}
	return guard
}

// guarded runs a worker until the context ends, or until its guard finds that the worker
// cannot read any order: then it returns an error. A worker that can read the memo of one of
// the newest orders can read some.
func guarded(ctx context.Context, conn *connect.Connection, run func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hopeless := make(chan error, 1)
	go func() {
		hopeless <- conn.Guard.Wait(ctx, func(ctx context.Context) error {
			_, err := conn.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: conn.Namespace, Query: "WorkflowType = '" + coffee.WorkflowType + "'", PageSize: 100,
			})
			return err
		})
		stop()
	}()
	err := run(ctx)
	stop()
	return errors.Join(<-hopeless, err)
}
