package terminal

import (
	"os"
	"os/signal"
	"syscall"
)

// OutliveReaders lets a command that runs on outlive whoever reads its output and its log:
// what is written after they have gone is lost. Otherwise SIGPIPE would end the process,
// as is right for coffee status | head.
func (o *Output) OutliveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which children would inherit
	o.Out.lossy = true
}
