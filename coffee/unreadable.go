package coffee

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc/status"

	"example.com/coffee/internal/text"
)

// A payload that nobody here could decrypt has an encoding that is also that of Temporal's
// samples, and may say why; see package encryption.
const (
	encodingEncrypted = "binary/encrypted"
	metadataProblem   = "encryption-problem"
)

// UnreadableError reports that one order cannot be read: its history is damaged, has no
// end, or is encrypted and cannot be decrypted here. That says nothing about the others.
type UnreadableError struct {
	OrderID string
	Err     error // what is wrong
	// Encrypted is true if a key would help.
	Encrypted bool
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("order %s: %s", text.Printable(e.OrderID), text.Printable(e.Err.Error()))
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// Unreadable implements what [IsUnreadable] looks for.
func (e *UnreadableError) Unreadable() bool { return true }

// IsUnreadable reports whether an error is about one order alone: it is an
// [*UnreadableError], or one of package encryption.
func IsUnreadable(err error) bool {
	var e interface {
		error
		Unreadable() bool
	}
	return errors.As(err, &e) && e.Unreadable()
}

// Unreadable returns an [*UnreadableError] for an error that is about one order alone, and
// any other error as it is. Whatever the server does not say itself is about the order:
// it came, and cannot be decrypted or decoded. What it does say mostly concerns all
// orders: it is away, overloaded, or lets nobody in.
func Unreadable(orderID string, err error) error {
	var all interface{ Status() *status.Status } // as all errors of the server have
	var lost *serviceerror.DataLoss
	var internal *serviceerror.Internal // also from gRPC, for a message that it cannot decode
	var invalid *serviceerror.InvalidArgument
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &lost), errors.As(err, &internal), errors.As(err, &invalid), isTooLarge(err):
	case errors.As(err, &all):
		return err
	}
	return &UnreadableError{OrderID: orderID, Err: err}
}

// isTooLarge reports whether gRPC refused a message because of its size.
func isTooLarge(err error) bool {
	var exhausted *serviceerror.ResourceExhausted
	return errors.As(err, &exhausted) && strings.Contains(exhausted.Error(), "message larger than max")
}

// EncryptionProblem returns why one of the payloads cannot be read here; empty if none is
// encrypted.
func EncryptionProblem(payloads ...*commonpb.Payload) string {
	for _, payload := range payloads {
		metadata := payload.GetMetadata()
		if string(metadata[converter.MetadataEncoding]) == encodingEncrypted {
			return cmp.Or(text.Clip(string(metadata[metadataProblem]), text.MaxText), "encrypted")
		}
	}
	return ""
}
