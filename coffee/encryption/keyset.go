package encryption

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"example.com/coffee/internal/private"
	"example.com/coffee/internal/renewed"
)

// Keyset is a set of keys in a file. One of them encrypts; all of them decrypt. It is
// safe for concurrent use. A nil Keyset has no keys and encrypts nothing.
type Keyset struct {
	path string
	file *renewed.File[keys]
}

// keys are what was read from the file.
type keys struct {
	aead tink.AEAD
	list []Key
}

// Key describes a key of a keyset.
type Key struct {
	// ID is a number in decimal notation. It stands beside everything that the key
	// encrypts.
	ID string `json:"id"`
	// Use is what the key is for now.
	Use KeyUse `json:"use"`

	number uint32 // the id, as Tink has it
}

// KeyUse is what a key is for.
type KeyUse string

// The uses of a key.
const (
	// Encrypts is the use of one key in each keyset. It decrypts as well.
	Encrypts KeyUse = "encrypts"
	// Decrypts is the use of earlier keys.
	Decrypts KeyUse = "decrypts"
	// Prepared is the use of a key that decrypts, and encrypts after the next rotation.
	Prepared KeyUse = "prepared"
)

// Open reads a keyset from a file in Tink's JSON format. The file is read again when it
// has changed, so that a program learns of a new key while it runs. One that has gone, or is
// broken, takes no key away.
func Open(path string) (*Keyset, error) {
	file, err := renewed.New(func() (keys, error) {
		handle, err := readHandle(path)
		if err != nil {
			return keys{}, err
		}
		primitive, err := aead.New(handle)
		if err != nil {
			return keys{}, fmt.Errorf("%s is not a keyset for encryption: %w", path, err)
		}
		return keys{primitive, describe(handle)}, nil
	}, path)
	return &Keyset{path, file}, named(path, err)
}

// Path returns the file's name.
func (k *Keyset) Path() string { return k.path }

// named says of a file that is not there what is missing.
func named(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no keyset %s", path)
	}
	return err
}

func readHandle(path string) (*keyset.Handle, error) {
	data, err := private.Read(path)
	if err != nil {
		return nil, named(path, err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("%s is not a keyset: %w", path, err) // the keys are not in it
	}
	return handle, nil
}

// primary returns the id of the key that encrypts.
func (k keys) primary() string {
	return k.list[slices.IndexFunc(k.list, func(key Key) bool { return key.Use == Encrypts })].ID
}

// List describes the keys in a file, oldest first.
func List(path string) ([]Key, error) {
	handle, err := readHandle(path)
	if err != nil {
		return nil, err
	}
	return describe(handle), nil
}

// describe lists the keys that are enabled, as the one that encrypts always is. Those after
// it were added to take over from it.
func describe(handle *keyset.Handle) []Key {
	var list []Key
	use := Decrypts
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil || entry.KeyStatus() != keyset.Enabled {
			continue
		}
		key := Key{strconv.FormatUint(uint64(entry.KeyID()), 10), use, entry.KeyID()}
		if entry.IsPrimary() {
			key.Use, use = Encrypts, Prepared
		}
		list = append(list, key)
	}
	return list
}

// Create makes a keyset with one new key, in a file that only its owner can read. It
// returns an error that is [fs.ErrExist] if the file exists, and another one if somebody
// else could replace files in its directory.
func Create(path string) error {
	return change(path, func() (*keyset.Manager, error) {
		if _, err := os.Lstat(path); err == nil {
			return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
		}
		manager := keyset.NewManager()
		return manager, addKey(manager, true)
	}, func(data []byte) error { return private.Write(path, data, 0o600) })
}

// Rotate makes another key the one that encrypts: the one that was prepared, or else
// a new one. The others go on decrypting. If prepare is true, it only adds the new
// key, so that it can reach every program before anything is encrypted with it. The file
// keeps its owner and its group, which can still read it if it could; others cannot.
func Rotate(path string, prepare bool) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays one
	}
	return change(path, func() (*keyset.Manager, error) {
		handle, err := readHandle(path)
		if err != nil {
			return nil, err
		}
		manager, list := keyset.NewManagerFromHandle(handle), describe(handle)
		prepared := slices.IndexFunc(list, func(key Key) bool { return key.Use == Prepared })
		switch {
		case prepared < 0:
			err = addKey(manager, !prepare)
		case prepare:
			err = fmt.Errorf("key %s of %s is prepared already", list[prepared].ID, path)
		default:
			err = manager.SetPrimary(list[prepared].number)
		}
		return manager, err
	}, func(data []byte) error { return private.Rewrite(path, data) })
}

// addKey adds a new key. Its nonces are random and so long that it serves any number
// of payloads.
func addKey(manager *keyset.Manager, primary bool) error {
	id, err := manager.Add(aead.XChaCha20Poly1305KeyTemplate())
	if err == nil && primary {
		err = manager.SetPrimary(id)
	}
	return err
}

// change writes what becomes of a keyset, while a file beside it keeps other programs from
// changing it.
func change(path string, become func() (*keyset.Manager, error), write func([]byte) error) (err error) {
	if err := private.CheckDir(filepath.Dir(path)); err != nil {
		return err
	}
	lock, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("another program is changing the keyset; if none is, delete %s.new", path)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close(), os.Remove(lock.Name())) }()
	manager, err := become()
	if err != nil {
		return err
	}
	handle, err := manager.Handle()
	if err != nil {
		return err
	}
	var data bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&data)); err != nil {
		return err
	}
	return write(data.Bytes())
}
