package audit

import (
	"cmp"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// story is what the history of one run says about an order.
type story struct {
	workflowID string
	runID      string
	// origin is the original run if this one was created by a reset, or else the
	// run itself. The ledger knows an order by it.
	origin string
	// startedAt is when this run began; the first event of a reset is older.
	startedAt time.Time
	// beganAt is the time of the first event, by the server's clock, and endedAt
	// that of the last one; zero while the run is running.
	beganAt, endedAt time.Time

	// amounts are the prices that the history states: on acceptance, in each
	// charge, in the result.
	amounts []amount
	// tentative is the price of a run that a reset began, until it has asked at what
	// price an earlier run was accepted.
	tentative amount

	chargeScheduled bool
	charged         bool
	brewed          bool
	receipt         bool // scheduled: from then on it is too late to cancel
	refused         bool // the receipt, because no payment stood
	handedOut       bool // the receipt was sent, or the coffee handed out without one
	refunded        bool
	// toldDelivered is true when the answer to a refund was that an earlier run had
	// handed out the coffee.
	toldDelivered bool
	// cancelled is true when the order was told to cancel in time.
	cancelled bool

	ended bool
	// result is what the workflow returned; nil if it ended without one.
	result *coffee.OrderResult
	// end says in words how the workflow ended.
	end string
	// stopped is true if it ended from outside, so that it could not settle the order.
	stopped bool

	// stuck is true while the last worker that tried could not go on with the run,
	// because of a nondeterminism error.
	stuck bool
	// unreplayable is why the history does not replay; empty if it does.
	unreplayable string
	evidence     []string
}

// endedCancelled is the end of a run that was cancelled, or refused for good.
const endedCancelled = "ended as cancelled"

type amount struct {
	cents coffee.Cents
	where string
}

// readStory reads a history. It reads the events that it understands and skips the
// rest.
func readStory(execution *commonpb.WorkflowExecution, startedAt time.Time, events []*historypb.HistoryEvent) *story {
	s := &story{workflowID: execution.GetWorkflowId(), runID: execution.GetRunId(), origin: execution.GetRunId(), startedAt: startedAt}
	activities := desk.Activities{}
	for _, event := range events {
		s.read(event, activities.Of(event))
	}
	return s
}

// read reads an event, which may be about an activity.
func (s *story) read(event *historypb.HistoryEvent, activity string) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		s.beganAt = event.GetEventTime().AsTime()
		s.origin = cmp.Or(event.GetWorkflowExecutionStartedEventAttributes().GetOriginalExecutionRunId(), s.origin)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		s.stuck = event.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		s.stuck = false
	case enumspb.EVENT_TYPE_MARKER_RECORDED:
		s.accepted(event)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		if event.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == coffee.SignalCancelOrder {
			s.cancel(event)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		s.cancel(event)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		s.scheduled(event, activity, event.GetActivityTaskScheduledEventAttributes().GetInput())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		s.completed(event, activity, event.GetActivityTaskCompletedEventAttributes().GetResult())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		s.failed(event, activity, event.GetActivityTaskFailedEventAttributes().GetFailure().GetApplicationFailureInfo())
	default:
		s.closed(event)
	}
}

// accepted reads the side effect in which the workflow pins the price.
func (s *story) accepted(event *historypb.HistoryEvent) {
	attributes := event.GetMarkerRecordedEventAttributes()
	var decision struct {
		AmountCents coffee.Cents `json:"amount_cents"`
		Reset       bool         `json:"reset"`
	}
	if attributes.GetMarkerName() != "SideEffect" || !decode(attributes.GetDetails()["data"], &decision) {
		return
	}
	if decided := (amount{decision.AmountCents, where(event, "the order was accepted")}); decision.Reset {
		s.tentative = decided
	} else {
		s.state(decided)
	}
}

// state adds a price that the history states; 0 is none.
func (s *story) state(stated amount) {
	if stated.cents != 0 {
		s.amounts = append(s.amounts, stated)
	}
}

// takeOver replaces the price of a run that a reset began, when it learns what an earlier
// one was charged.
func (s *story) takeOver(charged amount) {
	if s.origin != s.runID && charged.cents != 0 {
		s.amounts = []amount{charged}
	}
}

func (s *story) cancel(event *historypb.HistoryEvent) {
	// An order that was told of an earlier delivery has only its receipt left to send.
	if !s.receipt && !s.toldDelivered {
		s.cancelled = true
		s.note(event, "cancelled")
	}
}

func (s *story) scheduled(event *historypb.HistoryEvent, activity string, input *commonpb.Payloads) {
	switch activity {
	case coffee.ActivityChargeCustomer:
		s.chargeScheduled = true
		var charge coffee.ChargeInput
		if decode(input, &charge) {
			s.state(amount{charge.AmountCents, where(event, "charge scheduled")})
		}
	case coffee.ActivitySendReceipt:
		s.receipt = true
		s.note(event, "receipt scheduled")
	}
}

func (s *story) completed(event *historypb.HistoryEvent, activity string, result *commonpb.Payloads) {
	switch activity {
	case coffee.ActivityChargeCustomer:
		s.charged = true
		s.note(event, "charged")
	case coffee.ActivityBrewCoffee:
		s.brewed = true
		s.note(event, "brewed")
	case coffee.ActivitySendReceipt, coffee.ActivityDeliverCoffee:
		s.handedOut = true
		s.note(event, "handed out")
	case coffee.ActivityRecallOrder:
		var out coffee.RecallOutput
		if decode(result, &out) && out.Accepted {
			s.state(amount{out.AmountCents, where(event, "recalled")})
		} else {
			s.state(s.tentative)
		}
	case coffee.ActivityRefundCustomer:
		var out coffee.RefundOutput
		switch decoded := decode(result, &out); {
		case decoded && out.Refunded:
			s.refunded = true
			s.takeOver(amount{out.AmountCents, where(event, "refunded")})
			s.note(event, "refunded")
		case decoded && out.Delivered:
			// So the cancel was too late.
			s.toldDelivered, s.cancelled = true, false
			s.note(event, "not refunded: the coffee was handed out by an earlier run")
		}
	}
}

func (s *story) failed(event *historypb.HistoryEvent, activity string, failure *failurepb.ApplicationFailureInfo) {
	if failure.GetType() != coffee.ErrorTypeRefused {
		return
	}
	switch activity {
	case coffee.ActivitySendReceipt, coffee.ActivityDeliverCoffee:
		s.refused = true
		s.note(event, "not handed out: no payment stood")
	case coffee.ActivityChargeCustomer:
		var charged coffee.Cents
		if decode(failure.GetDetails(), &charged) {
			s.charged = true
			s.takeOver(amount{charged, where(event, "charged before")})
			s.note(event, "charged before")
		}
	}
}

// closed reads the events that end a run.
func (s *story) closed(event *historypb.HistoryEvent) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		var result coffee.OrderResult
		if decode(event.GetWorkflowExecutionCompletedEventAttributes().GetResult(), &result) {
			s.result = &result
			s.end = "ended " + string(result.Status)
			s.state(amount{result.AmountCents, where(event, s.end)})
		} else {
			s.end = "ended with a result that cannot be decoded"
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		s.end = "ended with an error: " + text.Quote(event.GetWorkflowExecutionFailedEventAttributes().GetFailure().GetMessage())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		s.end, s.stopped = "timed out", true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		s.end, s.stopped = "was terminated", true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		s.end = endedCancelled
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		s.end = "continued as new"
	default:
		return
	}
	s.ended, s.endedAt = true, event.GetEventTime().AsTime()
	s.note(event, s.end)
}

func (s *story) completedOrder() bool {
	return s.result != nil && s.result.Status == coffee.StatusCompleted
}

// saysHandedOut reports whether this run says that the coffee was handed out, by
// itself or by an earlier one.
func (s *story) saysHandedOut() bool { return s.handedOut || s.toldDelivered || s.completedOrder() }

func (s *story) note(event *historypb.HistoryEvent, what string) {
	s.evidence = append(s.evidence, where(event, what))
}

func where(event *historypb.HistoryEvent, what string) string {
	return fmt.Sprintf("event %d, %s: %s", event.GetEventId(), event.GetEventType(), what)
}

// decode decodes the first payload, and reports whether that worked.
func decode(payloads *commonpb.Payloads, to any) bool {
	return coffee.Decode(coffee.FirstPayload(payloads), to)
}
