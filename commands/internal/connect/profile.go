package connect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/namespaces"
	"example.com/coffee/internal/private"
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

// variables are the TEMPORAL_* variables of a command: what a flag says, or else the process's
// environment. A variable that is empty is not set: one that a manifest leaves empty must
// neither undo the file nor turn TLS on.
type variables struct{ c *cli.Context }

// Environ implements [envconfig.EnvLookup].
func (variables) Environ() []string { return os.Environ() }

// LookupEnv implements [envconfig.EnvLookup].
func (v variables) LookupEnv(name string) (string, bool) {
	flag := flagFor(name)
	if v.c.IsSet(flag) {
		return v.c.String(flag), true
	}
	// A flag for the path overrides data set elsewhere, and the other way round.
	if twin := pathOrData.Replace(flag); twin != flag && v.c.IsSet(twin) {
		return "", true
	}
	value := os.Getenv(name)
	return value, value != ""
}

var (
	pathOrData = strings.NewReplacer("-path", "-data", "-data", "-path")
	flagNames  = strings.NewReplacer("TEMPORAL_TLS_CLIENT_", "tls-", "TEMPORAL_TLS_SERVER_CA_CERT_", "tls-ca-", "TEMPORAL_", "", "_", "-")
)

// flagFor returns the name of the flag that overrides a variable.
func flagFor(variable string) string { return strings.ToLower(flagNames.Replace(variable)) }

// given says where the setting of a variable comes from: its flag, itself, or the file.
func given(c *cli.Context, variable string) string {
	flag := flagFor(variable)
	switch {
	case c.IsSet(flag):
		return "--" + flag
	case os.Getenv(variable) != "":
		return "$" + variable
	}
	return strings.ReplaceAll(flag, "-", "_") + " in temporal.toml"
}

// loadProfile merges the file, the environment and the flags. All that is wrong with them is
// a usage error; envconfig passes over a file that is not there, over a key that it does not
// know, and over a variable whose value it cannot read.
func loadProfile(c *cli.Context) (profile envconfig.ClientConfigProfile, err error) {
	for _, name := range []string{"TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"} {
		if value := os.Getenv(name); !slices.Contains([]string{"", "true", "false", "1", "0"}, strings.ToLower(value)) {
			return profile, commandline.Errorf(c, "$%s is %q: use true or false", name, value)
		}
	}
	path, named := variables{c}.LookupEnv("TEMPORAL_CONFIG_FILE")
	if named {
		if _, err := os.Stat(path); err != nil {
			return profile, exit.Usagef("", "configuration: %s: %w", given(c, "TEMPORAL_CONFIG_FILE"), err)
		}
	}
	profile, err = envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{ConfigFileStrict: true, EnvLookup: variables{c}})
	if err == nil {
		profile.Address, profile.Namespace = cmp.Or(profile.Address, client.DefaultHostPort), cmp.Or(profile.Namespace, client.DefaultNamespace)
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
	if err := validHostPort(given(c, "TEMPORAL_ADDRESS"), profile.Address); err != nil {
		return err
	}
	if err := namespaces.Check(profile.Namespace); err != nil {
		return commandline.Errorf(c, "%s: %v", given(c, "TEMPORAL_NAMESPACE"), err)
	}
	if err := checkHeader(profile.APIKey); err != nil {
		return commandline.Errorf(c, "%s %v", given(c, "TEMPORAL_API_KEY"), err)
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

// KeysetFlag is the flag that names a keyset.
func KeysetFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "encryption-keyset",
		Usage:       "keyset `FILE` that encrypts and decrypts orders, made by coffee keys",
		DefaultText: "$" + commandline.KeysetVariable,
		Category:    category,
	}
}

// ParseKeyset opens the keyset that the flag or the variable names; nil if neither
// does.
func ParseKeyset(c *cli.Context) (*encryption.Keyset, error) {
	path := cmp.Or(c.String("encryption-keyset"), os.Getenv(commandline.KeysetVariable))
	if path == "" {
		return nil, nil
	}
	NoteExposed(c.App.ErrWriter, "keyset", path)
	keyset, err := encryption.Open(path)
	if err != nil {
		return nil, exit.Hinted(err, "make one with: coffee keys new FILE")
	}
	return keyset, nil
}

// NoteExposed writes a line if other people could read or change a file with secrets.
func NoteExposed(w io.Writer, what, path string) {
	if exposed := private.Exposed(path); exposed != "" {
		fmt.Fprintf(w, "the %s is not private: %s\n", what, text.Printable(exposed))
	}
}
