//go:build noserver

package devserver

import (
	"context"
	"crypto/tls"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
)

// ServerConfig is empty: there is no server to configure.
type ServerConfig struct{}

// ServerVersion is "": there is no server in this program.
const ServerVersion = ""

// Server is a Temporal server that runs in this process. There is none.
type Server struct{}

// Start returns [ErrNoServer].
func Start(context.Context, Options) (*Server, error) { return nil, ErrNoServer }

// CheckDynamicConfig returns nil: there is no server that takes settings.
func CheckDynamicConfig(map[string]any) error { return nil }

// CheckSearchAttributes returns nil: there is no server that has any.
func CheckSearchAttributes(map[string]enumspb.IndexedValueType) error { return nil }

func (*Server) Address() string                { return "" }
func (*Server) ClientOptions() client.Options  { return client.Options{} }
func (*Server) DialOptions() []grpc.DialOption { return nil }
func (*Server) UIURL() string                  { return "" }
func (*Server) WebTLS(string) *tls.Config      { return nil }
func (*Server) HTTPURL() string                { return "" }
func (*Server) MetricsURL() string             { return "" }
func (*Server) DatabaseFile() string           { return "" }
func (*Server) Failed() <-chan error           { return nil }
func (*Server) Stop() error                    { return nil }
