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
	var cancelled *serviceerror.Canceled
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.As(err, &cancelled)) {
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

// Explain returns the exit code for an error, and a hint at what to do about it.
func Explain(err error) (code int, hint string) {
	var (
		invalid  *coffee.InvalidOrderError
		conflict *coffee.ConflictError
		ended    *coffee.EndedError
		port     *devserver.PortError
		locked   *devserver.LockedError
		database *devserver.DatabaseError
		denied   *serviceerror.PermissionDenied
		missing  *encryption.UnreadableError
		foreign  *coffee.UnreadableError
		kind     *desk.AttributeTypeError
		late     *serviceerror.DeadlineExceeded
	)
	if e := exit.In(err); e != nil {
		return e.Code, e.Hint
	}
	switch {
	case errors.As(err, &invalid):
		return exit.Usage, ""
	case errors.As(err, &conflict):
		return exit.Conflict, "nothing was changed; choose another --order-id, or leave it out to get a new one"
	case errors.As(err, &ended):
		return exit.Failed, ""
	case errors.As(err, &port):
		return exit.Failure, PortHint(portFlags[port.Name], port)
	case errors.As(err, &locked):
		return exit.Failure, "use that server, stop it, or choose another file with --db-filename"
	case errors.Is(err, devserver.ErrOlderDatabase):
		return exit.Failure, "leave --no-upgrade out to carry it over; the old file is kept"
	case errors.Is(err, devserver.ErrNewerDatabase), errors.Is(err, devserver.ErrUnknownSchema):
		return exit.Failure, "start it with the program that wrote it, or a newer one, or choose another file with --db-filename"
	case errors.Is(err, devserver.ErrForeignDatabase):
		return exit.Failure, "take over the database of another Temporal server with --adopt, or choose another file with --db-filename"
	case errors.As(err, &database):
		return exit.Failure, "choose another file with --db-filename, or move this one away"
	case errors.As(err, &denied):
		return exit.Failure, "check --api-key or the TLS certificate, and --namespace"
	case errors.As(err, &missing), errors.As(err, &foreign) && foreign.Encrypted:
		return exit.Failure, "name the keyset that has the key with --encryption-keyset or $" + commandline.KeysetVariable
	case errors.Is(err, ledger.ErrNewerLedger):
		return exit.Failure, "use the program that changed it, or a newer one"
	case errors.Is(err, coffee.ErrNotFound):
		return exit.Failure, "list the orders with: coffee status"
	case errors.Is(err, rollout.ErrNoDeployments):
		return exit.Failure, "leave --build-id out, or use a newer Temporal server"
	case errors.Is(err, desk.ErrNoTimeSkipping):
		return exit.Failure, "start one that does with: coffee server --time-skipping"
	case errors.Is(err, ledger.ErrForeignLedger):
		return exit.Failure, "name their ledger with --ledger; if it is lost for good, start a new one with --new-ledger"
	case errors.Is(err, devserver.ErrNoServer):
		return exit.Failure, "build it without -tags noserver, or start a Temporal server another way and use it with --address"
	case errors.As(err, &kind):
		return exit.Failure, "remove it with: temporal operator search-attribute remove --name " + coffee.SearchAttributeStatus + "; the next worker to start adds it as a Keyword"
	case errors.Is(err, desk.ErrNotIndexed):
		return exit.Failure, "add it with: temporal operator search-attribute create --name " + coffee.SearchAttributeStatus + " --type Keyword"
	case errors.As(err, &late):
		return exit.Failure, "the server did not answer in time; its log may say why, such as a full disk"
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
