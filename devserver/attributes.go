//go:build !noserver

package devserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/server/common/searchattribute/sadefs"
)

// CheckSearchAttributes returns an error unless a namespace can have all of the search
// attributes.
func CheckSearchAttributes(attributes map[string]enumspb.IndexedValueType) error {
	for name := range attributes {
		if sadefs.IsReserved(name) {
			return fmt.Errorf("the search attribute %q is one of Temporal's own", name)
		}
	}
	return checkRoom(attributes)
}

// checkRoom returns an error if there are more search attributes of a type than the database
// has columns for.
func checkRoom(attributes map[string]enumspb.IndexedValueType) error {
	room, names := map[enumspb.IndexedValueType]int{}, map[enumspb.IndexedValueType][]string{}
	for _, kind := range sadefs.GetDBIndexSearchAttributes(nil).CustomSearchAttributes {
		room[kind]++
	}
	all := slices.Sorted(maps.Keys(attributes))
	for _, name := range all {
		names[attributes[name]] = append(names[attributes[name]], name)
	}
	for _, name := range all {
		if kind := attributes[name]; len(names[kind]) > room[kind] {
			return fmt.Errorf("there is room for %d search attributes of type %s, not for %d: %q", room[kind], kind, len(names[kind]), names[kind])
		}
	}
	return nil
}

// addSearchAttributes adds the search attributes that an existing namespace lacks. One
// that has another type stays as it is: any client may have made it.
func (s *Server) addSearchAttributes(ctx context.Context, operator operatorservice.OperatorServiceClient, namespace string) error {
	want := s.options.SearchAttributes
	if len(want) == 0 {
		return nil
	}
	have, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return err
	}
	all, missing := maps.Clone(want), map[string]enumspb.IndexedValueType{}
	maps.Copy(all, have.GetCustomAttributes())
	for name, kind := range want {
		switch existing, ok := have.GetCustomAttributes()[name]; {
		case !ok:
			missing[name] = kind
		case existing != kind:
			s.options.notify("namespace %q: the search attribute %s is of type %s, not %s, and stays so", namespace, name, existing, kind)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := checkRoom(all); err != nil {
		return err
	}
	_, err = operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	var exists *serviceerror.AlreadyExists
	if errors.As(err, &exists) {
		return nil
	}
	return err
}
