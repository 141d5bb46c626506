// Package devserver runs a whole Temporal server, with its Web UI, inside a Go
// program: for development, for tests, and for applications that want to be
// one binary.
//
//	server, err := devserver.Start(ctx, devserver.Options{})
//	if err != nil {
//		return err
//	}
//	defer server.Stop()
//	c, err := client.Dial(client.Options{HostPort: server.Address()})
//
// The zero [Options] keep everything in memory and listen on free ports of the
// loopback interface. A program can have several servers.
//
// It is the same server as everywhere, made of Temporal's own services. What is
// different, and makes it fast on one machine: settings (config.go); services
// that call each other instead of sending each other messages (services.go,
// inprocess.go); a connection to SQLite that prepares its statements
// (internal/store); a disk that is waited for once per reply instead of once per
// transaction (sync.go); waits that end when there is something to know, and when
// the server stops (polls.go); services that are told of namespaces that change
// (namespaces.go).
//
// Read on in options.go (what can be set), database.go (the file, its lock and
// its stamp), backup.go, server.go (start and stop), closers.go (what Stop lets
// go of), ports.go, ui.go and log.go.
package devserver
