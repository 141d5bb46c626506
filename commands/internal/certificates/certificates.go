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
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key, err := keptKey(f.CAKey)
		if err != nil {
			return pair{}, err
		}
		template := newTemplate("coffee certificate authority", now, now.Add(authorityTime), x509.KeyUsageCertSign|x509.KeyUsageCRLSign)
		template.IsCA, template.BasicConstraintsValid = true, true
		certificate, err := f.make(template, key, pair{template, key}, f.CA, f.CAKey)
		return pair{certificate, key}, err
	case err != nil:
		return pair{}, err
	case !read.certificate.IsCA:
		return pair{}, fmt.Errorf("%s is not the certificate of an authority", f.CA)
	}
	return read, checkTime(f.CA, read.certificate, now)
}

// leaf checks the certificate of the server or of its clients, or makes one.
func (f *Files) leaf(authority pair, file, keyFile string, usage x509.ExtKeyUsage, name string, names []string, now time.Time) error {
	read, err := readPair(file, keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, errUnfinished) && authority.key != nil: // it ended between writing the one and the other
	case err != nil:
		return err
	case read.key == nil:
		return fmt.Errorf("there is no %s, the key of %s", keyFile, file)
	default:
		roots := x509.NewCertPool()
		roots.AddCert(authority.certificate)
		// Whether its time is over is another question.
		if _, err := read.certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: read.certificate.NotAfter}); err != nil {
			return fmt.Errorf("%s is not a certificate of %s for this use: move it away, and another one is made (%w)", file, f.CA, err)
		}
		lacking := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return read.certificate.VerifyHostname(name) == nil })
		valid := checkTime(file, read.certificate, now) == nil
		if valid && now.Add(renewBefore).Before(read.certificate.NotAfter) && len(lacking) == 0 {
			return nil
		}
		if valid && authority.key == nil { // it cannot be renewed, but still serves
			f.Lacking = append(f.Lacking, lacking...)
			return nil
		}
	}
	if authority.key == nil {
		return fmt.Errorf("%s has to be made anew, and for that %s is missing: put it back, or begin with an empty directory", file, f.CAKey)
	}
	end := now.Add(leafTime)
	if end.After(authority.certificate.NotAfter) {
		end = authority.certificate.NotAfter
	}
	template := newTemplate(name, now, end, x509.KeyUsageDigitalSignature)
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	_, err = f.make(template, key, authority, file, keyFile)
	return err
}

func newTemplate(name string, now, end time.Time, usage x509.KeyUsage) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-clockSkew), NotAfter: end, KeyUsage: usage}
}

// make makes the certificate of a key, signed by an authority. The key is written first: one
// that does not fit its certificate is made anew.
func (f *Files) make(template *x509.Certificate, key crypto.Signer, authority pair, file, keyFile string) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, key.Public(), authority.key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := private.Write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return nil, err
	}
	if err := private.Write(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, err
	}
	f.Made = append(f.Made, file)
	return x509.ParseCertificate(der)
}

func newKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// keptKey returns the key that an authority has, if its certificate alone is missing: what
// it has signed stays valid. Otherwise it returns a new one.
func keptKey(file string) (crypto.Signer, error) {
	data, err := private.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey()
	}
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block != nil {
		key, _ := x509.ParsePKCS8PrivateKey(block.Bytes) // nil if it is not a key
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("%s is not a key that this program has made: move it away, and another one is made", file)
}

// errUnfinished means that a certificate and its key do not fit together.
var errUnfinished = errors.New("the two do not fit together")

// readPair reads a certificate and its key, if there is one. It returns an error that is
// [fs.ErrNotExist] if there is no certificate.
func readPair(file, keyFile string) (pair, error) {
	data, err := private.Read(file)
	if err != nil {
		return pair{}, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return pair{}, fmt.Errorf("%s is not a certificate in PEM: %w", file, errUnfinished)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return pair{}, fmt.Errorf("%s is not a certificate: %w", file, err)
	}
	key, err := private.Read(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return pair{certificate, nil}, nil
	}
	if err != nil {
		return pair{}, err
	}
	both, err := tls.X509KeyPair(data, key)
	if err != nil {
		return pair{}, fmt.Errorf("%s is not the key of %s: %w (%w)", keyFile, file, errUnfinished, err)
	}
	return pair{certificate, both.PrivateKey.(crypto.Signer)}, nil // which crypto/tls has used as one
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
