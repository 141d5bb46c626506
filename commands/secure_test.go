package commands

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/coffee/commands/internal/certificates"
)

// TestSecureBeyondLoopback: a server that other machines can reach lets nobody in
// without a certificate, neither to its Web UI nor to its board, metrics or HTTP API.
func TestSecureBeyondLoopback(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	ports, err := freePorts(5)
	if err != nil {
		t.Fatal(err)
	}
	start(t, coffeeCommand(t, "server", "--in-memory", "--ip", "0.0.0.0", "--secure", dir,
		"--port", ports[0], "--ui-port", ports[1], "--board-port", ports[2], "--metrics-port", ports[3], "--http-port", ports[4]))
	ready := coffeeCommand(t, "ready", "--config-file", filepath.Join(dir, "temporal.toml"))
	if err := ready.Run(); err != nil { // it waits for the profile, too
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	get := func(port, path string, certificates ...tls.Certificate) error {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: certificates, ServerName: host},
		}}
		response, err := client.Get("https://" + net.JoinHostPort("127.0.0.1", port) + path)
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, response.Status)
			}
		}
		return err
	}
	for port, path := range map[string]string{ports[1]: "/api/v1/settings", ports[2]: "/", ports[3]: "/metrics", ports[4]: "/api/v1/namespaces"} {
		if err := get(port, path); err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("%s without a certificate: %v", path, err)
		}
		if err := get(port, path, certificate); err != nil {
			t.Errorf("%s with a certificate: %v", path, err)
		}
		if response, err := http.Get("http://127.0.0.1:" + port + path); err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("%s without TLS: %s", path, response.Status)
			}
		}
	}
}

// TestCodecBeyondLoopback: with a certificate, a codec server answers other machines, over
// TLS only.
func TestCodecBeyondLoopback(t *testing.T) {
	t.Parallel()
	files, err := certificates.Ensure(t.TempDir(), []string{"localhost", "codec.example.com"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	start(t, coffeeCommand(t, "codec", "--encryption-keyset", newKeyset(t).Path(), "--ip", "0.0.0.0", "--port", ports[0],
		"--tls-cert-path", files.Server, "--tls-key-path", files.ServerKey, "--origin", "https://temporal.example.com"))
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "codec.example.com"}}}
	decode := func(origin string) (int, error) {
		request, err := http.NewRequest(http.MethodPost, "https://127.0.0.1:"+ports[0]+"/decode", strings.NewReader(`{"payloads":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "codec.example.com"
		request.Header.Set("Origin", origin)
		request.Header.Set("X-Namespace", "default")
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, err := decode("https://temporal.example.com")
		if err == nil && status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d, %v", status, err)
		}
	}
	if status, err := decode("https://evil.example.com"); err != nil || status != http.StatusForbidden {
		t.Errorf("another page: %d, %v", status, err)
	}
}
