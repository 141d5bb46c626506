// Package process is about this process: its memory and its version.
package process

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.temporal.io/sdk/worker"
)

// How much memory a server may use beyond what it has to remember. It allocates a
// lot and keeps little: most of what a request allocates is garbage when it ends.
const (
	// garbage is how many bytes of it may be there before it is collected. A small
	// heap is collected as rarely as a large one.
	garbage = 64 << 20
	// leastPercent and mostPercent bound the same in percent of the heap (GOGC): a
	// large heap takes longer to collect, so it may have more garbage.
	leastPercent, mostPercent = 50, 400
	// memoryShare is the share of the container's or the machine's memory from
	// which on garbage is collected as often as needed to stay below it.
	memoryShare = 0.9
)

// BoundMemory bounds the memory of this process, once. GOGC and GOMEMLIMIT in the
// environment take precedence.
var BoundMemory = sync.OnceValue(func() error {
	if os.Getenv("GOGC") == "" {
		retune := func() { debug.SetGCPercent(gcPercent(heapInUse())) }
		retune()
		afterEachCollection(retune)
	}
	_, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	return err
})

// gcPercent returns how much a heap of that many bytes may grow until the next
// collection.
func gcPercent(heap uint64) int {
	return int(min(max(garbage*100/max(heap, 1), leastPercent), mostPercent))
}

// heapInUse returns what a percentage for the garbage collector refers to, in bytes:
// what was in use after the last collection, and what is searched for pointers
// besides.
func heapInUse() (bytes uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		bytes += s.Value.Uint64()
	}
	return bytes
}

// afterEachCollection calls do after each garbage collection, in a goroutine of the
// runtime.
func afterEachCollection(do func()) {
	type token struct{ _ *int } // with a pointer, so that it is an allocation of its own
	runtime.AddCleanup(&token{}, func(do func()) {
		do()
		afterEachCollection(do)
	}, do)
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
