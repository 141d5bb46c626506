package coffee

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"example.com/coffee/internal/text"
)

// Client places, watches, lists and cancels orders. It works against any Temporal
// server, and is safe for concurrent use.
type Client struct {
	temporal  client.Client
	namespace string
}

// NewClient returns a client for the orders in a namespace. The namespace must be
// the Temporal client's own, which that client does not reveal.
func NewClient(c client.Client, namespace string) *Client {
	return &Client{temporal: c, namespace: namespace}
}

// Temporal returns the Temporal client that c uses.
func (c *Client) Temporal() client.Client { return c.temporal }

// Namespace returns the namespace of the orders.
func (c *Client) Namespace() string { return c.namespace }

// Lookup returns the server's description of a run of an order; of its latest one if runID
// is empty. It returns [ErrNotFound] if there is none.
func (c *Client) Lookup(ctx context.Context, orderID, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), runID)
	return described, NotFound(orderID, err)
}

// The errors that a caller may want to tell apart. Others come from the
// Temporal server, as the SDK returns them.
var (
	// ErrNotFound means that there is no such order.
	ErrNotFound = errors.New("no such order")
	// ErrEnded means that the order is over.
	ErrEnded = errors.New("the order is over")
)

// ConflictError reports that an order id already belongs to another order.
type ConflictError struct {
	OrderID string
	// Existing is what was ordered under this id. Its drink is empty if the
	// workflow with that id is not an order that this program understands.
	Existing OrderRequest
}

func (e *ConflictError) Error() string {
	if e.Existing.Drink == "" {
		return fmt.Sprintf("order id %s belongs to a workflow that is not a coffee order", text.Quote(e.OrderID))
	}
	return fmt.Sprintf("order id %s is already taken: %s", e.OrderID, text.Printable(e.Existing.String()))
}

// EndedError reports that an order's workflow ended without a result, for example
// because the order was invalid or the workflow was terminated.
type EndedError struct {
	OrderID string
	Problem string
	cause   error
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("order %s ended without a result: %s", text.Printable(e.OrderID), e.Problem)
}

func (e *EndedError) Unwrap() error { return e.cause }

// Placed is an order that the server has accepted. It will be made, whatever
// happens to this process.
type Placed struct {
	Order OrderRequest
	RunID string
	// Joined is true when the same order had been placed before.
	Joined bool
}

// Place places an order. It is idempotent: the same id with the same drink and size
// joins the existing order, even if that is over.
//
// It returns an [*InvalidOrderError] without asking the server, a [*ConflictError] if the id
// belongs to another order, and an [*UnreadableError] if it cannot be read which one that is.
func (c *Client) Place(ctx context.Context, request OrderRequest) (Placed, error) {
	request, err := request.Normalize()
	if err != nil {
		return Placed{}, err
	}
	run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       WorkflowID(request.OrderID),
		TaskQueue:                                TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            request.String(),
		Memo:                                     map[string]any{MemoOrder: OrderMemo{Drink: request.Drink, Size: request.Size}},
	}, WorkflowType, request)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return c.join(ctx, request, started.RunId)
	}
	if err != nil {
		return Placed{}, err
	}
	return Placed{Order: request, RunID: run.GetRunID()}, nil
}

// join returns the existing order with the request's id, or a [*ConflictError] if
// it is a different one.
func (c *Client) join(ctx context.Context, request OrderRequest, runID string) (Placed, error) {
	existing, err := c.ordered(ctx, request.OrderID, runID)
	if err != nil {
		return Placed{}, err
	}
	if existing != request {
		return Placed{}, &ConflictError{OrderID: request.OrderID, Existing: existing}
	}
	return Placed{Order: request, RunID: runID, Joined: true}, nil
}

// ordered returns what was ordered, according to the first event of the history. It
// returns the zero value if the workflow is not an order.
func (c *Client) ordered(ctx context.Context, orderID, runID string) (OrderRequest, error) {
	for event, err := range c.events(ctx, orderID, runID) {
		if err != nil {
			return OrderRequest{}, err
		}
		started := event.GetWorkflowExecutionStartedEventAttributes()
		if started.GetWorkflowType().GetName() != WorkflowType {
			return OrderRequest{}, nil
		}
		if problem := EncryptionProblem(started.GetInput().GetPayloads()...); problem != "" {
			return OrderRequest{}, &UnreadableError{OrderID: orderID, Err: errors.New("its input is " + problem), Encrypted: true}
		}
		// The menu may have changed since. What is no order conflicts with every other.
		request, _ := decodeOrder(started.GetWorkflowId(), converter.NewRawValue(FirstPayload(started.GetInput())))
		return request, nil
	}
	return OrderRequest{}, fmt.Errorf("%w: %s", ErrNotFound, text.Printable(orderID))
}

// events iterates over the events of a run, oldest first. It ends after an error.
func (c *Client) events(ctx context.Context, orderID, runID string) iter.Seq2[*historypb.HistoryEvent, error] {
	return func(yield func(*historypb.HistoryEvent, error) bool) {
		history := c.temporal.GetWorkflowHistory(ctx, WorkflowID(orderID), runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for history.HasNext() {
			event, err := history.Next()
			if !yield(event, NotFound(orderID, err)) || err != nil {
				return
			}
		}
	}
}

// Result waits until the order is over and returns its result. If an operator
// resets the order meanwhile, which terminates its run and starts another, Result
// waits for the new run. It returns [ErrNotFound], an [*EndedError] if the workflow ended
// without a result. If there is one that cannot be decrypted here, Result returns an error
// that [IsUnreadable] recognizes.
func (c *Client) Result(ctx context.Context, orderID string) (OrderResult, error) {
	for runID := ""; ; { // the current run
		var result OrderResult
		run := c.temporal.GetWorkflow(ctx, WorkflowID(orderID), runID)
		err := run.Get(ctx, &result)
		if err == nil {
			result.clip()
			return result, nil
		}
		if IsUnreadable(err) {
			return OrderResult{}, err
		}
		var failed *temporal.WorkflowExecutionError
		if !errors.As(err, &failed) {
			return OrderResult{}, NotFound(orderID, err)
		}
		described, lookupErr := c.Lookup(ctx, orderID, "")
		if lookupErr != nil {
			return OrderResult{}, lookupErr
		}
		current := described.GetWorkflowExecutionInfo().GetExecution().GetRunId()
		if current == run.GetRunID() { // which the SDK has looked up, if it was empty
			return OrderResult{}, &EndedError{OrderID: orderID, Problem: endProblem(err), cause: err}
		}
		runID = current
	}
}

// State queries the order itself, through a worker, with [QueryGetStatus]. Without
// a worker it fails after a few seconds, with an error that [IsNoWorker]
// recognizes. It returns [ErrNotFound] if there is no such order.
func (c *Client) State(ctx context.Context, orderID string) (OrderState, error) {
	value, err := c.temporal.QueryWorkflow(ctx, WorkflowID(orderID), "", QueryGetStatus)
	if err != nil {
		return OrderState{}, NotFound(orderID, err)
	}
	var state OrderState
	if err := value.Get(&state); err != nil {
		return OrderState{}, fmt.Errorf("order %s: %w", orderID, err)
	}
	state.clip()
	return state, nil
}

// IsNoWorker reports whether a query failed because no worker answered it.
func IsNoWorker(err error) bool {
	var noPoller *serviceerror.FailedPrecondition
	var timeout *serviceerror.DeadlineExceeded
	return errors.As(err, &noPoller) || errors.As(err, &timeout) || errors.Is(err, context.DeadlineExceeded)
}

// Cancel asks the order to cancel, and returns when the server has recorded the
// request. The result says whether it came in time; see [Client.Result]. The reason
// may be empty. Cancel returns an [*InvalidOrderError] if no order can have this
// id, [ErrNotFound] or [ErrEnded].
func (c *Client) Cancel(ctx context.Context, orderID, reason string) error {
	err := ValidateForeignID(orderID)
	if err != nil {
		return err
	}
	if reason == "" {
		// A worker in another language may take no argument at all, and the
		// SDK's SignalWorkflow would send it a null.
		request := &workflowservice.SignalWorkflowExecutionRequest{
			Namespace:         c.namespace,
			WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: WorkflowID(orderID)},
			SignalName:        SignalCancelOrder,
			RequestId:         uuid.NewString(),
		}
		_, err = c.temporal.WorkflowService().SignalWorkflowExecution(ctx, request)
		for deadline := time.Now().Add(busyPatience); isBusy(err) && time.Now().Before(deadline); {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
			_, err = c.temporal.WorkflowService().SignalWorkflowExecution(ctx, request)
		}
	} else {
		err = c.temporal.SignalWorkflow(ctx, WorkflowID(orderID), "", SignalCancelOrder, CancelRequest{Reason: reason})
	}
	return c.Ended(ctx, orderID, err)
}

// busyPatience is how long to come back to a workflow that is about to end.
const busyPatience = 10 * time.Second

// isBusy reports whether the server asks to come back at once: the workflow is about to
// end, and may or may not take a signal. The SDK's own methods do come back.
func isBusy(err error) bool {
	var exhausted *serviceerror.ResourceExhausted
	return errors.As(err, &exhausted) && exhausted.Cause == enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
}

// Ended turns the server's NotFound error about a change to an order into
// [ErrNotFound], or into [ErrEnded] if the order is over: the server says "not found"
// then, too.
func (c *Client) Ended(ctx context.Context, orderID string, err error) error {
	if err = NotFound(orderID, err); !errors.Is(err, ErrNotFound) {
		return err
	}
	if _, err = c.Lookup(ctx, orderID, ""); err == nil {
		return ErrEnded
	}
	return err // it may also be that the server is away by now
}

// NotFound turns the server's NotFound error about an order into [ErrNotFound]. A
// missing namespace is a different error.
func NotFound(id string, err error) error {
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return fmt.Errorf("%w: %s", ErrNotFound, text.Printable(id))
	}
	return err
}

// endProblem says in words why a workflow ended without a result.
func endProblem(err error) string {
	var terminated *temporal.TerminatedError
	var timeout *temporal.TimeoutError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &terminated):
		return "it was terminated"
	case errors.As(err, &timeout):
		return "its workflow timed out"
	case errors.As(err, &cancelled):
		var problem string
		if cancelled.HasDetails() && cancelled.Details(&problem) == nil && problem != "" {
			return text.Clip(problem, text.MaxText)
		}
		return "its workflow was cancelled"
	}
	return strings.TrimSuffix(text.Clip(rootCause(err), 1000), ".")
}
