// Package commands is the command line: flags in, text or JSON out. Each command
// has a file that reads from top to bottom: its flags, the plan that they ask for,
// and the run. The commands share
//
//   - app.go, what every command works with, and background.go, what runs while a
//     command waits;
//   - connect.go, ledger.go, data.go and dev.go, which open a connection to a
//     server, a ledger in the data directory, or all of it in this process;
//   - keys.go, secure.go, telemetry.go and web.go: keysets, certificates, metrics and
//     traces, and whatever speaks HTTP;
//   - output.go, words.go, screen.go and live.go, which print;
//   - arguments.go, help.go, completion.go, errors.go and waiting.go: what a command
//     line may say, how it is explained and completed, how it fails, and what an order
//     waits for.
//
// options.go has what another program, such as the laboratory, can give them besides flags.
// Whatever else is no command helps one, and is named after what it does.
package process

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"

	"go.temporal.io/sdk/worker"

	"example.com/coffee/devserver"
)

// Version returns the version of the module, or of the source if the program was
// built from a checkout, and that of the Temporal server.
func Version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("%s (Temporal server %s)", v, cmp.Or(devserver.ServerVersion, "not built in"))
}

// SetBuildID tells the SDK which build of the program this is. Otherwise the
// SDK reads the whole executable, 200 MB of it, to find out.
func SetBuildID() {
	path, err := os.Executable()
	if err != nil {
		return
	}
	if info, err := os.Stat(path); err == nil {
		worker.SetBinaryChecksum(fmt.Sprintf("coffee-%x-%x", info.Size(), info.ModTime().UnixNano()))
	}
}
