package devserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
)

// upgradeVariable makes TestMain upgrade the database that it names, and nothing else.
const upgradeVariable = "DEVSERVER_TEST_UPGRADE"

// TestMain fails if anything here asks a name server: a server on this machine tells
// nobody that it is there.
func TestMain(m *testing.M) {
	if file := os.Getenv(upgradeVariable); file != "" {
		d, err := openDatabase(context.Background(), Options{DatabaseFile: file})
		if err == nil {
			err = d.close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The tests wait for timers more than for the processor. This is before the flags are
	// parsed, so -parallel still has its way.
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	var asked atomic.Int64
	net.DefaultResolver.PreferGo = true
	net.DefaultResolver.Dial = func(context.Context, string, string) (net.Conn, error) {
		asked.Add(1)
		return nil, errors.New("no name server may be asked")
	}
	code := m.Run()
	if n := asked.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "a name server was asked %d times\n", n)
		code = max(code, 1)
	}
	os.Exit(code)
}

// TestNoVersionCheck: the server does not ask for newer versions, unless the user wants
// that.
func TestNoVersionCheck(t *testing.T) {
	t.Parallel()
	const key = "frontend.enableServerVersionCheck"
	for want, o := range map[bool]Options{false: {}, true: {DynamicConfig: map[string]any{key: true}}} {
		for name, value := range dynamicConfig(o) {
			if name.String() == key && value != want {
				t.Errorf("it is %v, want %v", value, want)
			}
		}
	}
}
