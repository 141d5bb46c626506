// Package audit checks that the orders and the money agree: no order is lost, no
// customer is charged twice, and none is charged for a coffee that was not made.
//
// What it judges by is independent of the code that it checks. It reads the ledger's
// rows with its own SQL and each order's history event by event, works out for itself
// what must be in the ledger, and compares. It shares with the application the names
// of the contract, the workflow that it replays, what fetches and decodes histories, and
// what a ledger's name means.
//
// The package has words of its own:
//   - A story is what the history of one run says about an order.
//   - A chain is an original run and its resets, of which the last counts.
//   - A [Book] is a ledger that is opened for reading only.
//   - A file is everything known about one workflow id: its chains and its rows.
//   - A judge compares a file's chains with its rows and gathers the breaches.
//
// In reading order: the rules ([Rule]), what is read of an order (read.go and
// story.go) and of the ledger (book.go), how the two are compared (judge.go), which
// rows may outlive their history (retention.go), [Run], and its [Report]
// (report.go).
package audit
