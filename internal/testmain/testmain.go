// Package testmain has what the TestMain of packages that start servers share.
package testmain

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
)

// Parallel lets n tests per processor run at once: they wait for timers and services more than
// for the processor. It has to be called before the flags are parsed, so -parallel has its way.
func Parallel(n int) {
	if err := flag.Set("test.parallel", strconv.Itoa(n*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
}

// Lookups refuses what this process asks of name servers: server, worker and clients on this
// machine tell nobody that they are there.
type Lookups struct{ asked atomic.Int64 }

// RefuseLookups refuses them from now on.
func RefuseLookups() *Lookups {
	l := &Lookups{}
	net.DefaultResolver.PreferGo = true
	net.DefaultResolver.Dial = func(context.Context, string, string) (net.Conn, error) {
		l.asked.Add(1)
		return nil, errors.New("no name server may be asked")
	}
	return l
}

// AskedCode is the exit code of a program that has asked a name server, which no test takes for
// a good one.
const AskedCode = 99

// Check returns the exit code of this process, which is code unless a name server was asked.
func (l *Lookups) Check(code int) int {
	if n := l.asked.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "a name server was asked %d times\n", n)
		return AskedCode
	}
	return code
}
