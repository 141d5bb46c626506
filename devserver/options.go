package devserver

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/namespace"
)

// Options configure a [Server]. The zero value is useful.
type Options struct {
	// IP is the address that the gRPC API, the HTTP API and the metrics listen
	// on; empty means 127.0.0.1. Whoever reaches it can do everything: the
	// server asks nobody for a password.
	IP string
	// Port of the gRPC API; 0 means a free one.
	Port int
	// HTTPPort is the port of the HTTP API; 0 means that there is none.
	HTTPPort int
	// MetricsPort is the port of the Prometheus endpoint; 0 means that there
	// is none.
	MetricsPort int

	// UI starts the Web UI.
	UI bool
	// UIIP is the address that the Web UI listens on; empty means IP.
	UIIP string
	// UIPort is the port of the Web UI; 0 means a free one.
	UIPort int

	// Namespaces exist when the server has started; empty means "default". The
	// Web UI shows the first one first.
	Namespaces []string
	// Retention is how long finished workflows are kept, in each of the
	// namespaces, from an hour up; 0 means [DefaultRetention] for a namespace
	// that is new, and for others what they have.
	Retention time.Duration
	// SearchAttributes exist in each of the namespaces when the server has
	// started.
	SearchAttributes map[string]enumspb.IndexedValueType

	// DatabaseFile is the SQLite file that keeps everything; it is created if
	// it does not exist, its directory is not. Empty means in memory.
	DatabaseFile string
	// SQLitePragmas are set on each connection. They win over the pragmas that
	// the server sets itself.
	SQLitePragmas map[string]string
	// DynamicConfig holds values of Temporal's dynamic configuration, by their
	// keys. They win over the values that the server sets itself.
	DynamicConfig map[string]any

	// Log gets what the server has to say; the zero value is a disabled logger.
	Log zerolog.Logger
}

// DefaultRetention is Temporal's own default for a namespace.
const DefaultRetention = 72 * time.Hour

// withDefaults returns the options with every zero value replaced, apart from
// those that mean "none" or "free port". The error says which one is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.IP == "" {
		o.IP = "127.0.0.1"
	}
	if o.UIIP == "" {
		o.UIIP = o.IP
	}
	for _, ip := range []string{o.IP, o.UIIP} {
		if net.ParseIP(ip) == nil {
			return o, fmt.Errorf("%q is not an IP address", ip)
		}
	}
	for _, port := range []int{o.Port, o.HTTPPort, o.MetricsPort, o.UIPort} {
		if port < 0 || port > 65535 {
			return o, fmt.Errorf("%d is not a port: ports are 0 to 65535", port)
		}
	}
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{"default"}
	}
	var namespaces []string // each once, in the caller's order
	for _, name := range o.Namespaces {
		if strings.TrimSpace(name) == "" {
			return o, errors.New("a namespace needs a name")
		}
		if !slices.Contains(namespaces, name) {
			namespaces = append(namespaces, name)
		}
	}
	o.Namespaces = namespaces
	if o.Retention != 0 && o.Retention < namespace.MinRetentionLocal {
		return o, fmt.Errorf("the retention is %v: it must be %v or more", o.Retention, namespace.MinRetentionLocal)
	}
	return o, nil
}

// IsLoopback tells whether only this machine can reach the address.
func IsLoopback(ip string) bool {
	parsed := net.ParseIP(ip)
	return parsed != nil && parsed.IsLoopback()
}

// dialable is the address to reach a listener at: one that listens on every
// interface is reached through loopback.
func dialable(ip string) string {
	switch parsed := net.ParseIP(ip); {
	case parsed.Equal(net.IPv4zero):
		return "127.0.0.1"
	case parsed.Equal(net.IPv6unspecified):
		return "::1"
	}
	return ip
}
