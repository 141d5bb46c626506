// Package coffee is a coffee shop whose orders are durable Temporal workflows.
// Read it in this order; each part also shows a piece of Temporal.
//
// What an order is: order.go has the nouns and their validation, pricing.go the prices
// ([PricingStrategy]), contract.go all names and types that cross the wire, which is what
// clients and workers in other languages share with these.
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
// and notification.go, built by the [ServiceFactory] in factory.go. What a [Ledger] of
// payments and delivered coffees promises is in ledger.go; recall.go keeps what an order
// was accepted as when an operator resets it.
//
// Who runs it: worker.go. A [Worker] polls the task queue and runs workflows and
// activities. Kill it, and the next one carries on. policy.go has the numbers:
// attempts, backoff and timeouts.
//
// Who asks for it: client.go places and cancels orders, and waits for their results.
// foreign.go reads what clients and workers of other programs have sent.
//
// Packages beside it look on: desk describes orders, audit checks them and the [Ledger].
package coffee
