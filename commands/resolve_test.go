package commands

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/devserver"
)

// TestWebServer: the port of a web page is told apart from one where nobody answers.
func TestWebServer(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	a := &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := connect.Open(ctx, a, connect.Options{Options: client.Options{HostPort: web.Listener.Addr().String(), Namespace: "default"}})
	if err == nil || !strings.Contains(err.Error(), ": a web server answers there") {
		t.Errorf("got %v", err)
	}
}

// silent listens at an address, and never answers.
func silent(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// TestReadyTimeout: the timeout is kept when nothing comes from the server's port, and the
// error says who does not answer.
func TestReadyTimeout(t *testing.T) {
	t.Parallel()
	address := silent(t)
	a := app.New(t.Output(), t.Output(), app.Options{})
	a.Log, a.Platform = zerolog.Nop(), zerolog.Nop()
	began := time.Now()
	err := runReady(context.Background(), a, readyPlan{300 * time.Millisecond, func() (connect.Options, error) {
		return connect.Options{Options: client.Options{HostPort: address, Namespace: "default"}}, nil
	}})
	if err == nil || err.Error() != "no Temporal server answers at "+address {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > connect.Patience { // what an attempt may take otherwise
		t.Errorf("it took %v", took)
	}
}

// TestReadyWaitsForFiles: a configuration file that is not there yet is waited for, and
// one that is wrong is not.
func TestReadyWaitsForFiles(t *testing.T) {
	t.Parallel()
	a := app.New(t.Output(), t.Output(), app.Options{})
	a.Log, a.Platform = zerolog.Nop(), zerolog.Nop()
	wrong := errors.New("wrong")
	answers := []error{&fs.PathError{Op: "stat", Path: "temporal.toml", Err: fs.ErrNotExist}, wrong, nil}
	asked := 0
	err := runReady(context.Background(), a, readyPlan{patience, func() (connect.Options, error) {
		asked++
		return connect.Options{}, answers[asked-1]
	}})
	if !errors.Is(err, wrong) || asked != 2 {
		t.Errorf("after %d times: %v", asked, err)
	}
	// What has been read is not read again: it may have come with a warning.
	asked = 0
	err = runReady(context.Background(), a, readyPlan{4 * readyInterval, func() (connect.Options, error) {
		asked++
		return connect.Options{Options: client.Options{HostPort: "127.0.0.1:1", Namespace: "default"}}, nil
	}})
	if err == nil || asked != 1 {
		t.Errorf("after %d times: %v", asked, err)
	}
}

// TestWorkerWaits: a worker waits for a server that is not there yet, and says so once.
// When it is there, a namespace that is missing is an error.
func TestWorkerWaits(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + ports[0]
	waiting := make(chan string, 8)
	log := zerolog.New(t.Output()).Hook(zerolog.HookFunc(func(_ *zerolog.Event, _ zerolog.Level, message string) { waiting <- message }))
	a := &app.App{Log: log, Platform: zerolog.Nop()}
	connected := make(chan error)
	go func() {
		conn, err := connect.OpenWhenUp(ctx, a, connect.Options{Options: client.Options{HostPort: address, Namespace: client.DefaultNamespace}})
		if err == nil {
			conn.Close()
		}
		connected <- err
	}()
	if message := <-waiting; message != "waiting for the server" {
		t.Errorf("the log says: %s", message)
	}
	port, err := strconv.Atoi(ports[0])
	if err != nil {
		t.Fatal(err)
	}
	server, err := devserver.Start(ctx, devserver.Options{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if err := <-connected; err != nil {
		t.Error(err)
	}
	if len(waiting) > 0 {
		t.Errorf("the log says more: %s", <-waiting)
	}
	_, err = connect.OpenWhenUp(ctx, a, connect.Options{Options: client.Options{HostPort: address, Namespace: "elsewhere"}})
	if err == nil || !strings.Contains(err.Error(), `there is no namespace "elsewhere"`) {
		t.Errorf("got %v", err)
	}
}

// TestServerWithoutItsDatabase: a server can answer while its own database does not. A
// command goes on, because its requests are tried again; a worker waits first.
func TestServerWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	silent := 0 // requests that are not answered
	options := connect.Options{Options: client.Options{HostPort: server.Address(), Namespace: client.DefaultNamespace}}
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, request, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			if strings.HasSuffix(method, "/DescribeNamespace") && silent > 0 {
				silent--
				return status.Error(codes.Unavailable, "no usable database connection found")
			}
			return invoke(ctx, method, request, reply, c, o...)
		}))
	a := &app.App{Log: zerolog.New(t.Output()), Platform: zerolog.Nop()}
	for _, test := range []struct {
		name    string
		connect func(context.Context, *app.App, connect.Options) (*connect.Connection, error)
		left    int // of the two requests that are not answered; -1 if there is no connection
	}{{"a command", connect.Open, 1}, {"ready", connect.OpenReady, -1}, {"a worker", connect.OpenWhenUp, 0}} {
		silent = 2
		conn, err := test.connect(ctx, a, options)
		left := silent
		if err != nil {
			left = -1
		} else {
			conn.Close()
		}
		if left != test.left {
			t.Errorf("%s: %d unanswered requests are left, want %d; %v", test.name, left, test.left, err)
		}
	}
}
