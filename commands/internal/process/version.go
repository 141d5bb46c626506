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
