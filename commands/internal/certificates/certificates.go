// Package certificates makes the certificates of a server and its clients, in a
// directory: a certificate authority of its own, and one certificate for each side.
package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/coffee/internal/private"
)

const (
	// authorityTime is how long an authority is valid, leafTime how long the others.
	authorityTime = 10 * 365 * 24 * time.Hour
	leafTime      = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is made anew.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how much earlier than now a certificate is valid: clocks differ.
	clockSkew = time.Hour
)

// Files are the files in a directory. Only the certificates leave the machine, and
// ClientKey with them; the keys of the authority and the server stay.
type Files struct {
	CA, CAKey         string
	Server, ServerKey string
	Client, ClientKey string
	// Made are the certificates that were made now.
	Made []string
	// Lacking are the names that the server's certificate lacks, because the authority's
	// key is kept elsewhere.
	Lacking []string
	// Exposed says which keys other people could read or change, and how.
	Exposed []string
}

// Ensure returns the certificates in a directory. It makes what is missing, and makes
// anew what ends within a month or lacks one of the names, which are host names and IP
// addresses of the server. It returns an error that says what is wrong if a file cannot
// be used: the authority has expired, a certificate is not of that authority, a key
// belongs to another one, or somebody else could replace what is in the directory.
func Ensure(dir string, names []string, now time.Time) (files Files, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return files, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return files, err
	}
	if err := private.CheckDir(dir); err != nil {
		return files, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	files = Files{
		CA: in("ca.crt"), CAKey: in("ca.key"),
		Server: in("server.crt"), ServerKey: in("server.key"),
		Client: in("client.crt"), ClientKey: in("client.key"),
	}
	authority, err := files.authority(now)
	if err != nil {
		return files, err
	}
	err = files.leaf(authority, files.Server, files.ServerKey, x509.ExtKeyUsageServerAuth, "coffee server", names, now)
	if err == nil {
		err = files.leaf(authority, files.Client, files.ClientKey, x509.ExtKeyUsageClientAuth, "coffee client", nil, now)
	}
	for _, key := range []string{files.CAKey, files.ServerKey, files.ClientKey} {
		if exposed := private.Exposed(key); exposed != "" {
			files.Exposed = append(files.Exposed, exposed)
		}
	}
	return files, err
}

// pair is a certificate and its key, which is nil if the file is not there.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// authority reads the authority, or makes one.
func (f *Files) authority(now time.Time) (pair, error) {
	read, err := readPair(f.CA, f.CAKey)
	if errors.Is(err, fs.ErrNotExist) {
		template := newTemplate("coffee certificate authority", now, authorityTime)
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		return f.make(template, pair{}, f.CA, f.CAKey)
	}
	if err != nil {
		return pair{}, err
	}
	if !read.certificate.IsCA {
		return pair{}, fmt.Errorf("%s is not the certificate of an authority", f.CA)
	}
	return read, checkTime(f.CA, read.certificate, now)
}

// leaf checks the certificate of the server or of its clients, or makes one.
func (f *Files) leaf(authority pair, file, keyFile string, usage x509.ExtKeyUsage, name string, names []string, now time.Time) error {
	read, err := readPair(file, keyFile)
	missing := errors.Is(err, fs.ErrNotExist)
	if errors.Is(err, errUnfinished) && authority.key != nil {
		missing = true // it ended between writing the one and the other
	}
	if err != nil && !missing {
		return err
	}
	if !missing {
		if read.key == nil {
			return fmt.Errorf("there is no %s, the key of %s", keyFile, file)
		}
		roots := x509.NewCertPool()
		roots.AddCert(authority.certificate)
		// Whether its time is over is another question.
		if _, err := read.certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: read.certificate.NotAfter}); err != nil {
			return fmt.Errorf("%s is not a certificate of %s for this use: move it away, and another one is made (%w)", file, f.CA, err)
		}
		if now.Add(renewBefore).Before(read.certificate.NotAfter) && !now.Before(read.certificate.NotBefore) && hasNames(read.certificate, names) {
			return nil
		}
		if authority.key == nil && checkTime(file, read.certificate, now) == nil {
			f.lacks(file, read.certificate, names)
			return nil // it cannot be renewed, but still serves
		}
	}
	if authority.key == nil {
		return fmt.Errorf("%s has to be made anew, and for that %s is missing: put it back, or begin with an empty directory", file, f.CAKey)
	}
	template := newTemplate(name, now, leafTime)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}
	if template.NotAfter.After(authority.certificate.NotAfter) {
		template.NotAfter = authority.certificate.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	_, err = f.make(template, authority, file, keyFile)
	return err
}

// lacks notes the names that a certificate lacks.
func (f *Files) lacks(file string, certificate *x509.Certificate, names []string) {
	for _, name := range names {
		if file == f.Server && !hasNames(certificate, []string{name}) {
			f.Lacking = append(f.Lacking, name)
		}
	}
}

func newTemplate(name string, now time.Time, valid time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSkew),
		NotAfter:  now.Add(valid),
	}
}

// make makes a certificate with a new key, signed by an authority, or by itself if that
// is empty. The key is written first: one that does not fit its certificate is made anew.
func (f *Files) make(template *x509.Certificate, authority pair, file, keyFile string) (made pair, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil && authority.certificate == nil {
		key, err = keptKey(keyFile, key)
	}
	if err != nil {
		return made, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return made, err
	}
	parent, signer := authority.certificate, authority.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return made, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return made, err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER, 0o600); err != nil {
		return made, err
	}
	if err := writePEM(file, "CERTIFICATE", der, 0o644); err != nil {
		return made, err
	}
	f.Made = append(f.Made, file)
	certificate, err := x509.ParseCertificate(der)
	return pair{certificate, key}, err
}

// keptKey returns the key that an authority has, if its certificate alone is missing: what
// it has signed stays valid. Otherwise it returns the new one.
func keptKey(file string, created *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	data, err := private.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return created, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is not a key in PEM: move it away, and another one is made", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	kept, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is not a key that this program has made: move it away, and another one is made", file)
	}
	return kept, nil
}

// writePEM replaces a file as a whole.
func writePEM(name, kind string, der []byte, mode os.FileMode) error {
	return private.Write(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// errUnfinished means that a certificate and its key do not fit together.
var errUnfinished = errors.New("the two do not fit together")

// readPair reads a certificate and its key, if there is one. It returns an error that is
// [fs.ErrNotExist] if there is no certificate.
func readPair(file, keyFile string) (read pair, err error) {
	data, err := private.Read(file)
	if err != nil {
		return read, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return read, fmt.Errorf("%s is not a certificate in PEM: %w", file, errUnfinished)
	}
	if read.certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		return read, fmt.Errorf("%s is not a certificate: %w", file, err)
	}
	key, err := private.Read(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return read, nil
	}
	if err != nil {
		return read, err
	}
	both, err := tls.X509KeyPair(data, key)
	if err != nil {
		return read, fmt.Errorf("%s is not the key of %s: %w (%w)", keyFile, file, errUnfinished, err)
	}
	signer, ok := both.PrivateKey.(crypto.Signer)
	if !ok {
		return read, fmt.Errorf("%s is not a key that can sign", keyFile)
	}
	read.key = signer
	return read, nil
}

func checkTime(file string, certificate *x509.Certificate, now time.Time) error {
	switch {
	case now.After(certificate.NotAfter):
		return fmt.Errorf("%s expired on %s: begin with an empty directory, and give the clients the new certificates", file, certificate.NotAfter.Format(time.DateOnly))
	case now.Before(certificate.NotBefore):
		return fmt.Errorf("%s is not valid before %s", file, certificate.NotBefore.Format(time.DateTime))
	}
	return nil
}

func hasNames(certificate *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return certificate.VerifyHostname(name) != nil })
}
