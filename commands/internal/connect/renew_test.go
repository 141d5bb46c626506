package connect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"example.com/coffee/commands/internal/app"
)

// visitors is a server that notes who comes.
type visitors struct {
	workflowservice.UnimplementedWorkflowServiceServer
	names chan string // of the certificate, or the API key
}

func (v visitors) DescribeNamespace(ctx context.Context, _ *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	p, _ := peer.FromContext(ctx)
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		v.names <- info.State.PeerCertificates[0].DNSNames[0]
	} else {
		md, _ := metadata.FromIncomingContext(ctx)
		v.names <- md.Get("authorization")[0]
	}
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

// serve serves on a free port.
func (v visitors) serve(t *testing.T, options ...grpc.ServerOption) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	workflowservice.RegisterWorkflowServiceServer(server, v)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// writePair writes a certificate and its key.
func writePair(t *testing.T, certificate tls.Certificate, file, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
}

// TestRenewedCertificates: a connection is made with the certificate that is in the files
// then, to a server whose authority is.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	profile := &envconfig.ClientConfigTLS{ClientCertPath: filepath.Join(dir, "tls.crt"), ClientKeyPath: filepath.Join(dir, "tls.key"), ServerCACertPath: filepath.Join(dir, "ca.crt")}
	own, other := selfSigned(t, "first"), selfSigned(t, "second")
	before, after := selfSigned(t, "localhost"), selfSigned(t, "localhost")
	v := visitors{names: make(chan string, 1)}
	serve := func(certificate tls.Certificate) string {
		_, port, _ := net.SplitHostPort(v.serve(t, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}))))
		return "localhost:" + port
	}
	writePair(t, own, profile.ClientCertPath, profile.ClientKeyPath)
	writePair(t, before, profile.ServerCACertPath, filepath.Join(dir, "ca.key"))
	renewing, err := newClientTLS(profile, &tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	a := &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}
	visit := func(address, name string) {
		t.Helper()
		conn, err := Open(context.Background(), a, Options{tls: renewing, Options: client.Options{
			HostPort: address, Namespace: "default", ConnectionOptions: client.ConnectionOptions{TLS: &tls.Config{}}}})
		if err != nil {
			t.Errorf("as %s: %v", name, err)
			return
		}
		conn.Close()
		if got := <-v.names; got != name {
			t.Errorf("it came as %s, want %s", got, name)
		}
	}
	old, renewed := serve(before), serve(after)
	visit(old, "first")
	writePair(t, other, profile.ClientCertPath, profile.ClientKeyPath)
	visit(old, "second")
	if _, err := Open(context.Background(), a, Options{tls: renewing, Options: client.Options{
		HostPort: renewed, Namespace: "default", ConnectionOptions: client.ConnectionOptions{TLS: &tls.Config{}}}}); err == nil {
		t.Error("it trusts a server of another authority")
	}
	writePair(t, after, profile.ServerCACertPath, filepath.Join(dir, "ca.key"))
	visit(renewed, "second")
}

// TestRenewedAPIKey: an API key that is in the configuration file is read again when that
// changes, by a connection that is there.
func TestRenewedAPIKey(t *testing.T) {
	t.Parallel()
	v := visitors{names: make(chan string, 1)}
	address := v.serve(t)
	file := filepath.Join(t.TempDir(), "temporal.toml")
	write := func(key string) {
		t.Helper()
		text := "[profile.default]\naddress = \"" + address + "\"\napi_key = \"" + key + "\"\n[profile.default.tls]\ndisabled = true\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	a := &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}
	root := &cli.App{Flags: Flags(), Action: func(c *cli.Context) error {
		options, err := Parse(c)
		if err != nil {
			return err
		}
		conn, err := Open(c.Context, a, options)
		if err != nil {
			return err
		}
		defer conn.Close()
		if got := <-v.names; got != "Bearer first" {
			t.Errorf("it came with %q", got)
		}
		write("second")
		if _, err := conn.WorkflowService().DescribeNamespace(c.Context, &workflowservice.DescribeNamespaceRequest{Namespace: "default"}); err != nil {
			return err
		}
		if got := <-v.names; got != "Bearer second" {
			t.Errorf("it came with %q", got)
		}
		return nil
	}}
	if err := root.Run([]string{"coffee", "--config-file", file, "--profile", "default"}); err != nil {
		t.Error(err)
	}
}

// TestAddressListTLS: each address has a certificate of its own name, as it would have
// alone.
func TestAddressListTLS(t *testing.T) {
	t.Parallel()
	roots := x509.NewCertPool()
	serve := func(name string) string {
		certificate := selfSigned(t, name)
		roots.AddCert(certificate.Leaf)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
		workflowservice.RegisterWorkflowServiceServer(server, workflowservice.UnimplementedWorkflowServiceServer{})
		go server.Serve(listener)
		t.Cleanup(server.Stop)
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		return port
	}
	own, other := serve("localhost"), serve("elsewhere.example.com")
	a := &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}
	for addresses, want := range map[string]string{
		"localhost:" + own + ",localhost:" + own:     "",
		"localhost:" + other + ",localhost:" + other: "its certificate is for other names",
	} {
		options := client.Options{HostPort: addresses, Namespace: client.DefaultNamespace, ConnectionOptions: client.ConnectionOptions{TLS: &tls.Config{RootCAs: roots}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		conn, err := Open(ctx, a, Options{Options: options})
		cancel()
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addresses, err)
		}
	}
}

func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
