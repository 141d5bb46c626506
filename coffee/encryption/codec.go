package encryption

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

// An encrypted payload names in its metadata how it is to be read, as those of Temporal's
// samples do.
const (
	// encodingEncrypted is the encoding of an encrypted payload.
	encodingEncrypted = "binary/encrypted"
	// metadataKeyID is the metadata key with the id of the key that encrypted it.
	metadataKeyID = "encryption-key-id"
	// metadataNamespace and metadataWorkflow are the metadata keys with the namespace and
	// the id of the workflow that the payload belongs to. Both are the associated data of
	// the encryption, so a payload cannot be passed off as that of another order.
	metadataNamespace = "encryption-namespace"
	metadataWorkflow  = "encryption-workflow-id"
	// metadataProblem is the metadata key with which a reader marks a payload that it could
	// not read, and says why. It is never sent.
	metadataProblem = "encryption-problem"
)

// blockSize is what the size of everything is rounded up to before it is encrypted, in
// bytes: all drinks, and all failures of a kind, are then of one length.
const blockSize = 256

// UnreadableError reports that a payload cannot be decrypted, or must not be. Its text may
// be shown to anybody: it has the id of a key at most.
type UnreadableError struct {
	// Keyset is the file that lacks the key; empty if there is none, or if that is not the
	// problem. Err is why that file could not be read again; nil if it could. Neither is in
	// the error's text.
	Keyset string
	Err    error

	problem string
}

func (e *UnreadableError) Error() string { return unreadable + e.problem }

// Unreadable marks the error for those who do not know this package.
func (e *UnreadableError) Unreadable() bool { return true }

// unreadable begins the text of each [UnreadableError].
const unreadable = "unreadable: "

var (
	errDamaged   = &UnreadableError{problem: "it was changed after it was encrypted"}
	errElsewhere = &UnreadableError{problem: "it belongs to another workflow or namespace"}
	errPlain     = &UnreadableError{problem: "it is not encrypted, and this worker takes only what is"}

	// problems has the texts of all errors.
	problems = regexp.MustCompile("^" + unreadable + "(" + strings.Join([]string{errDamaged.problem, errElsewhere.problem, errPlain.problem,
		`it is encrypted with (key \d{1,10}|an unknown key), (and there is no keyset|which is not in the keyset)`}, "|") + ")$")
)

// missingKey returns the error about a payload whose key is not in a keyset.
func missingKey(k *Keyset, id string, cause error) *UnreadableError {
	key := "key " + id
	if _, err := strconv.ParseUint(id, 10, 32); err != nil { // anything can stand there
		key = "an unknown key"
	}
	if k == nil {
		return &UnreadableError{problem: "it is encrypted with " + key + ", and there is no keyset"}
	}
	return &UnreadableError{k.path, cause, "it is encrypted with " + key + ", which is not in the keyset"}
}

// problemIn returns the text of the [UnreadableError] that caused an error; empty if none
// did. The SDK keeps of a panic only the text.
func problemIn(err error) string {
	var e *UnreadableError
	if errors.As(err, &e) {
		return e.Error()
	}
	return problems.FindString(err.Error())
}

// each returns what becomes of each payload.
func each(payloads []*commonpb.Payload, become func(*commonpb.Payload) (*commonpb.Payload, error)) ([]*commonpb.Payload, error) {
	all := make([]*commonpb.Payload, len(payloads))
	for i, payload := range payloads {
		var err error
		if all[i], err = become(payload); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// place is what a payload belongs to. Either field is empty if it is not known.
type place struct{ namespace, workflow string }

func (p place) associatedData() []byte { return fmt.Appendf(nil, "%q %q", p.namespace, p.workflow) }

// encrypt encrypts a payload and binds it to a place. A nil Keyset leaves it as it is.
func (k *Keyset) encrypt(payload *commonpb.Payload, at place) (*commonpb.Payload, error) {
	if k == nil || payload == nil {
		return payload, nil
	}
	plain, err := proto.Marshal(payload)
	if err != nil {
		return nil, err
	}
	keys, _ := k.file.Get() // or the last ones that could be read
	data, err := keys.aead.Encrypt(pad(plain), at.associatedData())
	if err != nil {
		return nil, err
	}
	metadata := map[string][]byte{
		converter.MetadataEncoding: []byte(encodingEncrypted),
		metadataKeyID:              []byte(keys.primary()),
	}
	if at.namespace != "" {
		metadata[metadataNamespace] = []byte(at.namespace)
	}
	if at.workflow != "" {
		metadata[metadataWorkflow] = []byte(at.workflow)
	}
	return &commonpb.Payload{Metadata: metadata, Data: data}, nil
}

// decrypt decrypts a payload, if it is encrypted, that was found in a namespace, and in one
// of some workflows; empty and none mean that this is not known. What is bound to no
// namespace or workflow may be anywhere. It returns an [*UnreadableError].
func (k *Keyset) decrypt(payload *commonpb.Payload, namespace string, workflows ...string) (*commonpb.Payload, error) {
	if !isEncrypted(payload) {
		return payload, nil
	}
	metadata := payload.GetMetadata()
	id := string(metadata[metadataKeyID])
	if k == nil {
		return nil, missingKey(nil, id, nil)
	}
	keys, err := k.file.Get()
	if !slices.ContainsFunc(keys.list, func(key Key) bool { return key.ID == id }) {
		return nil, missingKey(k, id, err)
	}
	belongs := place{string(metadata[metadataNamespace]), string(metadata[metadataWorkflow])}
	if namespace != "" && belongs.namespace != "" && belongs.namespace != namespace ||
		len(workflows) > 0 && belongs.workflow != "" && !slices.Contains(workflows, belongs.workflow) {
		return nil, errElsewhere
	}
	padded, err := keys.aead.Decrypt(payload.GetData(), belongs.associatedData())
	if err != nil {
		return nil, errDamaged
	}
	decrypted := &commonpb.Payload{}
	if err := proto.Unmarshal(unpad(padded), decrypted); err != nil {
		return nil, errDamaged
	}
	return decrypted, nil
}

// pad appends a one and zeros up to a multiple of [blockSize].
func pad(plain []byte) []byte {
	padded := make([]byte, (len(plain)/blockSize+1)*blockSize)
	padded[copy(padded, plain)] = 1
	return padded
}

func unpad(padded []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimRight(padded, "\x00"), []byte{1})
}

func isEncrypted(payload *commonpb.Payload) bool {
	return string(payload.GetMetadata()[converter.MetadataEncoding]) == encodingEncrypted
}

// marked returns what stands for a payload that could not be read: it is encrypted, and says
// why nobody could read it.
func marked(payload *commonpb.Payload, err error) *commonpb.Payload {
	marked := &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encodingEncrypted)}}
	if isEncrypted(payload) {
		marked = proto.CloneOf(payload)
	}
	marked.Metadata[metadataProblem] = []byte(err.Error())
	return marked
}
