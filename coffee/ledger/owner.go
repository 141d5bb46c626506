package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
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

// ErrForeignLedger means that the ledger keeps the orders of another namespace, or that
// the orders of this one are kept in another ledger.
var ErrForeignLedger = errors.New("this is not the ledger of these orders")

// Owner is the namespace whose orders a ledger keeps.
type Owner struct {
	// NamespaceID is the server's own id of the namespace. No other namespace has it,
	// on any server; a replica, a backup or a restored database of the server does.
	NamespaceID string
	Namespace   string // its name, for people
}

// Check returns [ErrForeignLedger] unless both are the same namespace.
func (o Owner) Check(other Owner) error {
	if o.NamespaceID == other.NamespaceID {
		return nil
	}
	return fmt.Errorf("%w: it keeps those of namespace %s with the id %s, and these are of namespace %s with the id %s", ErrForeignLedger,
		text.Quote(o.Namespace), text.Quote(o.NamespaceID), text.Quote(other.Namespace), text.Quote(other.NamespaceID))
}

// Recorded is the ledger that a server has recorded for a namespace.
type Recorded struct {
	// ID is [Store.ID]; empty if none is recorded.
	ID string
	// execution is the workflow that says so.
	execution *commonpb.WorkflowExecution
}

// RecordedFor returns the ledger in which the orders of the namespace are kept.
func RecordedFor(ctx context.Context, c *coffee.Client) (Recorded, error) {
	described, err := c.Temporal().DescribeWorkflowExecution(ctx, ledgerWorkflowID, "")
	var missing *serviceerror.NotFound
	if errors.As(err, &missing) {
		err = nil
	}
	info := described.GetWorkflowExecutionInfo()
	id, ok := strings.CutPrefix(described.GetExecutionConfig().GetTaskQueue().GetName(), ledgerQueue)
	if !ok || info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return Recorded{}, err
	}
	return Recorded{ID: id, execution: info.GetExecution()}, err
}

// CheckOwner returns [ErrForeignLedger] if the orders of the namespace are not kept in the
// ledger with an id and an owner, of which the zero value is that of a ledger without one.
func CheckOwner(ctx context.Context, c *coffee.Client, id string, owner Owner) error {
	recorded, err := RecordedFor(ctx, c)
	switch {
	case err != nil && !isDenied(err):
		return err
	case recorded.ID != "" && recorded.ID != id:
		return otherLedger(ctx, c, recorded, id)
	case owner == Owner{}:
		return nil
	}
	namespace, err := ownerFor(ctx, c)
	if err != nil && !isDenied(err) {
		return err
	}
	return owner.Check(namespace)
}

// claimAttempts is how often a worker tries to find out whose its ledger is, once a second,
// while the server or the ledger fails.
const claimAttempts = 30

// Claim records on both sides that the orders of the namespace are kept in the ledger, and
// in no other. A worker calls it before it polls. If begin is true, an empty ledger takes
// the place of the one that the server has recorded.
//
// It returns [ErrForeignLedger], and changes nothing on the server, if either side has
// recorded another. While the server or the ledger fails, it tries again for half a minute.
// Where the server does not allow it, only the ledger knows, and the log gets a warning.
func Claim(ctx context.Context, c *coffee.Client, ledger Store, begin bool, log zerolog.Logger) error {
	for attempt := 1; ; attempt++ {
		err := bind(ctx, c, ledger, begin)
		switch {
		case isDenied(err):
			log.Warn().Err(err).Msg("the server does not let this worker record which ledger its orders are kept in: nothing stops a worker with another one")
			return nil
		case err == nil, errors.Is(err, ErrForeignLedger), errors.Is(err, ErrNewerLedger), ctx.Err() != nil, attempt == claimAttempts:
			return err
		}
		switch serviceerror.ToStatus(err).Code() {
		case codes.InvalidArgument, codes.NotFound, codes.Unauthenticated, codes.Unimplemented, codes.FailedPrecondition:
			return err
		}
		log.Warn().Err(err).Msg("whose ledger this is cannot be found out: trying again")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// bind is one attempt of [Claim]. A [serviceerror.PermissionDenied] means that the server does
// not let the client record the ledger, which has recorded its owner all the same, if the
// client may look at the namespace.
func bind(ctx context.Context, c *coffee.Client, ledger Store, begin bool) error {
	id := ledger.ID()
	if id == "" {
		return nil
	}
	owner, err := ownerFor(ctx, c)
	if err != nil {
		return err
	}
	recorded, denied := RecordedFor(ctx, c)
	if denied != nil && !isDenied(denied) {
		return denied
	}
	other := recorded.ID != "" && recorded.ID != id
	if other && begin {
		balance, err := ledger.Balance(ctx)
		if err != nil {
			return err
		}
		begin = balance == Balance{}
	}
	if other && !begin {
		return otherLedger(ctx, c, recorded, id)
	}
	if err := ledger.Bind(ctx, owner); err != nil || denied != nil || recorded.ID == id {
		return cmp.Or(err, denied)
	}
	if other {
		// If it is over already, another worker is replacing it, and one of the two loses.
		err := c.Temporal().TerminateWorkflow(ctx, ledgerWorkflowID, recorded.execution.GetRunId(), "a new ledger was begun")
		var over *serviceerror.NotFound
		if err != nil && !errors.As(err, &over) {
			return err
		}
	}
	return recordLedger(ctx, c, id)
}

// recordLedger records the ledger on the server, unless one is recorded.
func recordLedger(ctx context.Context, c *coffee.Client, id string) error {
	_, err := c.Temporal().ExecuteWorkflow(ctx, client.StartWorkflowOptions{
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
	recorded, err := RecordedFor(ctx, c)
	if err != nil || recorded.ID == id {
		return err
	}
	return otherLedger(ctx, c, recorded, id)
}

// otherLedger returns the error that the ledger with an id is not the recorded one.
func otherLedger(ctx context.Context, c *coffee.Client, recorded Recorded, id string) error {
	by := ""
	events := c.Temporal().GetWorkflowHistory(ctx, recorded.execution.GetWorkflowId(), recorded.execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if event, err := events.Next(); err == nil {
		by = ", recorded by " + text.Printable(event.GetWorkflowExecutionStartedEventAttributes().GetIdentity())
	}
	return fmt.Errorf("%w: those of namespace %s are kept in ledger %s%s, and this is ledger %s", ErrForeignLedger,
		text.Quote(c.Namespace()), text.Printable(recorded.ID), by, text.Printable(id))
}

// ownerFor returns the client's namespace.
func ownerFor(ctx context.Context, c *coffee.Client) (Owner, error) {
	described, err := c.Temporal().WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.Namespace()})
	if err != nil {
		return Owner{}, err
	}
	return Owner{NamespaceID: described.GetNamespaceInfo().GetId(), Namespace: c.Namespace()}, nil
}

func isDenied(err error) bool {
	var denied *serviceerror.PermissionDenied
	return errors.As(err, &denied)
}
