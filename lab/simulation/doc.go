// Package simulation runs a Temporal server, with its workers and clients, in virtual time:
// all of them in one bubble of [testing/synctest], where a pause of an hour takes no time.
//
// [Run] opens the bubble and watches it from outside. A [World] has the server, which can be
// killed at a commit (server.go), and each worker or client reaches it through a [Node] that
// can be killed and frozen (node.go), and whose calls can be lost, delayed or cut
// (network.go). What [World.Keep] keeps running starts again after its death, and
// [World.Storm] injects faults that the seed decides (storm.go). transfer_test.go is an
// example: a saga with a bug that a few seeds find.
//
// A dead server is not stopped in the middle of what it does. At the instant of its death the
// world takes a copy of its database, which has what a killed process leaves, and cuts it
// off: no reply leaves it any more. The next server starts on the copy, and the dead one
// stops as any other would, on a database that nobody looks at again.
//
// What stops the clock of a bubble is a goroutine that waits for a [sync.Mutex] while its
// holder waits for something else. The SDK holds one during heartbeats, so a node sends them
// on its own (heartbeat.go), and another while it works on a workflow that it remembers, until
// the server has the outcome, so workers remember none. That has its use: all workers of a
// process share that memory, and what a killed one remembered would spare the next one the
// replay that it is to be tested with. Temporal's matching service holds one while it tries
// a failed call of the database again, so the server's own database does not fail here.
package simulation
