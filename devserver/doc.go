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
// loopback interface. Read on in options.go (what can be set), config.go (how
// that becomes the server's own configuration), database.go (the file, its lock
// and its stamp), server.go (start and stop), ports.go, ui.go and log.go.
package devserver
