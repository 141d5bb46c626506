package encryption

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

// newKeyset makes a keyset in a file of its own.
func newKeyset(t *testing.T) *Keyset {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	keyset, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return keyset
}

func payload(t *testing.T, value any) *commonpb.Payload {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayload(value)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRotate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	uses := func() (uses []KeyUse) {
		t.Helper()
		keys, err := List(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			uses = append(uses, key.Use)
		}
		return uses
	}
	want := func(want ...KeyUse) {
		t.Helper()
		got, _ := json.Marshal(uses())
		if expected, _ := json.Marshal(want); string(got) != string(expected) {
			t.Errorf("the keys are %s, want %s", got, expected)
		}
	}
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	want("encrypts")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a keyset was made twice: %v", err)
	}
	for _, step := range []struct {
		prepare bool
		want    []KeyUse
	}{
		{true, []KeyUse{"encrypts", "prepared"}},
		{false, []KeyUse{"decrypts", "encrypts"}},
		{false, []KeyUse{"decrypts", "decrypts", "encrypts"}},
	} {
		if err := Rotate(path, step.prepare); err != nil {
			t.Fatal(err)
		}
		want(step.want...)
	}
	if err := Rotate(path, true); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path, true); err == nil || !strings.Contains(err.Error(), "is prepared already") {
		t.Errorf("a key was prepared twice: %v", err)
	}
	// Another program that changes the keyset is not overwritten.
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path, false); err == nil || !strings.Contains(err.Error(), "another program is changing the keyset") {
		t.Errorf("two programs changed the keyset at once: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the keyset was changed: %v", err)
	}
}

// TestRotateThroughALink: a keyset that is a link, as in a mounted secret, stays one.
func TestRotateThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target.json"), filepath.Join(dir, "link.json")
	if err := Create(target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(link, false); err != nil {
		t.Fatal(err)
	}
	if keys, err := List(target); err != nil || len(keys) != 2 {
		t.Errorf("the target has the keys %v, %v", keys, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "there is no keyset "+path) {
		t.Errorf("no file: %v", err)
	}
	for _, content := range []string{"", "{}", "secret text", `{"primaryKeyId": 1, "key": []}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), path+" is not a keyset") {
			t.Errorf("%q: %v", content, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the file: %v", err)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	plain := payload(t, map[string]string{"drink": "latte"})
	at := place{"shop", "order-1"}
	encrypted, err := k.encrypt(plain, at)
	if err != nil {
		t.Fatal(err)
	}
	if text := encrypted.String(); strings.Contains(text, "latte") || strings.Contains(text, "json") {
		t.Errorf("it can be read: %s", text)
	}
	for _, test := range []struct {
		namespace string
		workflows []string
		want      error
	}{
		{"shop", []string{"order-1"}, nil},
		{"shop", []string{"order-2", "order-1"}, nil}, // a child's memo
		{"shop", nil, nil},
		{"", nil, nil}, // a file
		{"shop", []string{"order-2"}, errElsewhere},
		{"bank", []string{"order-1"}, errElsewhere},
		{"bank", nil, errElsewhere},
	} {
		decrypted, err := k.decrypt(encrypted, test.namespace, test.workflows...)
		if !errors.Is(err, test.want) || err == nil && !proto.Equal(decrypted, plain) {
			t.Errorf("in %s, %v it is %v, %v", test.namespace, test.workflows, decrypted, err)
		}
	}
	for name, change := range map[string]func(*commonpb.Payload){
		"another order's name":   func(p *commonpb.Payload) { p.Metadata[metadataWorkflow] = []byte("order-2") },
		"no name":                func(p *commonpb.Payload) { delete(p.Metadata, metadataWorkflow) },
		"another namespace":      func(p *commonpb.Payload) { p.Metadata[metadataNamespace] = []byte("bank") },
		"no namespace":           func(p *commonpb.Payload) { delete(p.Metadata, metadataNamespace) },
		"a name that moves over": func(p *commonpb.Payload) { p.Metadata[metadataNamespace] = []byte(`shop" "`) },
		"a bit":                  func(p *commonpb.Payload) { p.Data[len(p.Data)-1] ^= 1 },
		"the end":                func(p *commonpb.Payload) { p.Data = p.Data[:len(p.Data)-1] },
	} {
		changed := proto.CloneOf(encrypted)
		change(changed)
		if _, err := k.decrypt(changed, ""); !errors.Is(err, errDamaged) {
			t.Errorf("with %s changed it is read: %v", name, err)
		}
	}
	if same, err := k.decrypt(plain, "shop", "order-1"); err != nil || same != plain {
		t.Errorf("what was written before there was a keyset: %v, %v", same, err)
	}
}

// TestLengthTellsNothing: all orders are of one length, and padding comes off again whatever
// the length is and however the payload ends.
func TestLengthTellsNothing(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	lengths := map[int]bool{}
	for _, drink := range []string{"latte", "mocha", "espresso", "americano", "cappuccino"} {
		for _, size := range []string{"S", "M", "L"} {
			encrypted, err := k.encrypt(payload(t, map[string]string{"order_id": "1", "drink": drink, "size": size}), place{"shop", "order-1"})
			if err != nil {
				t.Fatal(err)
			}
			lengths[len(encrypted.GetData())] = true
		}
	}
	if len(lengths) != 1 {
		t.Errorf("the lengths are %v", lengths)
	}
	for length := range 3 * blockSize {
		for _, end := range []byte{0, 1, 'x'} {
			plain := bytes.Repeat([]byte{end}, length)
			padded := pad(plain)
			if len(padded)%blockSize != 0 || !bytes.Equal(unpad(padded), plain) {
				t.Fatalf("%d bytes of %d are not the same again", length, end)
			}
		}
	}
}

// TestUnreadable: each error names the key at most, tells a wrong keyset from none, is known
// again by its text, and says nothing about where the keyset is.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	mine, theirs := newKeyset(t), newKeyset(t)
	encrypted, err := theirs.encrypt(payload(t, "latte"), place{"shop", "order-1"})
	if err != nil {
		t.Fatal(err)
	}
	id := string(encrypted.GetMetadata()["encryption-key-id"])
	garbage := proto.CloneOf(encrypted)
	garbage.Metadata[metadataKeyID] = []byte("<script>")
	for _, test := range []struct {
		keyset  *Keyset
		payload *commonpb.Payload
		want    string
	}{
		{mine, encrypted, "unreadable: it is encrypted with key " + id + ", which is not in the keyset"},
		{nil, encrypted, "unreadable: it is encrypted with key " + id + ", and there is no keyset"},
		{mine, garbage, "unreadable: it is encrypted with an unknown key, which is not in the keyset"},
	} {
		_, err := test.keyset.decrypt(test.payload, "shop", "order-1")
		var unreadable *UnreadableError
		if !errors.As(err, &unreadable) || err.Error() != test.want {
			t.Errorf("the error is %v, want %s", err, test.want)
		}
		if (unreadable.Keyset == "") != (test.keyset == nil) {
			t.Errorf("the log cannot say where the keyset is: %q", unreadable.Keyset)
		}
		for _, err := range []error{err, fmt.Errorf("input: %w", err), errors.New(err.Error())} {
			if got := problemIn(err); got != test.want {
				t.Errorf("in %v the problem is %q", err, got)
			}
		}
	}
	for _, text := range []string{"unreadable: latte", "it has key 1, which", "unreadable: it is encrypted with key 1, and there is no keyset for latte"} {
		if got := problemIn(errors.New(text)); got != "" {
			t.Errorf("%q passes for a problem: %q", text, got)
		}
	}
}

// TestNewKeyWhileRunning: a program that runs reads a keyset again when it meets a new
// key, and encrypts with that from then on.
func TestNewKeyWhileRunning(t *testing.T) {
	t.Parallel()
	running := newKeyset(t)
	before, err := running.encrypt(payload(t, "before"), place{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Rotate(running.Path(), false); err != nil {
		t.Fatal(err)
	}
	fresh, err := Open(running.Path())
	if err != nil {
		t.Fatal(err)
	}
	after, err := fresh.encrypt(payload(t, "after"), place{})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for _, p := range []*commonpb.Payload{after, before} {
				if _, err := running.decrypt(p, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	next, err := running.encrypt(payload(t, "next"), place{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(next.Metadata[metadataKeyID]), string(after.Metadata[metadataKeyID]); got != want {
		t.Errorf("it encrypts with %s, want %s", got, want)
	}
	// A key that is known already, because it was prepared, encrypts once others use it.
	if err := Rotate(running.Path(), true); err != nil {
		t.Fatal(err)
	}
	prepared, err := Open(running.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := Rotate(running.Path(), false); err != nil {
		t.Fatal(err)
	}
	if fresh, err = Open(running.Path()); err != nil {
		t.Fatal(err)
	}
	if after, err = fresh.encrypt(payload(t, "after"), place{}); err != nil {
		t.Fatal(err)
	}
	if _, err := prepared.decrypt(after, ""); err != nil {
		t.Error(err)
	}
	if next, err = prepared.encrypt(payload(t, "next"), place{}); err != nil {
		t.Fatal(err)
	}
	if got, want := string(next.Metadata[metadataKeyID]), string(after.Metadata[metadataKeyID]); got != want {
		t.Errorf("the prepared key does not encrypt: it is %s, not %s", want, got)
	}
	// A file that has gone, or is broken, takes no key away.
	if err := os.Remove(running.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := running.decrypt(before, ""); err != nil {
		t.Error(err)
	}
}
