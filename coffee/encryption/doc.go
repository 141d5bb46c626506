// Package encryption keeps what customers order, and why orders fail, from whoever
// runs the Temporal server: payloads are encrypted before they leave the process, and
// decrypted when they come back. Programs that have the keyset see no difference.
//
// keyset.go keeps the keys in a file; codec.go encrypts a payload; converter.go does so for
// everything that a Temporal client or worker converts; client.go decrypts what the SDK
// hands out as the server has it; guard.go finds out that a worker has the wrong keyset;
// handler.go decrypts for Temporal's Web UI and command line. The cryptography is Tink's
// (https://developers.google.com/tink): an AEAD, which also detects any change.
//
// Encrypted are the inputs and results of workflows, activities, updates, signals and
// queries, side effects, heartbeats, memos, summaries, and the messages and stack traces of
// failures. Everything is padded, and bound to its namespace and workflow, except for what
// the SDK does not tell the workflow of: why a workflow task failed, the details of a
// workflow that ends as cancelled, and a schedule's memo are bound to the namespace only; a
// child's memo and summary are bound to its parent. What Temporal's CLI encrypts through the
// codec server is bound to the namespace. A schedule binds input to the workflow id before
// the server adds the time to it, so workflows cannot read what a schedule has encrypted.
//
// Not encrypted are the names by which the server works: workflow ids and so order ids, the
// types of workflows and activities, task queues, times, and search attributes, by which it
// finds workflows: here how an order ended. Nor are headers (trace ids), the reason of a
// termination, and the text of the error of a query.
package encryption
