// Package audit checks that the orders and the money agree: no order lost,
// nobody charged twice, nobody charged for a coffee that was not made.
//
// It is written apart from the code that it checks. It reads the ledger's rows
// with its own SQL and each order's history event by event, forms its own
// opinion of what must be in the ledger, and compares. It shares with the
// application the names of the contract, the workflow that it replays, and the
// SQLite schema that it compares the database's with.
//
// In reading order: the rules ([Rule]), what is read of an order (story.go) and
// of the ledger (book.go), how the two are compared (judge.go), and [Run].
package audit
