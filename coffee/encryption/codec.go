package encryption

import (
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

// An encrypted payload names how it is to be read in its metadata, as those of
// Temporal's samples do.
const (
	// encodingEncrypted is the encoding of an encrypted payload.
	encodingEncrypted = "binary/encrypted"
	// metadataKeyID is the metadata key with the id of the key that encrypted it.
	metadataKeyID = "encryption-key-id"
	// metadataWorkflow is the metadata key with the id of the workflow that the payload
	// belongs to. It is the associated data of the encryption, so a payload cannot be
	// passed off as that of another order.
	metadataWorkflow = "encryption-workflow-id"
)

// MissingKeyError reports that something was encrypted with a key that is not there.
type MissingKeyError struct {
	// KeyID is the id of that key; empty if it is not known.
	KeyID string
	// WorkflowID is the workflow that it belongs to; empty if that is not known.
	WorkflowID string
	// Keyset is the file of the keyset; empty if there is none.
	Keyset string
	// Err is why the file could not be read again; nil if it could.
	Err error

	untouched bool
}

// Untouched reports whether it is a whole history that cannot be read, and no worker has
// completed a task of it: its client may have had the wrong keyset, and nothing has been
// done for it.
func (e *MissingKeyError) Untouched() bool { return e.untouched }

// Unwrap returns why the file could not be read again.
func (e *MissingKeyError) Unwrap() error { return e.Err }

func (e *MissingKeyError) Error() string {
	what := "something"
	if e.WorkflowID != "" {
		what = fmt.Sprintf("workflow %q", e.WorkflowID)
	}
	key := "a key"
	if e.KeyID != "" {
		key = fmt.Sprintf("key %q", e.KeyID)
	}
	if e.Keyset == "" {
		return fmt.Sprintf("%s is encrypted with %s, and there is no keyset", what, key)
	}
	text := fmt.Sprintf("%s is encrypted with %s, which is not in the keyset %s", what, key, e.Keyset)
	if e.Err != nil {
		text += fmt.Sprintf(" as it was read last (now: %v)", e.Err)
	}
	return text
}

// ErrDamaged means that an encrypted payload is not what was encrypted, or not that of
// the workflow in which it was found.
var ErrDamaged = errors.New("an encrypted payload was changed, or belongs to another workflow")

// encrypt encrypts a payload, unless it is encrypted already. workflowID is empty if it
// is not known.
func (k *Keyset) encrypt(payload *commonpb.Payload, workflowID string) (*commonpb.Payload, error) {
	if payload == nil || isEncrypted(payload) {
		return payload, nil
	}
	plain, err := proto.Marshal(payload)
	if err != nil {
		return nil, err
	}
	keys := k.current()
	data, err := keys.aead.Encrypt(plain, []byte(workflowID))
	if err != nil {
		return nil, err
	}
	metadata := map[string][]byte{
		converter.MetadataEncoding: []byte(encodingEncrypted),
		metadataKeyID:              []byte(keys.primary),
	}
	if workflowID != "" {
		metadata[metadataWorkflow] = []byte(workflowID)
	}
	return &commonpb.Payload{Metadata: metadata, Data: data}, nil
}

// decrypt decrypts a payload, if it is encrypted. workflowID is the workflow in which
// it was found; empty if that is not known. It returns a [*MissingKeyError] or
// [ErrDamaged].
func (k *Keyset) decrypt(payload *commonpb.Payload, workflowID string) (*commonpb.Payload, error) {
	if !isEncrypted(payload) {
		return payload, nil
	}
	id := string(payload.GetMetadata()[metadataKeyID])
	keys, ok, err := k.with(id)
	if !ok {
		missing := &MissingKeyError{KeyID: id, WorkflowID: workflowID, Err: err}
		if k != nil {
			missing.Keyset = k.path
		}
		return nil, missing
	}
	belongs := string(payload.GetMetadata()[metadataWorkflow])
	if workflowID != "" && belongs != "" && workflowID != belongs {
		return nil, ErrDamaged
	}
	plain, err := keys.aead.Decrypt(payload.GetData(), []byte(belongs))
	if err != nil {
		return nil, ErrDamaged
	}
	decrypted := &commonpb.Payload{}
	if err := proto.Unmarshal(plain, decrypted); err != nil {
		return nil, ErrDamaged
	}
	return decrypted, nil
}

func isEncrypted(payload *commonpb.Payload) bool {
	return string(payload.GetMetadata()[converter.MetadataEncoding]) == encodingEncrypted
}

// codec encrypts payloads of which nothing else is known.
type codec struct{ keyset *Keyset }

// Codec returns the keyset as a codec, for Temporal programs that have no use for the
// interceptor. Unlike that, it does not bind what it encrypts to a workflow.
func (k *Keyset) Codec() converter.PayloadCodec { return codec{k} }

// Encode implements [converter.PayloadCodec].
func (c codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(payloads, func(p *commonpb.Payload) (*commonpb.Payload, error) { return c.keyset.encrypt(p, "") })
}

// Decode implements [converter.PayloadCodec].
func (c codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(payloads, func(p *commonpb.Payload) (*commonpb.Payload, error) { return c.keyset.decrypt(p, "") })
}

func each(payloads []*commonpb.Payload, do func(*commonpb.Payload) (*commonpb.Payload, error)) ([]*commonpb.Payload, error) {
	done := make([]*commonpb.Payload, len(payloads))
	for i, payload := range payloads {
		var err error
		if done[i], err = do(payload); err != nil {
			return nil, err
		}
	}
	return done, nil
}
