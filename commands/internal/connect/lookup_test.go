package connect

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/resolver"

	"example.com/coffee/commands/internal/app"
)

// TestLookUp: nobody is asked for an address or for localhost (see TestMain), and a list
// is as good as the names in it that are known.
func TestLookUp(t *testing.T) {
	t.Parallel()
	const unknown = "a..b" // no name server can know it
	endpoint := func(name string, addresses ...string) resolver.Endpoint {
		var e resolver.Endpoint
		for _, address := range addresses {
			e.Addresses = append(e.Addresses, resolver.Address{Addr: address, ServerName: name})
		}
		return e
	}
	same := func(a, b resolver.Endpoint) bool {
		return slices.EqualFunc(a.Addresses, b.Addresses, resolver.Address.Equal)
	}
	for hosts, want := range map[string][]resolver.Endpoint{
		"localhost:1":                    {endpoint("", "127.0.0.1:1", "[::1]:1")},
		"LocalHost.:1":                   {endpoint("", "127.0.0.1:1", "[::1]:1")},
		"frontend.localhost:1":           {endpoint("", "127.0.0.1:1", "[::1]:1")},
		"127.0.0.1:1":                    {endpoint("", "127.0.0.1:1")},
		"[fe80::1%lo]:1":                 {endpoint("", "[fe80::1%lo]:1")},
		"127.0.0.1:1,[::1]:2":            {endpoint("127.0.0.1", "127.0.0.1:1"), endpoint("::1", "[::1]:2")},
		unknown + ":1,127.0.0.1:2":       {endpoint("127.0.0.1", "127.0.0.1:2")},
		unknown + ":1":                   nil,
		unknown + ":1," + unknown + ":2": nil,
	} {
		f := &frontends{hosts: addressList(hosts)}
		got, err := f.resolve(context.Background())
		if !slices.EqualFunc(got, want, same) || (err == nil) != (want != nil) {
			t.Errorf("%s: got %v, %v, want %v", hosts, got, err, want)
		}
		if (f.lookedUp() != nil) != strings.Contains(hosts, unknown) {
			t.Errorf("%s: the problem is %v", hosts, f.lookedUp())
		}
	}
	a := &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}
	_, err := Open(context.Background(), a, Options{Options: client.Options{HostPort: unknown + ":1", Namespace: "default"}})
	if err == nil || !strings.Contains(err.Error(), "no Temporal server answers at a..b:1: there is no host a..b") {
		t.Errorf("got %v", err)
	}
}
