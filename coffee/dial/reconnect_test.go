package dial

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// pollServer answers a poll with the worker's identity as soon as there is a task.
type pollServer struct {
	workflowservice.UnimplementedWorkflowServiceServer
	polled chan struct{}
	task   chan struct{}
}

func (s *pollServer) PollActivityTaskQueue(ctx context.Context, _ *workflowservice.PollActivityTaskQueueRequest) (*workflowservice.PollActivityTaskQueueResponse, error) {
	s.polled <- struct{}{}
	select {
	case <-s.task:
		return &workflowservice.PollActivityTaskQueueResponse{ActivityId: "5"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve serves at an address until stop is called, which cuts the connections.
func (s *pollServer) serve(t *testing.T, address string) (at string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // it ends when it is stopped
	return listener.Addr().String(), func() { server.Stop(); serving.Wait() }
}

// TestReconnect: when the server goes away, a worker's poll fails once. The next one
// waits for the server, while other requests fail at once.
func TestReconnect(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	service := &pollServer{polled: make(chan struct{}, 2), task: make(chan struct{}, 2)}
	address, stop := service.serve(t, "127.0.0.1:0")
	warned := make(chan string, 8)
	log := zerolog.New(io.Discard).Hook(zerolog.HookFunc(func(_ *zerolog.Event, _ zerolog.Level, message string) { warned <- message }))
	asked := make(chan error, 8)
	why := func(_ context.Context, err error) error { asked <- err; return err }
	conn, err := grpc.NewClient(address, append(Reconnect(log, why), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := workflowservice.NewWorkflowServiceClient(conn)
	polls := make(chan error)
	poll := func() {
		task, err := client.PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{})
		if err == nil && task.GetActivityId() != "5" {
			t.Errorf("got %v", task)
		}
		polls <- err
	}
	disconnected := func() {
		for conn.GetState() == connectivity.Ready && conn.WaitForStateChange(ctx, connectivity.Ready) {
		}
	}
	go poll()
	<-service.polled
	stop()
	if err := <-polls; status.Code(err) != codes.Unavailable {
		t.Fatalf("the poll that was cut off: %v", err)
	}

	disconnected()
	go poll() // waits
	for range 3 {
		if _, err := client.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("another request while the server is away: %v", err)
		}
	}
	select {
	case err := <-polls:
		t.Fatalf("the poll did not wait for the server: %v", err)
	default:
	}
	if message := <-warned; message != "no connection to the server: waiting for it" {
		t.Errorf("the log says: %s", message)
	}
	if err := <-asked; !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the reason is: %v", err)
	}
	_, stop = service.serve(t, address)
	service.task <- struct{}{}
	if err := <-polls; err != nil {
		t.Errorf("the poll that waited: %v", err)
	}
	if message := <-warned; message != "connected to the server again" {
		t.Errorf("the log says: %s", message)
	}
	if len(warned) > 0 || len(asked) > 0 {
		t.Errorf("the log says more: %s", <-warned)
	}

	// A poll that waits for the server ends with its worker.
	stop()
	go poll()
	if err := <-polls; status.Code(err) != codes.Unavailable {
		t.Errorf("a poll when the server has just gone: %v", err)
	}
	disconnected()
	stopping, stopWorker := context.WithCancel(ctx)
	go func() {
		_, err := client.PollActivityTaskQueue(stopping, &workflowservice.PollActivityTaskQueueRequest{})
		polls <- err
	}()
	stopWorker()
	if err := <-polls; status.Code(err) != codes.Canceled {
		t.Errorf("a poll of a worker that stops: %v", err)
	}
}
