// Package coffee is a coffee shop whose orders are durable Temporal workflows.
// Read it in this order; each part also shows a piece of Temporal.
//
// What an order is: order.go and menu.go define the nouns and their validation,
// pricing.go the prices ([PricingStrategy]). contract.go has all names and types
// that cross the wire, which is what clients and workers in other languages share
// with these.
//
// What happens to an order: workflow.go. [OrderWorkflow.OrderCoffeeWorkflow] is a
// workflow: plain code that Temporal can stop at any line and continue on another
// machine, because the server keeps a history of everything that the code awaited.
// It therefore does no I/O and reads no clock but the workflow's. Signal, query,
// cancellation, compensation and side effect are all in this file.
//
// What has effects: activities.go. An activity is where a workflow touches the
// world; it can fail, time out or run twice, and Temporal retries it. The work
// itself is done by services that know nothing of Temporal: payment.go, brewing.go
// and notification.go, built by the [ServiceFactory] in factory.go.
//
// Where payments and delivered coffees are recorded: ledger.go says what a [Ledger]
// promises. The package ledger keeps the promises, in SQLite or PostgreSQL; the
// package audit checks them from outside.
//
// Who runs it: worker.go. A [Worker] polls the task queue and runs workflows and
// activities. Kill it, and the next one carries on. policy.go has the numbers:
// attempts, backoff and timeouts.
//
// Who asks for it: client.go places and cancels orders, view.go describes one,
// list.go lists them, and diagnosis.go says why one waits, by the workers that crew.go
// finds. What the server's summary lacks, they read from the order's history:
// history.go. Nothing of that trusts the server or other clients: dial.go, pages.go and
// foreign.go keep lists and histories from having no end, and what cannot be read of one
// order from stopping the others. unreadable.go finds out that it is encrypted; border.go
// makes errors ones that can be sent.
//
// Further files are named after what they do, such as replay.go, rollout.go and skip.go.
//
// Who looks on: metrics.go counts what happens to orders. The package telemetry serves
// that to Prometheus and traces each order; the package encryption hides orders from
// whoever runs the server. The workflow knows of the latter only that an order which cannot
// be read has to wait.
//
// The tests need no server: workflow_test.go runs orders with time skipped,
// replay_test.go replays recorded histories on the current code, and
// upgrade_test.go on the next release's.
package coffee
