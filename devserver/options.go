package devserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"

	"example.com/coffee/internal/namespaces"
	"example.com/coffee/internal/sqlitefile"
)

// Options configure a [Server]. The zero value is ready to use.
type Options struct {
	// IP is the address that the gRPC API, the HTTP API and the metrics listen on;
	// empty means 127.0.0.1. Without TLS, anyone who can reach it can do everything.
	IP string
	// Port is the port of the gRPC API; 0 means a free one.
	Port int
	// HTTPPort is the port of the HTTP API; 0 means no HTTP API.
	HTTPPort int
	// MetricsPort is the port of the Prometheus endpoint; 0 means no endpoint.
	MetricsPort int
	// MetricTypes are the types of workflows and activities that metrics have labels for.
	// Others, of which clients may invent any number, are labelled _tag_excluded_; nil
	// means that there are none of those.
	MetricTypes []string

	// AllowedHosts are names under which browsers may reach the HTTP API, the metrics and the
	// Web UI on a loopback address, besides localhost and IP addresses: that of a proxy.
	AllowedHosts []string

	// UI starts the Web UI.
	UI bool
	// UIIP is the address that the Web UI listens on; empty means IP.
	UIIP string
	// UIPort is the port of the Web UI; 0 means a free one.
	UIPort int

	// InProcess serves only clients in this process, which connect with
	// [Server.ClientOptions] or [Server.DialOptions]: nothing listens. Temporal's own
	// workflows, such as those of batches and schedules, do not run. There can be neither a
	// Web UI nor an HTTP API.
	InProcess bool

	// TLS, unless nil, encrypts the gRPC and HTTP APIs, the Web UI and the metrics. Clients
	// of the APIs need a certificate, and so do browsers that come from another machine.
	TLS *TLSFiles

	// CodecEndpoint is the URL of the codec server with which the Web UI decrypts what it
	// shows (https://docs.temporal.io/production-deployment/data-encryption); empty means
	// none. The user's browser calls it, not this server.
	CodecEndpoint string
	// UIPublicPath is the path under which a proxy serves the Web UI, such as /temporal;
	// empty means the root.
	UIPublicPath string
	// UIAssets is the directory of another Web UI's files; empty means the one that is
	// built in.
	UIAssets string

	// Namespaces are created if they do not exist; empty means "default". The Web
	// UI shows the first one first.
	Namespaces []string
	// Retention is how long each of the namespaces keeps finished workflows, an
	// hour or more; 0 means [DefaultRetention] for a new namespace, and no change
	// for one that exists.
	Retention time.Duration
	// SearchAttributes are added to each of the namespaces that lacks them. One that is
	// there with another type stays as it is, and Notify hears of it; see
	// [CheckSearchAttributes].
	SearchAttributes map[string]enumspb.IndexedValueType

	// DatabaseFile is the SQLite file that everything is stored in; empty means in
	// memory. The file is created if it does not exist; its directory is not.
	DatabaseFile string
	// NoUpgrade refuses a database of an older server. Otherwise it is made one of
	// this server, and the old one is kept beside it.
	NoUpgrade bool
	// Adopt takes over a database of temporal server start-dev, or of another Temporal
	// server with SQLite and one history shard, as it takes over that of an older
	// server.
	Adopt bool
	// Notify receives lines for the person who starts the server, such as that an old
	// database was upgraded, and where the old one is; nil discards them.
	Notify func(line string)
	// SQLitePragmas are set on each connection. They override the pragmas that the
	// server sets itself.
	SQLitePragmas map[string]string
	// TimeSkipping lets clients ask for time to be skipped in a workflow; see
	// [SkipTime].
	TimeSkipping bool
	// DynamicConfig holds values of Temporal's dynamic configuration, by key. They
	// override the values that the server sets itself; see [CheckDynamicConfig].
	DynamicConfig map[string]any

	// Configure, unless nil, changes the configuration of the Temporal server before it
	// starts.
	Configure func(*ServerConfig)
	// SyncLog makes durable what SQLite has written to the log of DatabaseFile; nil means
	// [os.File.Sync].
	SyncLog func(log *os.File) error

	// Log receives the server's messages; the zero value is a disabled logger.
	Log zerolog.Logger
}

// TLSFiles name certificates and keys, in PEM. The server reads its certificate again
// when the files of it have changed.
type TLSFiles struct {
	// CA is the certificate of the authority of the others.
	CA string
	// Server is the server's certificate, which has the name localhost.
	Server, ServerKey string
	// Client is the certificate with which the server's own workers reach it.
	Client, ClientKey string
}

func (o Options) notify(format string, args ...any) {
	if o.Notify != nil {
		o.Notify(fmt.Sprintf(format, args...))
	}
}

// DefaultRetention is Temporal's own default for a namespace.
const DefaultRetention = 72 * time.Hour

// minRetention is the least that Temporal takes (namespace.MinRetentionLocal).
const minRetention = time.Hour

// ErrNoServer is returned by [Start] in a program that was built with the tag
// noserver.
var ErrNoServer = errors.New("this program was built without a Temporal server")

// withDefaults returns the options with every zero value replaced, except those
// that mean "none" or "free port". The error says which option is invalid.
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
	if err := sqlitefile.CheckName(o.DatabaseFile); err != nil {
		return o, fmt.Errorf("the database file %q %w", o.DatabaseFile, err)
	}
	if o.InProcess && (o.UI || o.HTTPPort != 0) {
		return o, errors.New("the Web UI and the HTTP API cannot reach a server inside the process: leave them out")
	}
	if o.SyncLog == nil {
		o.SyncLog = (*os.File).Sync
	}
	if reflect.ValueOf(o.Log).IsZero() {
		o.Log = zerolog.Nop() // whose level says that it is disabled
	}
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{"default"}
	}
	var all []string // without duplicates, in the caller's order
	for _, name := range o.Namespaces {
		if err := namespaces.Check(name); err != nil {
			return o, err
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	o.Namespaces = all
	if o.Retention != 0 && o.Retention < minRetention {
		return o, fmt.Errorf("the retention is %v: it must be %v or more", o.Retention, minRetention)
	}
	return o, nil
}

// IsLoopback reports whether ip is a loopback address, which only this machine can
// reach.
func IsLoopback(ip string) bool {
	parsed := net.ParseIP(ip)
	return parsed != nil && parsed.IsLoopback()
}

// dialable returns the address at which a listener on ip is reached. A listener on
// every interface is reached through loopback.
func dialable(ip string) string {
	switch parsed := net.ParseIP(ip); {
	case parsed.Equal(net.IPv4zero):
		return "127.0.0.1"
	case parsed.Equal(net.IPv6unspecified):
		return "::1"
	}
	return ip
}
