package connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"example.com/coffee/internal/renewed"
)

// What a client shows to the server, and whom it trusts, is in files that others renew
// while it runs: each connection is made with what they hold then.

// clientTLS returns the configuration of a client with the authorities as they are now. Nil
// has none that change.
type clientTLS func() *tls.Config

// newClientTLS makes a configuration renew the certificates that are in files of a profile;
// nil means no TLS.
func newClientTLS(profile *envconfig.ClientConfigTLS, config *tls.Config) (clientTLS, error) {
	if profile == nil || config == nil {
		return nil, nil
	}
	if profile.ClientCertPath != "" && profile.ClientKeyPath != "" {
		pair, err := renewed.KeyPair(profile.ClientCertPath, profile.ClientKeyPath)
		if err != nil {
			return nil, err
		}
		config.Certificates, config.GetClientCertificate = nil, renewed.ClientCertificate(pair)
	}
	if profile.ServerCACertPath == "" {
		return nil, nil
	}
	authority, err := renewed.Authority(profile.ServerCACertPath)
	return func() *tls.Config {
		config := config.Clone()
		config.RootCAs, _ = authority.Get() // or the last one that could be read
		return config
	}, err
}

// config returns the configuration as it is now, or other if it does not change.
func (c clientTLS) config(other *tls.Config) *tls.Config {
	if c == nil {
		return other
	}
	return c()
}

// dialOptions make gRPC use the configuration.
func (c clientTLS) dialOptions() []grpc.DialOption {
	if c == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(renewingCredentials{credentials.NewTLS(c()), c})}
}

// renewingCredentials are gRPC's own for TLS, made anew for each connection.
type renewingCredentials struct {
	credentials.TransportCredentials
	now clientTLS
}

// ClientHandshake implements [credentials.TransportCredentials].
func (r renewingCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.now()).ClientHandshake(ctx, authority, conn)
}

// Clone implements [credentials.TransportCredentials].
func (r renewingCredentials) Clone() credentials.TransportCredentials {
	return renewingCredentials{r.TransportCredentials.Clone(), r.now}
}

// renewKey makes a client read an API key that is in the configuration file again when the
// file changes.
func renewKey(c *cli.Context, key string, options *client.Options) error {
	if _, elsewhere := (variables{c}).LookupEnv("TEMPORAL_API_KEY"); key == "" || elsewhere {
		return nil
	}
	path, _ := variables{c}.LookupEnv("TEMPORAL_CONFIG_FILE")
	keys, err := renewed.New(func() (string, error) {
		profile, err := loadProfile(c)
		return profile.APIKey, err
	}, cmp.Or(path, envconfig.DefaultConfigFilePath()))
	options.Credentials = client.NewAPIKeyDynamicCredentials(func(context.Context) (string, error) {
		key, _ := keys.Get() // or the last one that could be read
		return key, nil
	})
	return err
}
