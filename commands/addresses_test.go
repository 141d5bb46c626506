package commands

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/sleep"
)

// TestAddressList: with several addresses, a worker and a client go on when the server
// behind one of them is gone, and when it is back and the other one is gone.
func TestAddressList(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	server, err := devserver.Start(ctx, devserver.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	doors := []*door{newDoor(t, server.Address()), newDoor(t, server.Address())}
	options := client.Options{HostPort: doors[0].address + "," + doors[1].address, Namespace: client.DefaultNamespace}
	conn, err := connect.Open(ctx, &app.App{Log: log, Platform: log}, connect.Options{Options: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if want := options.HostPort; conn.At.Address != want {
		t.Errorf("the address is %s, want %s", conn.At.Address, want)
	}
	book, err := ledger.OpenMemory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	s := atConnection(t, conn, book, "", log)
	s.startWorkerWith(coffee.WorkerOptions{})
	order := func(id string) {
		t.Helper()
		s.placeAgain(ctx, id)
		s.WantCompleted(ctx, id, 525)
	}
	order("both")
	for i, id := range []string{"second", "first"} {
		doors[i].close()
		order(id)
		doors[i].open(t)
		for doors[i].passed() == 0 { // gRPC connects again by itself
			if !sleep.For(ctx, 10*time.Millisecond) {
				t.Fatal("nobody comes back")
			}
			order(id)
		}
	}
}

// placeAgain places an order until the server answers.
func (s *shop) placeAgain(ctx context.Context, id string) {
	s.T.Helper()
	for {
		_, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM})
		if err == nil {
			return
		}
		if !sleep.For(ctx, 10*time.Millisecond) {
			s.T.Fatal(err)
		}
	}
}

// door is an address behind which a server answers, as long as it is open.
type door struct {
	address, server string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	entered  int // connections since it was opened
}

func newDoor(t *testing.T, server string) *door {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{address: "127.0.0.1:" + ports[0], server: server}
	d.open(t)
	t.Cleanup(d.close)
	return d
}

func (d *door) open(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.listener, d.address, d.entered = listener, listener.Addr().String(), 0
	d.mu.Unlock()
	go func() {
		for {
			outer, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			inner, err := net.Dial("tcp", d.server)
			if err != nil {
				outer.Close()
				continue
			}
			d.mu.Lock()
			d.conns = append(d.conns, outer, inner)
			d.entered++
			d.mu.Unlock()
			go func() { _, _ = io.Copy(inner, outer); inner.Close() }()
			go func() { _, _ = io.Copy(outer, inner); outer.Close() }()
		}
	}()
}

func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listener.Close()
	for _, conn := range d.conns {
		conn.Close()
	}
	d.conns = nil
}

func (d *door) passed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.entered
}
