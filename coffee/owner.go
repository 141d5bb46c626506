package coffee

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// A ledger belongs to one namespace, and a namespace has one ledger: a second one would
// charge again what the first one has charged. The ledger has a row that names the
// namespace. The server has a workflow that names the ledger. Its id is fixed, and the
// server lets only one workflow of an id run, so of two workers that start at once
// with different ledgers one learns of the other's. The workflow never gets a task,
// because its start is delayed by a hundred years. Its task queue names the ledger: unlike
// a memo, that is never encrypted.
const (
	ledgerWorkflowID   = "coffee-ledger"
	ledgerWorkflowType = "CoffeeLedger"
	ledgerQueue        = "ledger-" // followed by the ledger's id
	ledgerDelay        = 100 * 365 * 24 * time.Hour
)

// RecordedLedger is the ledger that a server has recorded for a namespace.
type RecordedLedger struct {
	// ID is [Ledger.ID]; empty if none is recorded.
	ID string
	// execution is the workflow that says so.
	execution *commonpb.WorkflowExecution
}

// RecordedLedger returns the ledger in which the orders of the namespace are kept.
func (c *Client) RecordedLedger(ctx context.Context) (RecordedLedger, error) {
	described, err := c.temporal.DescribeWorkflowExecution(ctx, ledgerWorkflowID, "")
	var missing *serviceerror.NotFound
	if errors.As(err, &missing) {
		return RecordedLedger{}, nil
	}
	if err != nil {
		return RecordedLedger{}, err
	}
	info := described.GetWorkflowExecutionInfo()
	id, ok := strings.CutPrefix(described.GetExecutionConfig().GetTaskQueue().GetName(), ledgerQueue)
	if !ok || info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return RecordedLedger{}, nil
	}
	return RecordedLedger{ID: id, execution: info.GetExecution()}, nil
}

// CheckLedger returns [ErrForeignLedger] if the orders of the namespace are not kept in the
// ledger with an id and an owner, of which the zero value is that of a ledger without one.
func (c *Client) CheckLedger(ctx context.Context, id string, owner Owner) error {
	recorded, err := c.RecordedLedger(ctx)
	switch {
	case isDenied(err):
	case err != nil:
		return err
	case recorded.ID != "" && recorded.ID != id:
		return c.otherLedger(ctx, recorded, id)
	}
	if owner == (Owner{}) {
		return nil
	}
	namespace, err := c.owner(ctx)
	if err != nil && !isDenied(err) {
		return err
	}
	return owner.Check(namespace)
}

// BindLedger records on both sides that the orders of the namespace are kept in the ledger,
// and in no other. It returns [ErrForeignLedger], and changes nothing on the server, if
// either side has recorded another. If begin is true, an empty ledger takes the place
// of the one that the server has recorded.
//
// A [serviceerror.PermissionDenied] means that the server does not let the client record
// it. The ledger has recorded it all the same, if the client may look at the namespace.
func (c *Client) BindLedger(ctx context.Context, ledger Ledger, begin bool) error {
	id := ledger.ID()
	if id == "" {
		return nil
	}
	owner, err := c.owner(ctx)
	if err != nil {
		return err
	}
	recorded, err := c.RecordedLedger(ctx)
	if err != nil && !isDenied(err) {
		return err
	}
	denied := err
	if recorded.ID != "" && recorded.ID != id {
		replace := false
		if begin {
			balance, err := ledger.Balance(ctx)
			if err != nil {
				return err
			}
			replace = balance == Balance{}
		}
		if !replace {
			return c.otherLedger(ctx, recorded, id)
		}
	}
	if err := ledger.Bind(ctx, owner); err != nil || denied != nil || recorded.ID == id {
		return cmp.Or(err, denied)
	}
	if recorded.ID != "" {
		// If it is over already, another worker is replacing it, and one of the two loses.
		err := c.temporal.TerminateWorkflow(ctx, ledgerWorkflowID, recorded.execution.GetRunId(), "a new ledger was begun")
		var over *serviceerror.NotFound
		if err != nil && !errors.As(err, &over) {
			return err
		}
	}
	return c.recordLedger(ctx, id)
}

// recordLedger records the ledger on the server, unless one is recorded.
func (c *Client) recordLedger(ctx context.Context, id string) error {
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       ledgerWorkflowID,
		TaskQueue:                                ledgerQueue + id,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StartDelay:                               ledgerDelay,
	}, ledgerWorkflowType)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if !errors.As(err, &started) {
		return err
	}
	recorded, err := c.RecordedLedger(ctx)
	if err != nil || recorded.ID == id {
		return err
	}
	return c.otherLedger(ctx, recorded, id)
}

// otherLedger returns the error that the ledger with an id is not the recorded one.
func (c *Client) otherLedger(ctx context.Context, recorded RecordedLedger, id string) error {
	by := ""
	for event, err := range c.Events(ctx, recorded.execution) {
		if err == nil {
			by = ", recorded by " + Printable(event.GetWorkflowExecutionStartedEventAttributes().GetIdentity())
		}
		break
	}
	return fmt.Errorf("%w: those of namespace %s are kept in ledger %s%s, and this is ledger %s", ErrForeignLedger,
		Quote(c.namespace), Printable(recorded.ID), by, Printable(id))
}

// owner returns the client's namespace.
func (c *Client) owner(ctx context.Context) (Owner, error) {
	described, err := c.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.namespace})
	if err != nil {
		return Owner{}, err
	}
	return Owner{NamespaceID: described.GetNamespaceInfo().GetId(), Namespace: c.namespace}, nil
}

func isDenied(err error) bool {
	var denied *serviceerror.PermissionDenied
	return errors.As(err, &denied)
}
