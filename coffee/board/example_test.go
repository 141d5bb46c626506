package board_test

import (
	"context"
	"log"
	"net"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/board"
	"example.com/coffee/coffee/desk"
)

// A board watches the orders and serves its page until either fails.
func ExampleNew() {
	temporal, err := client.NewLazyClient(client.Options{HostPort: "localhost:7233"}) // the server need not be there yet
	if err != nil {
		log.Fatal(err)
	}
	defer temporal.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	b := board.New(board.Options{Orders: desk.NewClient(temporal, "default"), Namespace: "default"})
	go b.Run(context.Background())
	log.Fatal(b.Server(listener.Addr()).Serve(listener))
}
