package encryption

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Options say what a client or a worker does with what it reads.
type Options struct {
	// Namespace is that of the client.
	Namespace string
	// Required makes a worker's workflows refuse what is not encrypted.
	Required bool
	// Guard, unless nil, learns what could be read and what could not.
	Guard *Guard
}

// Configure makes a client, and the workers on it, encrypt what they send and decrypt what
// they receive. With a nil Keyset they send everything as it is, and do not take what they
// cannot read for something else.
//
// Where the SDK says to which workflow a payload belongs, the payload is bound to it, and is
// no other's. A worker cannot go on with a workflow of which it cannot read something: its
// task fails, and waits for another worker. Only a [converter.RawValue] stays encrypted: the
// workflow decides. Input should be one, or it fails the workflow; arguments of signals
// should be one, or anybody who has no key can hold the workflow up.
func (k *Keyset) Configure(to *client.Options, options Options) {
	d := dataConverter{keyset: k, options: options, at: place{namespace: options.Namespace}}
	to.DataConverter, to.FailureConverter = d.complete(), newFailureConverter(d)
}

// dataConverter encrypts and decrypts what belongs to one place.
type dataConverter struct {
	converter.DataConverter // the SDK's default one with this one as its codec

	keyset  *Keyset
	options Options
	at      place
	// anywhere is true for failures, which travel from child to parent workflows.
	anywhere bool
	// workflow is set for code of a workflow, and activity is true for that of an activity.
	workflow workflow.Context
	activity bool
	// workflowType is that of the activity's workflow.
	workflowType string
}

var (
	_ converter.PayloadCodec                             = dataConverter{}
	_ converter.DataConverterWithSerializationContext    = dataConverter{}
	_ workflow.ContextAware                              = dataConverter{}
	_ converter.FailureConverterWithSerializationContext = failureConverter{}
)

func (d dataConverter) complete() dataConverter {
	d.DataConverter = converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), d)
	return d
}

// Encode implements [converter.PayloadCodec].
func (d dataConverter) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(payloads, func(payload *commonpb.Payload) (*commonpb.Payload, error) { return d.keyset.encrypt(payload, d.at) })
}

// Decode implements [converter.PayloadCodec].
func (d dataConverter) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(payloads, d.decrypt)
}

// decrypt decrypts a payload, and tells the guard.
func (d dataConverter) decrypt(payload *commonpb.Payload) (*commonpb.Payload, error) {
	var workflows []string
	if d.at.workflow != "" && !d.anywhere {
		workflows = []string{d.at.workflow}
	}
	decrypted, err := d.keyset.decrypt(payload, d.at.namespace, workflows...)
	if d.options.Required && d.workflow != nil && err == nil && decrypted == payload && !isNothing(payload) {
		err = errPlain
	}
	switch {
	case err == nil && !isNothing(payload):
		d.options.Guard.read()
	case err != nil && d.workflow != nil:
		d.options.Guard.refuse(workflow.GetInfo(d.workflow).WorkflowType.Name, d.at.workflow, err)
	case err != nil && d.activity:
		d.options.Guard.refuse(d.workflowType, d.at.workflow, err)
	}
	return decrypted, err
}

// isNothing reports whether a payload has nothing in it to hide.
func isNothing(payload *commonpb.Payload) bool {
	return payload == nil || string(payload.GetMetadata()[converter.MetadataEncoding]) == converter.MetadataEncodingNil
}

// ToPayload implements [converter.DataConverter]. It panics if a value cannot be encrypted:
// after an error the SDK would store a memo as it is.
func (d dataConverter) ToPayload(value any) (*commonpb.Payload, error) {
	payload, err := converter.GetDefaultDataConverter().ToPayload(value)
	if err != nil {
		return nil, err
	}
	encrypted, err := d.keyset.encrypt(payload, d.at)
	if err != nil {
		panic(err)
	}
	return encrypted, nil
}

// FromPayloads implements [converter.DataConverter]. It looks only at the payloads that are
// asked for: a query without arguments is not in the way of anybody who sends some.
func (d dataConverter) FromPayloads(payloads *commonpb.Payloads, values ...any) error {
	list := payloads.GetPayloads()
	for i := range min(len(list), len(values)) {
		if err := d.FromPayload(list[i], values[i]); err != nil {
			return err
		}
	}
	return nil
}

// FromPayload implements [converter.DataConverter]. In the code of a workflow it panics
// about what it cannot read, which fails the task and not the workflow.
func (d dataConverter) FromPayload(payload *commonpb.Payload, value any) error {
	if payload == nil {
		return nil
	}
	raw, isRaw := value.(*converter.RawValue)
	decrypted, err := d.decrypt(payload)
	switch {
	case err != nil && isRaw:
		*raw = converter.NewRawValue(marked(payload, err))
		return nil
	case err != nil && d.workflow != nil:
		panic(err)
	case err != nil:
		return err
	}
	return converter.GetDefaultDataConverter().FromPayload(decrypted, value)
}

// WithSerializationContext implements [converter.DataConverterWithSerializationContext].
func (d dataConverter) WithSerializationContext(at converter.SerializationContext) converter.DataConverter {
	return d.in(at).complete()
}

// in returns the converter for a place that the SDK names.
func (d dataConverter) in(at converter.SerializationContext) dataConverter {
	switch at := at.(type) {
	case converter.WorkflowSerializationContext:
		d.at = place{at.Namespace, at.WorkflowID}
	case converter.ActivitySerializationContext:
		d.at, d.activity, d.workflowType = place{at.Namespace, at.WorkflowID}, true, at.WorkflowType
	}
	return d
}

// WithWorkflowContext implements [workflow.ContextAware].
func (d dataConverter) WithWorkflowContext(ctx workflow.Context) converter.DataConverter {
	d.workflow = ctx
	return d.complete()
}

// WithContext implements [workflow.ContextAware].
func (d dataConverter) WithContext(context.Context) converter.DataConverter { return d }

// errorTypeUnreadable is the type of the failure with which a worker gives back a task that
// it cannot decrypt.
const errorTypeUnreadable = "Unreadable"

// failureConverter is the SDK's default converter, which encrypts messages and stack traces.
type failureConverter struct {
	converter.FailureConverter
	data dataConverter
}

func newFailureConverter(d dataConverter) failureConverter {
	d.anywhere = true
	return failureConverter{temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter: d.complete(), EncodeCommonAttributes: d.keyset != nil,
	}), d}
}

// ErrorToFailure implements [converter.FailureConverter]. Why something could not be read
// stays plain, for those who have another keyset.
func (f failureConverter) ErrorToFailure(err error) *failurepb.Failure {
	if err != nil {
		if problem := problemIn(err); problem != "" {
			return temporal.GetDefaultFailureConverter().ErrorToFailure(temporal.NewApplicationError(problem, errorTypeUnreadable))
		}
	}
	return f.FailureConverter.ErrorToFailure(err)
}

// WithSerializationContext implements [converter.FailureConverterWithSerializationContext].
func (f failureConverter) WithSerializationContext(at converter.SerializationContext) converter.FailureConverter {
	return newFailureConverter(f.data.in(at))
}
