// Package operations keeps a journal of what clients asked of orders and what they were
// told, and checks that it could have happened: that it is linearizable.
//
// journal.go writes and reads the journal; model.go is the order as a client may see it,
// and the check.
package operations
