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
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"example.com/coffee/internal/private"
)

// Keyset is a set of keys in a file. One of them encrypts; all of them decrypt. It is
// safe for concurrent use. A nil Keyset has no keys and encrypts nothing.
type Keyset struct {
	path string

	mu   sync.RWMutex
	keys keys
}

// keys are what was read from the file.
type keys struct {
	aead    tink.AEAD
	primary string // the id of the key that encrypts
	ids     map[string]bool
	read    fs.FileInfo // of the file when it was read
}

// Key describes a key of a keyset.
type Key struct {
	// ID is a number in decimal notation. It stands beside everything that the key
	// encrypts.
	ID string `json:"id"`
	// Use is what the key is for now.
	Use KeyUse `json:"use"`
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

// Open reads a keyset from a file in Tink's JSON format. The file is read again when
// something was encrypted with a key that it did not have, so that a program learns of
// a new key while it runs.
func Open(path string) (*Keyset, error) {
	k := &Keyset{path: path}
	return k, k.load()
}

// Path returns the file's name.
func (k *Keyset) Path() string { return k.path }

// load reads the file if it has changed since it was read.
func (k *Keyset) load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no keyset %s", k.path)
	}
	if err != nil {
		return err
	}
	// A file that takes another's place can have its time and size: clocks of file systems
	// tick slowly.
	if old := k.keys.read; old != nil && os.SameFile(info, old) && info.ModTime().Equal(old.ModTime()) && info.Size() == old.Size() {
		return nil
	}
	handle, err := readHandle(k.path)
	if err != nil {
		return err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return fmt.Errorf("%s is not a keyset for encryption: %w", k.path, err)
	}
	k.keys = keys{aead: primitive, ids: map[string]bool{}, read: info}
	for _, key := range describe(handle) {
		k.keys.ids[key.ID] = true
		if key.Use == Encrypts {
			k.keys.primary = key.ID
		}
	}
	return nil
}

func readHandle(path string) (*keyset.Handle, error) {
	data, err := private.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no keyset %s", path)
	}
	if err != nil {
		return nil, err
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("%s is not a keyset: %w", path, err) // the keys are not in it
	}
	return handle, nil
}

// current returns the keys that were read last.
func (k *Keyset) current() keys {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys
}

// with returns the keys, which include the one with an id. It reports whether there is
// such a key; if not, the error is why the file could not be read again, if it could not.
//
// Another key than the one that encrypts here is in use somewhere, so it may be the one
// that should encrypt now.
func (k *Keyset) with(id string) (keys, bool, error) {
	if k == nil {
		return keys{}, false, nil
	}
	current := k.current()
	if id == current.primary {
		return current, true, nil
	}
	err := k.load()
	current = k.current()
	return current, current.ids[id], err
}

// List describes the keys in a file, oldest first.
func List(path string) ([]Key, error) {
	handle, err := readHandle(path)
	if err != nil {
		return nil, err
	}
	return describe(handle), nil
}

// describe lists the keys that are enabled. Those after the one that encrypts were
// added to take over from it.
func describe(handle *keyset.Handle) []Key {
	var list []Key
	use := Decrypts
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil || entry.KeyStatus() != keyset.Enabled {
			continue
		}
		key := Key{ID: strconv.FormatUint(uint64(entry.KeyID()), 10), Use: use}
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
	return change(path, func() error {
		if _, err := os.Lstat(path); err == nil {
			return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
		}
		manager := keyset.NewManager()
		if err := addKey(manager, true); err != nil {
			return err
		}
		data, err := encode(manager)
		if err != nil {
			return err
		}
		return private.Write(path, data, 0o600)
	})
}

// Rotate makes another key the one that encrypts: the one that was prepared, or else
// a new one. The others go on decrypting. If prepare is true, it only adds the new
// key, so that it can reach every program before anything is encrypted with it. The file
// keeps its owner and its group, which can still read it if it could; others cannot.
func Rotate(path string, prepare bool) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays one
	}
	return change(path, func() error {
		handle, err := readHandle(path)
		if err != nil {
			return err
		}
		manager, list := keyset.NewManagerFromHandle(handle), describe(handle)
		prepared := slices.IndexFunc(list, func(key Key) bool { return key.Use == Prepared })
		switch {
		case prepared < 0:
			err = addKey(manager, !prepare)
		case prepare:
			err = fmt.Errorf("key %s of %s is prepared already", list[prepared].ID, path)
		default:
			err = setPrimary(manager, list[prepared].ID)
		}
		if err != nil {
			return err
		}
		data, err := encode(manager)
		if err != nil {
			return err
		}
		return private.Rewrite(path, data)
	})
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

func setPrimary(manager *keyset.Manager, id string) error {
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return err
	}
	return manager.SetPrimary(uint32(number))
}

func encode(manager *keyset.Manager) ([]byte, error) {
	handle, err := manager.Handle()
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&data))
	return data.Bytes(), err
}

// change changes a keyset, while a file beside it keeps other programs from doing the same.
func change(path string, write func() error) error {
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
	return errors.Join(lock.Close(), write(), os.Remove(lock.Name()))
}
