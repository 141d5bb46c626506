package devserver

import (
	"context"
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// TestNamespaceChangesAreKnownAtOnce checks that a change holds for the next
// request, whichever service it reaches.
func TestNamespaceChangesAreKnownAtOnce(t *testing.T) {
	t.Parallel()
	server, _ := startTalking(t, Options{})
	conn := dial(t, server)
	service, operator := workflowservice.NewWorkflowServiceClient(conn), operatorservice.NewOperatorServiceClient(conn)
	ctx := context.Background()
	start := func(namespace, id string, attributes *commonpb.SearchAttributes) error {
		_, err := service.StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
			Namespace: namespace, WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "any"},
			TaskQueue: &taskqueuepb.TaskQueue{Name: "any"}, RequestId: id, SearchAttributes: attributes,
		})
		return err
	}
	if _, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: "cafe", WorkflowExecutionRetentionPeriod: durationpb.New(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	value, err := converter.GetDefaultDataConverter().ToPayload("x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		name := fmt.Sprint("Table", i)
		if _, err := operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: "cafe",
			SearchAttributes: map[string]enumspb.IndexedValueType{name: enumspb.INDEXED_VALUE_TYPE_KEYWORD}}); err != nil {
			t.Fatal(err)
		}
		if err := start("cafe", name, &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{name: value}}); err != nil {
			t.Fatal(err)
		}
		if _, err := service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: "cafe", Query: name + " = 'x'"}); err != nil {
			t.Fatal(err)
		}
	}
	// The namespace's own workers run its deletion.
	if _, err := operator.DeleteNamespace(ctx, &operatorservice.DeleteNamespaceRequest{Namespace: "cafe"}); err != nil {
		t.Fatal(err)
	}
	if err := start("cafe", "late", nil); status.Code(err) != codes.NotFound {
		t.Errorf("after the namespace was deleted: %v", err)
	}
}
