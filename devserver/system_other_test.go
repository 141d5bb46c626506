//go:build !unix

package devserver

import (
	"errors"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

func mkfifo(string) error { return errors.ErrUnsupported }

// processorTime returns the CPU time that this process has used.
func processorTime() (time.Duration, error) {
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return 0, err
	}
	times, err := self.Times()
	if err != nil {
		return 0, err
	}
	return time.Duration((times.User + times.System) * float64(time.Second)), nil
}
