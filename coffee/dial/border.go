package dial

import (
	"context"
	"errors"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"example.com/coffee/internal/around"
	"example.com/coffee/internal/text"
)

// PlainErrors returns an interceptor for a worker, with which each error of an activity is
// one that the server takes. Their texts come from databases, file systems and the network.
// The server takes only valid UTF-8, and would not learn of any other failure before the
// attempt times out.
func PlainErrors() interceptor.WorkerInterceptor {
	return &around.Calls{Activity: func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
		result, err := next(ctx)
		return result, plainError(err)
	}}
}

// plainError returns an error that Temporal can send: err, or one that Temporal treats as
// it, with a text that is valid, printable and of bounded size. The latter has neither the
// details nor the causes of err, which may not be.
func plainError(err error) error {
	if isSendable(err) {
		return err
	}
	failure := temporal.GetDefaultFailureConverter().ErrorToFailure(err)
	info := failure.GetApplicationFailureInfo()
	return temporal.NewApplicationErrorWithOptions(text.Plain(failure.GetMessage()), info.GetType(), temporal.ApplicationErrorOptions{
		NonRetryable:   info.GetNonRetryable(),
		NextRetryDelay: info.GetNextRetryDelay().AsDuration(),
		Category:       temporal.ApplicationErrorCategory(info.GetCategory()),
	})
}

// isSendable reports whether Temporal can send an error and its causes as they are.
func isSendable(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if said := err.Error(); said != text.Plain(said) {
			return false
		}
	}
	return true
}
