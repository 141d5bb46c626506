package certificates

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/internal/private"
)

// ServerNames returns the names and addresses under which a server is reached that listens
// on the IP addresses.
func ServerNames(ips ...string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	for _, ip := range ips {
		parsed := net.ParseIP(ip)
		if parsed == nil {
			continue
		}
		if !parsed.IsUnspecified() {
			names = append(names, ip)
			continue
		}
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			continue // those that are known have to do
		}
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok && !network.IP.IsLinkLocalUnicast() {
				names = append(names, network.IP.String())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// WriteProfile writes a profile for clients of a server, as the Temporal CLI reads it,
// and returns its name.
func WriteProfile(dir, address string, tls envconfig.ClientConfigTLS) (string, error) {
	config := envconfig.ClientConfig{Profiles: map[string]*envconfig.ClientConfigProfile{"default": {
		Address:   address,
		Namespace: client.DefaultNamespace,
		TLS:       &tls,
	}}}
	text, err := config.ToTOML(envconfig.ClientConfigToTOMLOptions{})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "temporal.toml")
	if old, err := private.Read(file); err == nil && bytes.Equal(old, text) {
		return file, nil
	}
	if err := private.Write(file, text, 0o600); err != nil {
		return "", fmt.Errorf("cannot write the profile for clients: %w", err)
	}
	return file, nil
}
