package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"example.com/coffee/internal/renewed"
)

// What a client shows to the server, and whom it trusts, is in files that others renew
// while it runs: each connection is made with what they hold then.

// clientTLS has the certificates of a client. Nil has none that change.
type clientTLS struct {
	pair      *renewed.File[*tls.Certificate] // nil if it is not in files
	authority *renewed.File[*x509.CertPool]   // nil if it is not in a file
	base      *tls.Config
}

// newClientTLS opens the files of a profile. The rest of the configuration is in base; nil
// means no TLS.
func newClientTLS(profile *envconfig.ClientConfigTLS, base *tls.Config) (c *clientTLS, err error) {
	if profile == nil || base == nil {
		return nil, nil
	}
	c = &clientTLS{base: base}
	if profile.ClientCertPath != "" && profile.ClientKeyPath != "" {
		if c.pair, err = renewed.KeyPair(profile.ClientCertPath, profile.ClientKeyPath); err != nil {
			return nil, err
		}
	}
	if profile.ServerCACertPath != "" {
		if c.authority, err = renewed.Authority(profile.ServerCACertPath); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// config returns the configuration with the certificates as they are now, or other if
// there are none that change.
func (c *clientTLS) config(other *tls.Config) *tls.Config {
	if c == nil {
		return other
	}
	config := c.base.Clone()
	if c.pair != nil {
		config.Certificates, config.GetClientCertificate = nil, renewed.ClientCertificate(c.pair)
	}
	if c.authority != nil {
		config.RootCAs, _ = c.authority.Get() // or the last one that could be read
	}
	return config
}

// dialOptions make gRPC use the certificates.
func (c *clientTLS) dialOptions() []grpc.DialOption {
	if c == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(renewingCredentials{credentials.NewTLS(c.base), c})}
}

// renewingCredentials are gRPC's own for TLS, made anew for each connection.
type renewingCredentials struct {
	credentials.TransportCredentials
	client *clientTLS
}

// ClientHandshake implements [credentials.TransportCredentials].
func (r renewingCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.client.config(nil)).ClientHandshake(ctx, authority, conn)
}

// Clone implements [credentials.TransportCredentials].
func (r renewingCredentials) Clone() credentials.TransportCredentials {
	return renewingCredentials{r.TransportCredentials.Clone(), r.client}
}

// apiKey returns the credentials for an API key; nil if there is none. One that is in the
// configuration file is read again when the file changes.
func apiKey(c *cli.Context, key string) (client.Credentials, error) {
	if key == "" {
		return nil, nil
	}
	path, source := configFile(c)
	if source == "" {
		path = envconfig.DefaultConfigFilePath()
	}
	if c.IsSet("api-key") || os.Getenv("TEMPORAL_API_KEY") != "" {
		return client.NewAPIKeyStaticCredentials(key), nil
	}
	keys, err := renewed.New(func() (string, error) {
		profile, err := connectProfile(c)
		return profile.APIKey, err
	}, path)
	if err != nil {
		return nil, err
	}
	return client.NewAPIKeyDynamicCredentials(func(context.Context) (string, error) {
		key, _ := keys.Get() // or the last one that could be read
		return key, nil
	}), nil
}
