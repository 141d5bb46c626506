package process

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReleaseProgram checks that less of the executable is in memory afterwards, and
// that the program still runs.
func TestReleaseProgram(t *testing.T) {
	before := residentFile(t)
	if err := ReleaseProgram(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%d KiB of files are in memory, before it were %d", after, before)
	}
}

// residentFile returns how much of this process's memory is backed by files, in KiB.
func residentFile(t *testing.T) (size int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(after, &size); err != nil {
		t.Fatal(err)
	}
	return size
}
