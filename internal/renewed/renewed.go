// Package renewed reads files again that others renew: certificates, authorities, keys.
package renewed

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
)

// File is a value that comes from one or more files. Use [New] or one of the functions
// that call it.
type File[T any] struct {
	paths []string
	load  func() (T, error)

	mu    sync.Mutex
	seen  []os.FileInfo // of what value is from
	value T
}

// New loads a value, and returns an error if it cannot.
func New[T any](load func() (T, error), paths ...string) (*File[T], error) {
	f := &File[T]{paths: paths, load: load}
	if _, err := f.Get(); err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns the value, which it loads again if a file has changed. If that fails it
// returns the last value together with the error, and tries again the next time: a
// renewal may be under way, and a certificate there before its key.
func (f *File[T]) Get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := make([]os.FileInfo, len(f.paths)) // before they are read, or a change in between would be missed
	changed := f.seen == nil
	for i, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			return f.value, err
		}
		seen[i] = info
		changed = changed || !same(info, f.seen[i])
	}
	if !changed {
		return f.value, nil
	}
	value, err := f.load()
	if err != nil {
		return f.value, err
	}
	f.value, f.seen = value, seen
	return f.value, nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// KeyPair loads a certificate and its key, in PEM.
func KeyPair(certificate, key string) (*File[*tls.Certificate], error) {
	return New(func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		return &pair, err
	}, certificate, key)
}

// Authority loads the certificates of authorities, in PEM.
func Authority(file string) (*File[*x509.CertPool], error) {
	return New(func() (*x509.CertPool, error) { return CertPool(file) }, file)
}

// CertPool reads the certificates of authorities, in PEM.
func CertPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s is not a certificate in PEM", file)
	}
	return pool, nil
}

// ServerCertificate returns a function for [tls.Config.GetCertificate].
func ServerCertificate(pair *File[*tls.Certificate]) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate, _ := pair.Get() // or the last one that could be read
		return certificate, nil
	}
}

// ClientCertificate returns a function for [tls.Config.GetClientCertificate].
func ClientCertificate(pair *File[*tls.Certificate]) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certificate, _ := pair.Get() // or the last one that could be read
		return certificate, nil
	}
}
