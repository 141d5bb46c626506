// Package devserver runs a whole Temporal server, with its Web UI, inside a Go
// program: for development, for tests, and for applications that are to be one
// binary.
//
//	server, err := devserver.Start(ctx, devserver.Options{})
//	if err != nil {
//		return err
//	}
//	defer server.Stop()
//	c, err := client.Dial(server.ClientOptions())
//
// Such a client needs no socket. Clients in other processes dial [Server.Address].
//
// A test gets one with the package devservertest, which stops it, too.
//
// A program that is not in this module says so in its go.mod (docs/your-own-service.md), or
// copies devserver, internal and timeline. It links Temporal's server: 220 modules and 220 MB
// with debug information, of which the Web UI is 6 MB. The first compilation takes four or
// five minutes on two cores, the next ones as long as the linker, ten seconds.
//
// The zero [Options] keep everything in memory and listen on free ports of the
// loopback interface. A program can run several servers.
//
// The server consists of Temporal's own services and behaves as it does elsewhere.
// These differences make it fast on one machine: settings (config.go); services
// that call each other instead of sending each other messages (services.go,
// inprocess.go), and are called by clients in the same process (transport.go); a
// connection to SQLite with prepared statements (internal/store);
// one wait for the disk per reply instead of one per transaction (sync.go); waits
// that end as soon as there is news or the server stops (polls.go); services that
// are told when a namespace changes (namespaces.go).
//
// With the build tag noserver the package has everything but the server: see
// noserver.go. Its tests need the server.
//
// Read on in options.go (what can be set), server.go (start and stop) and database.go
// (the file and its lock); upgrade.go, carry.go and adopt.go are about files of other
// servers. The other files are named after what they do.
package devserver
