package commands

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/certificates"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/namespaces"
	"example.com/coffee/internal/text"
)

// serverOptions turns the flags into options, and notes on stderr what has no effect.
func serverOptions(c *cli.Context) (options devserver.Options, err error) {
	options = devserver.Options{
		IP:               commandline.IP(c, "ip"),
		Port:             c.Int("port"),
		HTTPPort:         c.Int("http-port"),
		MetricsPort:      c.Int("metrics-port"),
		UI:               !c.Bool("headless"),
		UIIP:             commandline.IP(c, "ui-ip"),
		UIPort:           c.Int("ui-port"),
		AllowedHosts:     c.StringSlice("allowed-host"),
		UIPublicPath:     c.String("ui-public-path"),
		UIAssets:         c.String("ui-asset-path"),
		CodecEndpoint:    c.String("ui-codec-endpoint"),
		Namespaces:       append([]string{client.DefaultNamespace}, c.StringSlice("namespace")...),
		SearchAttributes: map[string]enumspb.IndexedValueType{},
		Retention:        c.Duration("retention"),
		TimeSkipping:     c.Bool("time-skipping"),
		SQLitePragmas:    map[string]string{},
		DynamicConfig:    map[string]any{},
		DatabaseFile:     c.String("db-filename"),
		NoUpgrade:        c.Bool("no-upgrade"),
		Adopt:            c.Bool("adopt"),
	}
	if !isStartDev(c) { // which is for workflows of any type
		options.MetricTypes = telemetry.Types()
	}
	if path := options.UIPublicPath; path != "" && (!strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/")) {
		return options, commandline.Errorf(c, "--ui-public-path is %q: use a path such as /temporal", path)
	}
	if c.IsSet("retention") && options.Retention < time.Hour {
		return options, commandline.Errorf(c, "--retention is %v: use 1h or more", options.Retention)
	}
	for _, name := range options.Namespaces {
		if err := namespaces.Check(name); err != nil {
			return options, commandline.Errorf(c, "--namespace: %v", err)
		}
	}
	if options.UIIP == "" {
		options.UIIP = options.IP
	}
	if !c.IsSet("ui-port") && options.Port != 0 {
		options.UIPort = options.Port + uiPortOffset
	}
	if !options.UI {
		for _, flag := range []string{"ui-ip", "ui-port", "board-port", "codec-port"} {
			if c.IsSet(flag) {
				return options, commandline.Errorf(c, "--headless means no Web UI, no board and no codec server: --%s makes no sense with it", flag)
			}
		}
	}
	for flag, set := range map[string]bool{"db-filename": options.DatabaseFile != "", "adopt": options.Adopt, "no-upgrade": options.NoUpgrade} {
		if set && inMemory(c) {
			return options, commandline.Errorf(c, "--in-memory and --%s exclude each other", flag)
		}
	}
	if options.Adopt && options.NoUpgrade {
		return options, commandline.Errorf(c, "--adopt and --no-upgrade exclude each other")
	}
	return options, addPairs(c, &options)
}

// indexedType returns the type with a name, in upper or lower case.
func indexedType(name string) enumspb.IndexedValueType {
	for value := range enumspb.IndexedValueType_name {
		if kind := enumspb.IndexedValueType(value); strings.EqualFold(kind.String(), name) {
			return kind
		}
	}
	return enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED
}

// addPairs reads the flags that are NAME=VALUE pairs.
func addPairs(c *cli.Context, options *devserver.Options) error {
	attributes := commandline.EachPair(c, "search-attribute", func(name, value string) error {
		kind := indexedType(value)
		if kind == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return commandline.Errorf(c, "--search-attribute %s: there is no type %q; there are Bool, Datetime, Double, Int, Keyword, KeywordList, Text", name, value)
		}
		if has, ok := options.SearchAttributes[name]; ok && has != kind {
			return commandline.Errorf(c, "--search-attribute %s: it is of type %s, not %s", text.Printable(name), has, kind)
		}
		options.SearchAttributes[name] = kind
		return nil
	})
	if attributes != nil {
		return attributes
	}
	if err := devserver.CheckSearchAttributes(options.SearchAttributes); err != nil {
		return commandline.Errorf(c, "--search-attribute: %v", err)
	}
	settings := commandline.EachPair(c, "dynamic-config-value", func(name, value string) error {
		var decoded any
		if err := json.Unmarshal([]byte(value), &decoded); err != nil {
			return commandline.Errorf(c, "--dynamic-config-value %s: %q is not JSON (a string needs quotes)", name, value)
		}
		if f, ok := decoded.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			decoded = int(f) // a setting that is a whole number takes no other type
		}
		switch err := devserver.CheckDynamicConfig(map[string]any{name: decoded}); {
		case err == nil:
			options.DynamicConfig[name] = decoded
		case isStartDev(c): // the SDKs' own tests set what only other versions of the server have
			fmt.Fprintf(c.App.ErrWriter, "--dynamic-config-value has no effect: %s\n", text.Printable(err.Error()))
		default:
			return commandline.Errorf(c, "--dynamic-config-value: %v", err)
		}
		return nil
	})
	if settings != nil {
		return settings
	}
	return commandline.EachPair(c, "sqlite-pragma", func(name, value string) error {
		options.SQLitePragmas[name] = value
		return nil
	})
}

// checkReach returns a usage error if a server would let everyone in who can reach its
// machine, unless that is wanted.
func checkReach(c *cli.Context, options devserver.Options) error {
	if c.IsSet("secure") && c.Bool("insecure") {
		return commandline.Errorf(c, "--secure and --insecure exclude each other")
	}
	if c.IsSet("secure") || c.Bool("insecure") {
		return nil
	}
	metrics, _, _ := net.SplitHostPort(c.String("metrics-address")) // it has been checked
	for _, listens := range []struct{ flag, ip string }{{"--ip", options.IP}, {"--ui-ip", options.UIIP}, {"--metrics-address", metrics}} {
		if net.ParseIP(listens.ip) != nil && !devserver.IsLoopback(listens.ip) {
			return commandline.Errorf(c, "%s is %s: beyond this machine use --secure DIR, which makes certificates, or --insecure, which lets everyone in who can reach it", listens.flag, listens.ip)
		}
	}
	return nil
}

// makeCertificates makes a server's certificates in a directory, as far as they are not there.
// Without a directory there are none, and it warns if the server listens beyond this machine.
func makeCertificates(a *app.App, dir string, options devserver.Options) (*devserver.TLSFiles, error) {
	if dir == "" {
		for _, ip := range []string{options.IP, options.UIIP} {
			if !devserver.IsLoopback(ip) {
				a.Log.Warn().Str("ip", ip).Msg("listening beyond this machine: anyone who can reach the server has full access")
				break
			}
		}
		return nil, nil
	}
	files, err := certificates.Ensure(dir, certificates.ServerNames(options.IP, options.UIIP), time.Now())
	if err != nil {
		return nil, err
	}
	for _, made := range files.Made {
		a.Out.Notef("made %s", made)
	}
	for _, exposed := range files.Exposed {
		a.Log.Warn().Msg("a private key is not private: " + exposed)
	}
	if len(files.Lacking) > 0 {
		a.Out.Notef("%s lacks %s: clients that use those names refuse it; put ca.key back to have another one made", files.Server, strings.Join(files.Lacking, ", "))
	}
	return &devserver.TLSFiles{CA: files.CA, Server: files.Server, ServerKey: files.ServerKey, Client: files.Client, ClientKey: files.ClientKey}, nil
}
