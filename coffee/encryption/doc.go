// Package encryption keeps what customers order, and why orders fail, from whoever
// runs the Temporal server: payloads are encrypted before they leave the process, and
// decrypted when they come back. Programs that have the keyset see no difference.
//
// keyset.go keeps the keys in a file; codec.go encrypts a payload; interceptor.go does
// so with everything that a Temporal client or worker sends; handler.go decrypts for
// Temporal's Web UI and command line. The cryptography is Tink's
// (https://developers.google.com/tink): an AEAD, which also detects any change.
//
// Encrypted are the inputs and results of workflows, activities, signals and queries,
// memos, summaries, and the messages and stack traces of failures. Not encrypted are
// the names by which the server works: workflow ids and so order ids, the types of
// workflows and activities, task queues, times, and search attributes, by which it
// finds workflows: here how an order ended.
package encryption
