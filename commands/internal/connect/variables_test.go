package connect

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestPrecedence: a flag takes precedence over its variable, which takes precedence over the
// file; the path of a certificate replaces its data, and the other way round.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "temporal.toml")
	if err := os.WriteFile(file, []byte("[profile.default]\naddress = 'file:1'\nnamespace = 'file'\napi_key = 'file'\ntls.client_cert_data = 'file'\ntls.client_key_path = 'file'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", file)
	t.Setenv("TEMPORAL_ADDRESS", "variable:1")
	t.Setenv("TEMPORAL_NAMESPACE", "")
	t.Setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "variable")
	root := &cli.App{Flags: Flags(), Action: func(c *cli.Context) error {
		profile, err := loadProfile(c)
		if err != nil {
			return err
		}
		tls := profile.TLS
		for what, pair := range map[string][2]string{
			"variable over file":     {profile.Address, "variable:1"},
			"empty variable":         {profile.Namespace, "file"},
			"flag over file":         {profile.APIKey, "flag"},
			"path":                   {tls.ClientCertPath, "flag"},
			"data that a path ended": {string(tls.ClientCertData), ""},
			"data":                   {string(tls.ServerCACertData), "flag"},
			"path that data ended":   {tls.ServerCACertPath, ""},
			"key":                    {tls.ClientKeyPath, "file"},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: got %q, want %q", what, pair[0], pair[1])
			}
		}
		if tls.Disabled || !tls.DisableHostVerification {
			t.Errorf("got %+v", tls)
		}
		return nil
	}}
	if err := root.Run([]string{"coffee", "--api-key", "flag", "--tls-cert-path", "flag", "--tls-ca-data", "flag", "--tls", "--tls-disable-host-verification"}); err != nil {
		t.Error(err)
	}
}
