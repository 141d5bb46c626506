package connect

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/namespaces"
	"example.com/coffee/internal/text"
	"example.com/coffee/internal/typo"
)

// profileKeys are the keys of temporal.toml, to suggest one.
var profileKeys = []string{
	"profile", "address", "namespace", "api_key", "authority", "grpc_meta", "tls", "codec",
	"disabled", "client_cert_path", "client_cert_data", "client_key_path", "client_key_data",
	"server_ca_cert_path", "server_ca_cert_data", "server_name", "disable_host_verification",
	"endpoint", "auth",
}

// environment is that of the process. A variable that is empty is not set: one that a
// manifest leaves empty must neither undo the file nor turn TLS on.
type environment struct{ envconfig.EnvLookup }

// LookupEnv implements [envconfig.EnvLookup].
func (environment) LookupEnv(name string) (string, bool) {
	value := os.Getenv(name)
	return value, value != ""
}

// configFile returns the configuration file, and what names it; both are empty if nothing
// does.
func configFile(c *cli.Context) (path, source string) {
	path = cmp.Or(c.String("config-file"), os.Getenv("TEMPORAL_CONFIG_FILE"))
	if path == "" {
		return "", ""
	}
	return path, given(c, "config-file", "TEMPORAL_CONFIG_FILE")
}

// given says where a setting of a connection comes from: a flag, a variable, or the file.
func given(c *cli.Context, flag, variable string) string {
	switch {
	case c.IsSet(flag):
		return "--" + flag
	case os.Getenv(variable) != "":
		return "$" + variable
	}
	return strings.ReplaceAll(flag, "-", "_") + " in temporal.toml"
}

// sources name what sets the address and the namespace of a server. The zero value stands
// for the flags.
type sources struct{ address, namespace string }

// sourcesOf returns the sources of a profile. A default is one that a flag would change.
func sourcesOf(c *cli.Context, profile envconfig.ClientConfigProfile) (from sources) {
	if profile.Address != client.DefaultHostPort {
		from.address = given(c, "address", "TEMPORAL_ADDRESS")
	}
	if profile.Namespace != client.DefaultNamespace {
		from.namespace = given(c, "namespace", "TEMPORAL_NAMESPACE")
	}
	return from
}

// loadProfile merges the file and the environment. All that is wrong with them is a usage
// error; envconfig passes over a file that is not there, over a key that it does not know,
// and over a variable whose value it cannot read.
func loadProfile(c *cli.Context) (profile envconfig.ClientConfigProfile, err error) {
	for _, name := range []string{"TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"} {
		if value := os.Getenv(name); !slices.Contains([]string{"", "true", "false", "1", "0"}, strings.ToLower(value)) {
			return profile, commandline.Errorf(c, "$%s is %q: use true or false", name, value)
		}
	}
	path, source := configFile(c)
	if source != "" {
		if _, err := os.Stat(path); err != nil {
			return profile, exit.Usagef("", "configuration: %s: %w", source, err)
		}
	}
	profile, err = envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{
		ConfigFilePath: path, ConfigFileProfile: c.String("profile"), ConfigFileStrict: true, EnvLookup: environment{envconfig.EnvLookupOS},
	})
	if err == nil {
		return profile, nil
	}
	if _, keys, ok := strings.Cut(err.Error(), "key(s) unrecognized: "); ok {
		key, _, _ := strings.Cut(keys, ", ")
		message := fmt.Sprintf("configuration: %s has a key that nobody knows: %s", text.Printable(cmp.Or(path, envconfig.DefaultConfigFilePath())), text.Printable(key))
		if near, ok := typo.Nearest(key[strings.LastIndex(key, ".")+1:], profileKeys); ok {
			message += "; did you mean " + near + "?"
		}
		return profile, exit.Usagef("", "%s", message)
	}
	return profile, exit.Usagef("", "configuration: %w", err)
}

// checkProfile returns a usage error unless a server can have the address and the namespace,
// and a request the headers. The error does not repeat the API key.
func checkProfile(c *cli.Context, profile envconfig.ClientConfigProfile) error {
	if err := validHostPort(given(c, "address", "TEMPORAL_ADDRESS"), profile.Address); err != nil {
		return err
	}
	if err := namespaces.Check(profile.Namespace); err != nil {
		return commandline.Errorf(c, "%s: %v", given(c, "namespace", "TEMPORAL_NAMESPACE"), err)
	}
	if err := checkHeader(profile.APIKey); err != nil {
		return commandline.Errorf(c, "%s %v", given(c, "api-key", "TEMPORAL_API_KEY"), err)
	}
	for name, value := range profile.GRPCMeta {
		if err := checkHeader(value); err != nil {
			return commandline.Errorf(c, "the header %q %v", name, err)
		}
	}
	return nil
}

// checkHeader returns an error unless a text can be the value of a header. The error follows
// the name of what is wrong in a sentence.
func checkHeader(value string) error {
	switch {
	case strings.TrimSpace(value) != value:
		return errors.New("has a space or a line break at its beginning or end: remove it")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("has a character that is not printable ASCII")
	}
	return nil
}
