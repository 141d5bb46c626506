package process

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	t.Parallel()
	for heap, want := range map[uint64]int{
		0:         400, // 64 MiB of garbage would be more
		10 << 20:  400,
		32 << 20:  200, // 64 MiB
		64 << 20:  100,
		100 << 20: 64,
		128 << 20: 50,
		10 << 30:  50, // a large heap takes longer to collect
	} {
		if got := gcPercent(heap); got != want {
			t.Errorf("a heap of %d MiB: %d, not %d", heap>>20, got, want)
		}
	}
}

// TestBoundMemory checks that the collector's target follows the heap, and that there is a
// limit. GOGC and GOMEMLIMIT in the environment take precedence. What it sets is the
// process's, so each case has a process of its own.
func TestBoundMemory(t *testing.T) {
	const child = "COFFEE_TEST_BOUND_MEMORY"
	if os.Getenv(child) == "" {
		t.Parallel()
		for _, environment := range [][]string{nil, {"GOGC=123", "GOMEMLIMIT=3GiB"}} {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestBoundMemory$")
			cmd.Env = append(append(os.Environ(), child+"=1"), environment...)
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("with %q in the environment: %v\n%s", environment, err, said)
			}
		}
		return
	}
	if err := BoundMemory(); err != nil {
		t.Fatal(err)
	}
	setting := func(name string) uint64 {
		sample := []metrics.Sample{{Name: name}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	if os.Getenv("GOGC") == "123" {
		if percent, limit := setting("/gc/gogc:percent"), setting("/gc/gomemlimit:bytes"); percent != 123 || limit != 3<<30 {
			t.Errorf("they are %d and %d", percent, limit)
		}
		return
	}
	if limit := setting("/gc/gomemlimit:bytes"); limit > 1<<50 {
		t.Errorf("the limit is %d", limit)
	}
	kept := make([]byte, 300<<20)
	runtime.GC()
	for deadline := time.Now().Add(time.Minute); setting("/gc/gogc:percent") != 50; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("with a large heap it is %d", setting("/gc/gogc:percent"))
		}
	}
	runtime.KeepAlive(kept)
}
