//go:build unix

package chaos

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// TestDisturbances: each disturbance does what its name says, and after it new
// connections work, even if nobody has read what was sent on the old ones.
func TestDisturbances(t *testing.T) {
	t.Parallel()
	for _, d := range disturbances {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			w, err := newWire(echo(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.close)
			dial := func() net.Conn {
				t.Helper()
				conn, err := net.Dial("tcp", w.address())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				conn.SetDeadline(time.Now().Add(time.Minute))
				return conn
			}
			ask := func(conn net.Conn, size int) (answered int) {
				t.Helper()
				if _, err := conn.Write(bytes.Repeat([]byte("x"), size)); err != nil {
					return 0
				}
				n, _ := io.ReadFull(conn, make([]byte, size))
				return n
			}
			before := dial()
			if got := ask(before, 10); got != 10 {
				t.Fatalf("%d bytes without a disturbance", got)
			}
			silent := dial() // which reads nothing
			go silent.Write(make([]byte, 8<<20))

			if !w.begin(d) || w.begin(d) {
				t.Fatal("it is not disturbed once")
			}
			held := d.noReplies || d.noRequests
			if !held {
				want := map[string]int{"slow": 2000, "cut replies": 690}[d.name] // 10 of 700 bytes have passed
				if got := ask(before, 2000); got != want {
					t.Errorf("%d bytes arrived, want %d", got, want)
				}
			} else if _, err := before.Write([]byte("late")); err != nil {
				t.Fatal(err)
			}
			if held {
				before.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if n, err := before.Read(make([]byte, 4)); n != 0 || err == nil {
					t.Errorf("%d bytes arrived, %v", n, err)
				}
				before.SetReadDeadline(time.Now().Add(time.Minute))
			}
			w.end()
			if held {
				n, err := io.ReadFull(before, make([]byte, 4))
				if (err == nil) != d.resumes {
					t.Errorf("afterwards %d bytes arrived, %v", n, err)
				}
			}
			if got := ask(dial(), 2000); got != 2000 {
				t.Errorf("%d bytes on a new connection", got)
			}
		})
	}
}
