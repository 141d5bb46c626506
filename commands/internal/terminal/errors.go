package terminal

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
)

// InOneLine returns an error and its hint as one line.
func InOneLine(err error) string {
	if _, hint := Explain(err); hint != "" {
		return err.Error() + "; " + hint
	}
	return err.Error()
}

// Fail prints an error unless it is nil, and returns the exit code.
func (o *Output) Fail(ctx context.Context, err error) int {
	if err == nil {
		return exit.OK
	}
	code, hint := Explain(err)
	message := err.Error()
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || is[*serviceerror.Canceled](err)) {
		code, message, hint = exit.Interrupted, "interrupted", ""
	}
	if message != "" {
		o.Notef("coffee: %s", strings.TrimSpace(message))
	}
	if hint != "" {
		o.Notef("%s", hint)
	}
	return code
}

// is reports whether an error is of a type.
func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// Explain returns the exit code for an error, and a hint at what to do about it.
func Explain(err error) (code int, hint string) {
	if e := exit.In(err); e != nil {
		return e.Code, e.Hint
	}
	switch {
	case is[*coffee.InvalidOrderError](err):
		return exit.Usage, ""
	case is[*coffee.ConflictError](err):
		return exit.Conflict, "nothing was changed; choose another --order-id, or leave it out to get a new one"
	case is[*coffee.EndedError](err):
		return exit.Failed, ""
	}
	if port, ok := errors.AsType[*devserver.PortError](err); ok {
		return exit.Failure, PortHint(portFlags[port.Name], port)
	}
	foreign, isForeign := errors.AsType[*coffee.UnreadableError](err)
	for _, known := range []struct {
		matches bool
		hint    string
	}{
		{is[*devserver.LockedError](err), "use that server, stop it, or choose another file with --db-filename"},
		{errors.Is(err, devserver.ErrOlderDatabase), "leave --no-upgrade out to carry it over; the old file is kept"},
		{errors.Is(err, devserver.ErrNewerDatabase) || errors.Is(err, devserver.ErrUnknownSchema), "start it with the program that wrote it, or a newer one, or choose another file with --db-filename"},
		{errors.Is(err, devserver.ErrForeignDatabase), "take over the database of another Temporal server with --adopt, or choose another file with --db-filename"},
		{is[*devserver.DatabaseError](err), "choose another file with --db-filename, or move this one away"},
		{is[*serviceerror.PermissionDenied](err), "check --api-key or the TLS certificate, and --namespace"},
		{is[*encryption.UnreadableError](err) || isForeign && foreign.Encrypted, "name the keyset that has the key with --encryption-keyset or $" + commandline.KeysetVariable},
		{errors.Is(err, ledger.ErrNewerLedger), "use the program that changed it, or a newer one"},
		{errors.Is(err, coffee.ErrNotFound), "list the orders with: coffee status"},
		{errors.Is(err, rollout.ErrNoDeployments), "leave --build-id out, or use a newer Temporal server"},
		{errors.Is(err, desk.ErrNoTimeSkipping), "start one that does with: coffee server --time-skipping"},
		{errors.Is(err, ledger.ErrForeignLedger), "name their ledger with --ledger; if it is lost for good, start a new one with --new-ledger"},
		{errors.Is(err, devserver.ErrNoServer), "build it without -tags noserver, or start a Temporal server another way and use it with --address"},
		{is[*desk.AttributeTypeError](err), "remove it with: temporal operator search-attribute remove --name " + coffee.SearchAttributeStatus + "; the next worker to start adds it as a Keyword"},
		{errors.Is(err, desk.ErrNotIndexed), "add it with: temporal operator search-attribute create --name " + coffee.SearchAttributeStatus + " --type Keyword"},
		{is[*serviceerror.DeadlineExceeded](err), "the server did not answer in time; its log may say why, such as a full disk"},
	} {
		if known.matches {
			return exit.Failure, known.hint
		}
	}
	return exit.Failure, ""
}

// portFlags names the flag that sets each port of the server.
var portFlags = map[devserver.PortName]string{
	devserver.PortGRPC:    "--port",
	devserver.PortHTTP:    "--http-port",
	devserver.PortUI:      "--ui-port",
	devserver.PortMetrics: "--metrics-port",
}

// PortHint says what to do about a port that cannot be opened, which a flag sets if that is
// not empty.
func PortHint(flag string, err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "let this process open more files: ulimit -n"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "choose an address that this machine has"
	case errors.Is(err, syscall.ENETUNREACH):
		return "bring the network interface of the address up"
	case flag == "":
		return "stop the program that uses it"
	}
	return "choose another port with " + flag + ", or stop the program that uses it"
}
