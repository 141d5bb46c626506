package commands

// Most tests in this file set variables, and run one after the other.

import (
	"bytes"
	"encoding/json"
	stdlog "log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/grpclog"

	"example.com/coffee/commands/internal/app"
)

// TestProfile: what nobody knows in the configuration file, and what cannot be meant in the
// environment, is refused; a variable that is empty is not set.
func TestProfile(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "")
	file := filepath.Join(t.TempDir(), "temporal.toml")
	const away = "no Temporal server answers at 127.0.0.1:1"
	for _, test := range []struct {
		what, toml, variable, value string
		code                        int
		want                        string
	}{
		{"a good file", "address = '127.0.0.1:1'", "", "", 1, away + "\ncheck address in temporal.toml and --tls"},
		{"a variable of a good address", "address = '127.0.0.1:2'", "TEMPORAL_ADDRESS", "127.0.0.1:1", 1, away + "\ncheck $TEMPORAL_ADDRESS and --tls"},
		{"a key of the profile", "adress = '127.0.0.1:1'", "", "", 2, "has a key that nobody knows: profile.default.adress; did you mean address?"},
		{"a key of a table", "tls.server_nane = 'x'", "", "", 2, "profile.default.tls.server_nane; did you mean server_name?"},
		{"a port in the file", "address = '127.0.0.1:0'", "", "", 2, `address in temporal.toml is "127.0.0.1:0"`},
		{"a port in a variable", "", "TEMPORAL_ADDRESS", "127.0.0.1:0", 2, `$TEMPORAL_ADDRESS is "127.0.0.1:0"`},
		{"a namespace", "", "TEMPORAL_NAMESPACE", "shop\n", 2, "$TEMPORAL_NAMESPACE: a namespace cannot be called"},
		{"an API key", "", "TEMPORAL_API_KEY", "sesame\n", 2, "$TEMPORAL_API_KEY has a space or a line break"},
		{"a header", "grpc_meta.x = 'caf\u00e9'", "", "", 2, `the header "x" has a character`},
		{"a file that is not there", "", "TEMPORAL_CONFIG_FILE", "nowhere.toml", 2, "$TEMPORAL_CONFIG_FILE: stat nowhere.toml"},
		{"no boolean", "", "TEMPORAL_TLS", "yes", 2, `$TEMPORAL_TLS is "yes"`},
		{"no boolean", "", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "on", 2, `$TEMPORAL_TLS_DISABLE_HOST_VERIFICATION is "on"`},
		{"a boolean", "address = '127.0.0.1:1'", "TEMPORAL_TLS", "False", 1, away},
		{"no profile of the name", "", "TEMPORAL_PROFILE", "shop", 2, "shop"},
		{"an empty address", "address = '127.0.0.1:1'", "TEMPORAL_ADDRESS", "", 1, away},
		{"an empty certificate", "address = '127.0.0.1:1'", "TEMPORAL_TLS_CLIENT_CERT_PATH", "", 1, away},
	} {
		t.Run(test.what, func(t *testing.T) {
			if err := os.WriteFile(file, []byte("[profile.default]\n"+test.toml), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TEMPORAL_CONFIG_FILE", file)
			if test.variable != "" {
				t.Setenv(test.variable, test.value)
			}
			var stderr bytes.Buffer
			code := Run(t.Context(), []string{"coffee", "status"}, &bytes.Buffer{}, &stderr, app.Options{})
			if code != test.code || !strings.Contains(stderr.String(), test.want) || strings.Contains(stderr.String(), "sesame") {
				t.Errorf("%s, $%s=%q: exit code %d, stderr %q, want %d, %q", test.toml, test.variable, test.value, code, stderr.String(), test.code, test.want)
			}
		})
	}
}

// TestTelemetryEnvironment: whatever is wrong with the variables of OpenTelemetry, the work is
// done, and there is a warning.
func TestTelemetryEnvironment(t *testing.T) {
	for _, test := range []struct{ variable, value, want string }{
		{"OTEL_RESOURCE_ATTRIBUTES", "a=b,", "partial resource"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "use http/protobuf, grpc"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "::nonsense", "missing protocol scheme"},
		{"OTEL_TRACES_SAMPLER", "sometimes", "unsupported sampler"},
	} {
		t.Run(test.variable, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(test.variable, test.value)
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), []string{"coffee", "menu"}, &stdout, &stderr, app.Options{})
			if code != 0 || stdout.Len() == 0 || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit code %d, stderr %q, want %q", code, stderr.String(), test.want)
			}
			for line := range strings.Lines(stderr.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("no log message: %q", line)
				}
			}
		})
	}
}

// TestLibraryLoggers: what libraries write to the process's loggers is in the program's log,
// at its level, with a time in milliseconds.
func TestLibraryLoggers(t *testing.T) {
	for level, want := range map[string]int{"never": 0, "error": 0, "warn": 2} {
		var stderr bytes.Buffer
		if code := Run(t.Context(), []string{"coffee", "--log-level", level, "menu"}, &bytes.Buffer{}, &stderr, app.Options{}); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		stdlog.Print("http: Accept error")
		grpclog.Errorf("Failed to write %s", "response")
		if lines := strings.Count(stderr.String(), "\n"); lines != want {
			t.Errorf("--log-level %s: %q", level, stderr.String())
		}
		for line := range strings.Lines(stderr.String()) {
			var message struct{ Level, Time, Message string }
			if err := json.Unmarshal([]byte(line), &message); err != nil || message.Level != "warn" || message.Message == "" {
				t.Errorf("%q: %v", line, err)
			}
			if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", message.Time); err != nil {
				t.Error(err)
			}
		}
	}
}
