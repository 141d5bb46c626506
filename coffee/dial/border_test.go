package dial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/proto"
)

// TestBorder: whatever an activity fails with, Temporal can send it and a terminal can
// show it, and it means the same.
func TestBorder(t *testing.T) {
	t.Parallel()
	latin1 := errors.New("caf\xe9.db is gone")
	for name, test := range map[string]struct {
		err  error
		want string // the message of the failure
		kind string
	}{
		"plain":               {errors.New("no such table"), "no such table", ""},
		"latin-1":             {latin1, "caf\ufffd.db is gone", ""},
		"wrapped":             {fmt.Errorf("charge: %w", latin1), "charge: caf\ufffd.db is gone", "wrapError"},
		"only its cause":      {temporal.NewApplicationErrorWithCause("refused", "Refused", latin1), "refused", "Refused"},
		"several lines":       {errors.New("first\n\tsecond"), "first  second", ""},
		"what terminals obey": {errors.New("\x1b[2J\u202eabc"), "\ufffd[2J\ufffdabc", ""},
		"without end":         {errors.New(strings.Repeat("é", 5000)), strings.Repeat("é", 1000) + "…", ""},
		"of a type, final": {temporal.NewApplicationErrorWithOptions("\xff", "Refused", temporal.ApplicationErrorOptions{
			NonRetryable: true, NextRetryDelay: time.Second, Category: temporal.ApplicationErrorCategoryBenign}), "\ufffd", "Refused"},
	} {
		got := temporal.GetDefaultFailureConverter().ErrorToFailure(plainError(test.err))
		if _, err := proto.Marshal(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info := got.GetApplicationFailureInfo(); got.GetMessage() != test.want || info.GetType() != test.kind {
			t.Errorf("%s: got %v", name, got)
		}
		if name == "of a type, final" {
			want := temporal.GetDefaultFailureConverter().ErrorToFailure(test.err).GetApplicationFailureInfo()
			if info := got.GetApplicationFailureInfo(); !proto.Equal(info, want) {
				t.Errorf("got %v, want %v", info, want)
			}
		}
	}
	if cancelled := temporal.NewCanceledError(); plainError(cancelled) != cancelled || plainError(nil) != nil {
		t.Error("an error that can be sent was changed")
	}
}

// TestPlainErrors: the activities of a worker with the interceptor fail across it.
func TestPlainErrors(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{PlainErrors()}})
	env.RegisterActivityWithOptions(func(context.Context) error { return errors.New("caf\xe9") }, activity.RegisterOptions{Name: "fail"})
	_, err := env.ExecuteActivity("fail")
	var failed *temporal.ApplicationError
	if !errors.As(err, &failed) || failed.Message() != "caf\ufffd" {
		t.Errorf("got %v", err)
	}
}
