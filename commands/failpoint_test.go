package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// failpointVariable names the environment variable that makes this test binary,
// run as coffee, die at a failpoint. The program itself does not read it. Its value
// is an activity and an instant, for example charge_customer/committed.
const failpointVariable = "COFFEE_TEST_FAILPOINT"

// The instants at which a worker can die.
const (
	instantBefore    = "before"    // it has the task, and has done nothing
	instantCommitted = "committed" // the activity is done, and the server does not know
	instantReturned  = "returned"  // the server has the result
)

// failAt returns the option that watches the worker's calls to the server, and
// kills the process at the failpoint.
func failAt(point string) grpc.DialOption {
	activity, instant, _ := strings.Cut(point, "/")
	var mu sync.Mutex
	tokens := map[string]bool{} // of the tasks of the activity
	got := func(task *workflowservice.PollActivityTaskQueueResponse) {
		if task.GetActivityType().GetName() != activity {
			return
		}
		if instant == instantBefore {
			dieHere()
		}
		mu.Lock()
		defer mu.Unlock()
		tokens[string(task.GetTaskToken())] = true
	}
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		completed, isCompletion := request.(*workflowservice.RespondActivityTaskCompletedRequest)
		mu.Lock()
		isOurs := isCompletion && tokens[string(completed.GetTaskToken())]
		mu.Unlock()
		if isOurs && instant == instantCommitted {
			dieHere()
		}
		if err := invoke(ctx, method, request, response, conn, options...); err != nil {
			return err
		}
		if isOurs && instant == instantReturned {
			dieHere()
		}
		switch response := response.(type) {
		case *workflowservice.PollActivityTaskQueueResponse:
			got(response)
		case *workflowservice.RespondWorkflowTaskCompletedResponse:
			for _, task := range response.GetActivityTasks() {
				got(task)
			}
		}
		return nil
	})
}

// dieHere ends the process as kill -9 does.
func dieHere() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// TestWorkerDies kills the worker at each dangerous instant of each step. The
// next worker finishes the order correctly.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	for _, activity := range []string{
		coffee.ActivityChargeCustomer, coffee.ActivityBrewCoffee, coffee.ActivitySendReceipt, coffee.ActivityRefundCustomer,
	} {
		for _, instant := range []string{instantBefore, instantCommitted, instantReturned} {
			t.Run(activity+"/"+instant, func(t *testing.T) {
				if activity == coffee.ActivityBrewCoffee || activity == coffee.ActivitySendReceipt {
					rarely(t) // the money is in the other two
				}
				t.Parallel()
				testWorkerDies(t, activity, instant)
			})
		}
	}
}

func testWorkerDies(t *testing.T, activity, instant string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	brewTime := "1ms"
	cancelled := activity == coffee.ActivityRefundCustomer
	if cancelled {
		brewTime = "9s" // there is time to cancel
	}
	first := coffeeCommand(t, "worker", "--address", s.conn.At.Address, "-n", s.conn.Namespace, "--ledger", s.book,
		"--charge-time", "1ms", "--brew-time", brewTime, "--receipt-time", "1ms", "--brew-failure-rate", "0")
	first.Env = append(first.Env, failpointVariable+"="+activity+"/"+instant)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	died := make(chan error, 1)
	go func() { died <- first.Wait() }()
	t.Cleanup(func() { first.Process.Kill() })

	s.place(ctx, "123")
	if cancelled {
		s.await(ctx, "123", func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
		if err := s.orders.Cancel(ctx, "123", ""); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-died:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("the worker ended with %v instead of dying", err)
		}
	case <-ctx.Done():
		t.Fatal("the worker did not reach the failpoint")
	}
	want := fmt.Sprint([]coffee.EntryKind{coffee.EntryCharge})
	if activity == coffee.ActivityChargeCustomer && instant == instantBefore {
		want = "[]"
	}
	if cancelled && instant != instantBefore {
		want = fmt.Sprint([]coffee.EntryKind{coffee.EntryCharge, coffee.EntryRefund})
	}
	if got := s.kinds(ctx, "123"); got != want {
		t.Errorf("when the worker died, the ledger had %s; want %s", got, want)
	}

	s.startWorker()
	if cancelled {
		result, err := s.orders.Result(ctx, "123")
		if err != nil || result.Status != coffee.StatusCancelled || !result.Refunded {
			t.Errorf("got %+v, %v", result, err)
		}
	} else {
		s.wantResult(ctx, "123", 525)
	}
	s.wantNoBreach(ctx)
}
