package tour

import (
	_ "embed"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/release"
)

// Chapters are the chapters of the tour, in their order.
var Chapters = []Chapter{
	{"order", "An order: workflow, activity, worker, task queue, history", order},
	{"jam", "A jam: retries and timeouts", jam},
	{"cancel", "Ask and tell: query, signal, cancellation", cancel},
	{"worker", "Kill the worker: nobody is charged twice", killWorker},
	{"server", "Kill the server: nothing is lost", killServer},
	{"queue", "No worker, one, two: the task queue", queue},
	{"saga", "The saga: a refund that is due before the charge", saga},
	{"replay", "Replay: new code meets an old order", replay},
	{"time", "Time: fifteen seconds in a moment", skipTime},
	{"cluster", "Beyond one machine", cluster},
}

// Settings of the tour's workers.
const (
	noJams = "--brew-failure-rate=0"
	slow   = "--brew-time=3s"
)

func order(g *guide) {
	g.say("A workflow is a function that survives crashes: the story of one order, written as plain code. " +
		"What it does to the world, it does in activities: charge, brew, receipt. " +
		"A server records every step of the story. A worker runs the code.")
	g.say("If a worker dies, another one rebuilds the order: it runs the same code from the beginning, and gets the recorded results. " +
		"That works only if the code asks for the same steps every time. So a workflow must be deterministic. Chapter 4 shows it work, and chapter 8 what happens when it is not.")
	g.pause()
	g.startServer()
	w := g.startWorker(noJams)
	g.say("(Each chapter has a server of its own, without orders.)")
	g.coffee("order", "--order-id", "first", "--drink", "latte")
	g.story(w)
	g.say("The worker did that. It had polled the task queue coffee-orders, where the server puts what is to be done next. " +
		"The server never calls a worker, and has never seen the code.")
	g.pause()
	g.say("The server has the history, a list of events. These are the ones behind each step; the others, such as those of the workflow tasks in between, are in the Web UI of coffee server:")
	drawn := g.coffee("timeline", "first", "--events")
	g.expect(strings.Count(drawn.stdout, "ActivityTaskCompleted") == 3, "the history does not show three completed activities")
	g.ask("If the worker's machine had burned down in the middle of the order, what would have been lost?",
		"Nothing that matters. A worker keeps no state of its own: the next one gets the history, and goes on from there.")
	g.where("coffee/workflow.go     OrderCoffeeWorkflow, the story", "coffee/activities.go   the steps", "coffee/worker.go       NewWorker, which polls the task queue")
}

func jam(g *guide) {
	g.startServer()
	w := g.startWorker()
	g.say("The brew machine jams in three of ten attempts, and always in the first attempt of order 123. The brew fails; the workflow does not notice:")
	g.coffee("order", "--order-id", "123", "--drink", "latte")
	g.story(w)
	g.coffee("timeline", "123").shows("brew machine jammed", "brewed at attempt 2")
	g.say("Nothing in the workflow says \"try again\". It declares a retry policy: five attempts, a backoff of one second before the first retry, " +
		"and twice as long before each further one. The server does the waiting; no worker sleeps meanwhile.")
	g.ask("A brew that jams reports an error. How does the server notice a worker that reports nothing?",
		"By timeouts. Start-to-close: an attempt that has not ended after ten seconds has failed, for whatever reason. "+
			"Ten seconds is long for a brew, so a brew also heartbeats: it gives a sign of life every 0.3 seconds, and after three seconds without one the attempt has failed. "+
			"The time that an attempt waits in the task queue does not count. An attempt that timed out is one of the five, and the retry policy decides what follows.")
	w.end()
	g.say("That worker has been stopped. Here is the heartbeat timeout: another one, which takes three seconds for a brew, is killed in the middle of one:")
	w = g.startWorker(noJams, slow)
	g.atOnce(func() {
		g.coffee("order", "--order-id", "silent", "--drink", "latte", "--no-wait")
		g.untilBrewing("silent")
		g.kill(w)
	})
	quick := g.startWorker(noJams)
	g.until("the heartbeat timeout has fired", func() bool { return g.view("silent").BrewAttempts > 1 || g.view("silent").LastFailure != "" })
	g.untilOver("silent", coffee.StatusCompleted)
	g.coffee("timeline", "silent").shows("heartbeat timeout")
	g.pause()
	g.say("A charge does not heartbeat. If its worker is killed, only start-to-close notices, after ten seconds:")
	g.kill(quick)
	w = g.startWorker(noJams, "--charge-time=5s")
	g.atOnce(func() {
		g.coffee("order", "--order-id", "unheard", "--drink", "latte", "--no-wait")
		g.until("the charge is under way", func() bool { return strings.Contains(w.text(), "charging") })
		g.kill(w)
	})
	g.startWorker(noJams)
	g.untilOver("unheard", coffee.StatusCompleted)
	g.coffee("timeline", "unheard").shows("start-to-close")
	g.say("(A length with ~ is an estimate: nobody could tell how long that attempt worked.)")
	g.where("coffee/policy.go       the timeouts and the backoff", "coffee/workflow.go     stepOptions, brew", "coffee/activities.go   heartbeat", "coffee/worker.go       sdkOptions: by default the SDK holds heartbeats back")
}

func cancel(g *guide) {
	g.startServer()
	g.startWorker(noJams, "--brew-time=6s") // so that the cancels are in time on a busy machine, too
	g.say("There are three ways to talk to a running order. A query asks and changes nothing: the worker answers it from the workflow's variables.")
	g.atOnce(func() {
		g.coffee("order", "--order-id", "one", "--drink", "mocha", "--no-wait")
		g.untilBrewing("one")
		g.coffee("status", "one").shows("brewing")
		g.say("None of this is in the history: a query leaves no trace. (Without a worker, coffee status makes do with the history.) A signal does. It tells the workflow something, such as a reason, and the code decides what to do about it:")
		g.coffee("cancel", "one", "--reason", "in a hurry")
	})
	g.untilOver("one", coffee.StatusCancelled)
	g.coffee("timeline", "one").shows("refunded $5.25", "in a hurry")
	g.pause()
	g.say("Cancellation is built into Temporal. It needs no handler: the workflow's context is cancelled, like a Go context. Any tool can ask for it:")
	g.atOnce(func() {
		g.coffee("order", "--order-id", "two", "--drink", "mocha", "--no-wait")
		g.untilBrewing("two")
		g.print("", "$ temporal workflow cancel --workflow-id "+coffee.WorkflowID("two"), "  (the tour sends the same request itself)")
		g.must(g.temporal.CancelWorkflow(g.ctx, coffee.WorkflowID("two"), ""))
	})
	g.untilOver("two", coffee.StatusCancelled)
	g.coffee("timeline", "two")
	g.ask("Both ended the same way, with the money back. Why have both?",
		"A signal carries data, and there can be many kinds of it. A cancellation carries none, and works on any workflow, without knowing a signal's name. This workflow treats them alike: both cancel the context of the brew, which learns of it at its next heartbeat. The refund runs in another context, which neither of them reaches.")
	g.say("And a cancel that comes too late:")
	g.coffee("order", "--order-id", "three", "--drink", "mocha")
	g.coffeeFails(1, "cancel", "three")
	g.untilOver("three", coffee.StatusCompleted)
	g.say("The coffee was on the counter. From then on no cancel has any effect: the receipt runs in a context that is not cancelled.")
	g.where("coffee/workflow.go     accept (the query; the context that a cancel ends), await and receiveCancel (the signal), checkCancel (both)", "coffee/client.go       State, Cancel")
}

func killWorker(g *guide) {
	g.startServer()
	w := g.startWorker(noJams, slow)
	g.atOnce(func() {
		g.coffee("order", "--order-id", "mine", "--drink", "latte", "--no-wait")
		g.untilBrewing("mine")
		g.say("The customer has paid, and the brew is under way. The ledger, a small database of its own, says so:")
		g.ledger("mine", "charge")
		g.say("kill -9 gives a process no time for anything, not even a goodbye:")
		g.kill(w)
	})
	g.coffee("status", "mine")
	g.say("The order is on the server. All it needs is a worker, any worker:")
	g.pause()
	w = g.startWorker(noJams)
	g.untilOver("mine", coffee.StatusCompleted)
	g.story(w)
	g.say("This log has no charge. The new worker got the history and ran the workflow's code from the beginning. " +
		"Wherever the history has a result, the code got that result, and the activity was not run again. That is replay.")
	g.ledger("mine", "charge")
	g.ask("And if the worker had died in the charge itself, after the money moved and before it could say so?",
		"Then nobody knows, and the charge is tried again: an activity runs at least once. So the ledger makes it idempotent. There is one charge per order, and asking for it again returns the first one's outcome.")
	g.where("coffee/ledger/sql.go      Charge", "coffee/ledger/sqlite.sql  PRIMARY KEY (order_id, kind)", "coffee/activities.go      BrewCoffee, which heartbeats")
}

func killServer(g *guide) {
	g.startServer()
	w := g.startWorker(noJams, slow)
	g.atOnce(func() {
		g.coffee("order", "--order-id", "mine", "--drink", "latte", "--no-wait")
		g.untilBrewing("mine")
		g.say("Now the other side:")
		g.kill(g.server)
	})
	g.coffeeFails(1, "status", "mine").shows("no Temporal server answers")
	g.say("The worker is still brewing, and keeps trying to reach the server. Start the server again, on the same database:")
	g.pause()
	began := time.Now()
	g.startServer()
	g.untilOver("mine", coffee.StatusCompleted)
	g.story(w)
	g.say("(WRN: the worker could not reach the server. It tried again by itself.)")
	g.say("It took %v from the start of the server to the end of the order. What a server has acknowledged is on the disk; there is nothing to restore.", time.Since(began).Round(time.Second))
	g.coffee("timeline", "mine")
	g.ledger("mine", "charge")
	g.ask("The client that placed the order got its answer before the server died. What if it had not?",
		"Then it places the order again, with the same id, and joins the existing order, or creates it. So an id that the client chooses makes placing an order safe to repeat.")
	g.where("devserver/sync.go      one wait for the disk before each reply", "coffee/client.go       Place, join")
}

func queue(g *guide) {
	g.startServer()
	g.say("There is no worker yet. Six orders come in:")
	g.print("")
	ids := []string{"a", "b", "c", "d", "e", "f"}
	for _, id := range ids {
		g.quietly("order", "--order-id", id, "--drink", "espresso", "--no-wait")
	}
	g.until("six tasks are waiting", func() bool { return g.backlog() == int64(len(ids)) })
	g.say("No order was refused: all are on the server. The task queue coffee-orders holds %d tasks, one for each order:", g.backlog())
	listed := g.coffee("status")
	g.expect(strings.Count(listed.stdout, "espresso") == len(ids), "not all orders are listed")
	g.say("(Accepted: the server has the order. No worker has run its workflow yet, so nobody has decided its price.)")
	g.pause()
	g.say("One worker, which does one thing at a time:")
	one := g.startWorker(noJams, "--concurrency=1", "--charge-time=0.2s", "--brew-time=1s", "--receipt-time=0.1s")
	g.until("it has begun to brew", func() bool { return strings.Contains(one.text(), "brewing") })
	g.say("A second one, on any machine that reaches the server. Nobody tells the first one, or the server:")
	two := g.startWorker(noJams, "--concurrency=1", "--charge-time=0.2s", "--brew-time=1s", "--receipt-time=0.1s")
	for _, id := range ids {
		g.untilOver(id, coffee.StatusCompleted)
	}
	g.until("the queue is empty", func() bool { return g.backlog() == 0 })
	brewed := func(p *process) int { return strings.Count(p.text(), " brewed ") }
	g.say("All six are done. The first worker brewed %d of them, the second %d.", brewed(one), brewed(two))
	g.expect(brewed(one)+brewed(two) == len(ids) && brewed(two) > 0, "the first worker brewed %d, the second %d", brewed(one), brewed(two))
	g.ask("Who shared out the work?",
		"Nobody. A worker polls when it has free capacity, so a slow worker takes less work. There is no load balancer, and nobody knows a worker's address. A worker with other code polls the same queue; chapter 8 shows what happens then.")
	g.where("coffee/worker.go       NewWorker", "coffee/contract.go     TaskQueue")
}

// backlog returns how many tasks wait in the task queue.
func (g *guide) backlog() (tasks int64) {
	described, err := g.temporal.WorkflowService().DescribeTaskQueue(g.ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace:     client.DefaultNamespace,
		TaskQueue:     &taskqueuepb.TaskQueue{Name: coffee.TaskQueue},
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
		ReportStats:   true,
	})
	g.must(err)
	return described.GetStats().GetApproximateBacklogCount()
}

func saga(g *guide) {
	g.startServer()
	w := g.startWorker(noJams, "--charge-time=4s")
	g.say("A saga undoes its earlier steps when a later one fails: a brew that fails for good refunds the charge. The question is when to register what must be undone. " +
		"This charge takes four seconds. Cancel the order while it is on its way:")
	g.atOnce(func() {
		g.coffee("order", "--order-id", "mine", "--drink", "latte", "--no-wait")
		g.until("the charge is under way", func() bool { return strings.Contains(w.text(), "charging") })
		g.coffee("cancel", "mine")
	})
	g.untilOver("mine", coffee.StatusCancelled)
	g.ledger("mine", "void")
	g.say("There is no charge yet, but its refund is already settled, as a void: this order will never be charged. " +
		"The workflow had registered the refund before it asked for the charge. (With one step to undo, that is one variable; with several, it would be a list.) Now the charge arrives, a zombie: an attempt that nobody waits for any more.")
	g.until("the charge has arrived", func() bool {
		return strings.Contains(w.text(), "charge not made") || strings.Contains(w.text(), "charge stopped")
	})
	g.story(w)
	g.ledger("mine", "void")
	g.ask("What if the workflow registered the refund after the charge, when it knows that there is something to refund?",
		"A lost answer can be had again: the charge is tried again, and the ledger returns the first outcome. But if that was the last attempt, or the order is cancelled while the charge is on its way, the workflow goes on without knowing that money moved, and no refund would be registered.")
	g.where("coffee/workflow.go     chargeAndBrew (refundDue), undo", "coffee/ledger/sql.go   Refund, which voids", "docs/durability.md     every race, and its test")
}

func replay(g *guide) {
	g.startServer()
	w := g.startWorker(noJams, slow)
	g.say("An order is brewing on today's code:")
	g.atOnce(func() {
		g.coffee("order", "--order-id", "old", "--drink", "latte", "--no-wait")
		g.untilBrewing("old")
		g.say("A new release is to greet customers before it charges them. Somebody puts a step at the top of the workflow, and rolls it out:")
		g.code("greetFirst")
		g.kill(w)
	})
	g.say("(This program has neither of the two releases that come now. The tour runs them itself, in its own process.)")
	w = g.workOn(release.Named(release.Broken), "new")
	g.until("the new release has met the old order", func() bool { return g.taskFailed("old") })
	g.story(w)
	g.say("A workflow must be deterministic: run on its own history, it must ask for the same steps in the same order. " +
		"The history says charge; this code says greet. " +
		"The brew itself went well, as activities know nothing of the workflow's code. But the workflow task, the piece of the story that comes after it, has failed. The server offers it again, at growing intervals. The order is stuck, but it is not lost:")
	g.coffee("status", "old").shows("Charged      yes", "The last worker could not go on with it: [TMPRL1100]")
	g.say("[TMPRL1100] is the SDK's number for that error; its words differ from case to case.")
	g.ask("Could you have known before the rollout?", "Yes. The new program replays the existing orders, without changing them:")
	g.replayOn(7, release.Named(release.Broken), "new").shows("ScheduleActivityTask greet_customer")
	g.say("With a patch, the code asks the history first: did this order pass this point without a greeting? An old one did, a new one did not:")
	g.code("greetPatched")
	g.replayOn(0, release.Named(release.Patched), "patched")
	g.pause()
	g.say("The worker of the new release is stopped, and one of the patched release takes its place:")
	w.end()
	g.workOn(release.Named(release.Patched), "patched")
	g.untilOver("old", coffee.StatusCompleted)
	g.coffee("order", "--order-id", "new", "--drink", "latte", "--no-wait")
	g.untilOver("new", coffee.StatusCompleted)
	g.coffee("timeline", "old").shows("nondeterminism error")
	g.coffee("timeline", "new").shows("greet")
	g.ledger("old", "charge")
	g.say("(\"waiting\" in the timeline: the server kept the next task for two seconds for the worker that had the order last, and that was killed; then any worker could take it. The empty seconds before the receipt are the wait until the server offered the failed task again.) " +
		"You may delete the old branch when no order from before the patch is left, running or finished: finished orders are deleted after their retention, three days by default, and until then an operator can reset them to an earlier point. Keep the call, with version 1 as its minimum.")
	g.where("internal/release/release.go   both ways to write it", "coffee/replay/replay.go       Check, which coffee replay and every audit call", "coffee/replay/upgrade_test.go  recorded histories on tomorrow's code", "docs/design.md                how to change the workflow")
}

// taskFailed reports whether an order has a workflow task that failed because its code
// and its history do not fit.
func (g *guide) taskFailed(orderID string) bool {
	history, err := g.orders.History(g.ctx, orderID)
	g.must(err)
	return slices.ContainsFunc(history.Events, func(event *historypb.HistoryEvent) bool {
		return event.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
	})
}

//go:embed time_test.go
var tenLines string

func skipTime(g *guide) {
	g.say("This order's brew jams five times. Its backoffs are 1, 2, 4 and 8 seconds, so it takes fifteen seconds to give up. The server can let that time pass at once:")
	began := time.Now()
	g.coffeeFails(3, "order", "--dev", "--skip-time", "--log-level", "never", "--order-id", "late", "--drink", "latte", "--brew-failure-rate=1", "--charge-time=0", "--brew-time=0", "--receipt-time=0")
	took := time.Since(began)
	g.say("It took %v. A workflow reads its time from the history, not from the machine, so the server can move it.", took.Round(10*time.Millisecond))
	g.expect(took < 15*time.Second, "it took %v", took)
	g.pause()
	g.say("A test needs no server for it. This one waits for a month:")
	_, test, found := strings.Cut(tenLines, "// The test.\n")
	g.expect(found, "there is no test")
	g.print("")
	g.show(test)
	g.where("coffee/workflow_test.go           whole orders, with activities that fail and signals that come in between", "devserver/example_test.go         the same against a real server", "commands/internal/tour/time_test.go   the ten lines")
}

func cluster(g *guide) {
	g.say("What changes when the server is a cluster of many machines, or Temporal Cloud? In the workflow: nothing. You give the worker another address:")
	g.print("", "$ export TEMPORAL_ADDRESS=temporal.example.com:7233", "$ export COFFEE_LEDGER=postgres://coffee@db.example.com/coffee", "$ coffee worker")
	g.say("Run as many workers as the load needs. The ledger moves to PostgreSQL, because workers on several machines share it. " +
		"Everything that you have seen is the same there: the history is the truth, workers keep nothing, and coffee replay comes before a rollout. " +
		"The server in this program runs on one machine, and lets in everybody who reaches it, or with --secure whoever has a certificate; a cluster has certificates or API keys, and coffee worker takes them. " +
		"docs/operating.md says what to watch, what is encrypted, and how to upgrade.")
	g.where("docs/operating.md      on a cluster, or in Temporal Cloud", "docs/durability.md     what was proven, and how", "docs/design.md         where everything is; how to add a drink, a step, a ledger", "coffee/doc.go          the code, in the order in which to read it")
}
