package timeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
)

// marks are what the markers of the SDKs are called.
var marks = map[string]string{"SideEffect": "side effect", "MutableSideEffect": "side effect", "Version": "version", "LocalActivity": "local activity",
	"core_local_activity": "local activity", "core_patch": "version"}

// other adds a moment for an event that is neither a beginning nor an end: a mark of the
// workflow's own, or one that this package does not know.
func (r *reader) other(event *historypb.HistoryEvent) {
	typ := event.GetEventType().String()
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_MARKER_RECORDED:
		name := event.GetMarkerRecordedEventAttributes().GetMarkerName()
		r.at(KindMark, event, cmp.Or(marks[name], "marker"), StateOK, markInWords(event))
	case enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
		r.at(KindMark, event, "search attribute", StateOK, keys(event.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()))
	case enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
		r.at(KindMark, event, "memo", StateOK, keys(event.GetWorkflowPropertiesModifiedEventAttributes().GetUpsertedMemo().GetFields()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:
		r.moment(event, "paused", StateWaiting, event.GetWorkflowExecutionPausedEventAttributes().GetReason())
	default:
		r.moment(event, strings.TrimPrefix(spaced(typ), "workflow execution "), StateOK, "")
	}
}

// keys are those of search attributes or a memo.
func keys(fields map[string]*commonpb.Payload) string {
	return strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

// markInWords says what a marker marks: the change of a version, or a local activity.
func markInWords(event *historypb.HistoryEvent) string {
	attributes := event.GetMarkerRecordedEventAttributes()
	var change, version string
	var data map[string]any
	decode(attributes.GetDetails()["change-id"], &change)
	var number int
	if decode(attributes.GetDetails()["version"], &number) {
		version = fmt.Sprintf(" is %d", number)
	}
	if change != "" {
		return change + version
	}
	if decode(attributes.GetDetails()["data"], &data) {
		if name, ok := cmp.Or(data["ActivityType"], data["activity_type"]).(string); ok {
			if failure := attributes.GetFailure(); failure != nil {
				name += ": " + message(failure)
			}
			return name
		}
	}
	return ""
}

// decode decodes the first of some payloads, as the SDK's default data converter does. It
// reports whether there is one that value can hold.
func decode(payloads *commonpb.Payloads, value any) bool {
	return len(payloads.GetPayloads()) > 0 && converter.GetDefaultDataConverter().FromPayload(payloads.GetPayloads()[0], value) == nil
}

// spaced splits a name as Go spells it: WorkflowExecutionPaused is workflow execution paused.
func spaced(name string) string {
	var b strings.Builder
	for i, letter := range name {
		if i > 0 && unicode.IsUpper(letter) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(letter))
	}
	return b.String()
}
