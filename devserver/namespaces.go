//go:build !noserver

package devserver

import (
	"context"
	"errors"
	"sync"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/server/common/namespace"
	"go.temporal.io/server/common/persistence"
)

// namespaceWatch tells each service of a server when a namespace has changed.
// Without it each service rereads all namespaces every two seconds, and until then
// does not know of a new search attribute, for example.
type namespaceWatch struct {
	mu       sync.Mutex
	watchers []watcher
}

// watcher receives events until its context ends.
type watcher struct {
	ctx    context.Context
	events chan *persistence.NamespaceWatchEvent
}

func (w *namespaceWatch) watch(ctx context.Context) <-chan *persistence.NamespaceWatchEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := make(chan *persistence.NamespaceWatchEvent)
	w.watchers = append(w.watchers, watcher{ctx, events})
	return events
}

// tell returns when every service has processed the events.
func (w *namespaceWatch) tell(events ...*persistence.NamespaceWatchEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The last event is sent twice: a service that receives it again has processed
	// the first one, and the second one changes nothing.
	events = append(events, events[len(events)-1])
	left := w.watchers[:0]
	for _, watcher := range w.watchers {
		for _, event := range events {
			select {
			case watcher.events <- event:
			case <-watcher.ctx.Done():
			}
		}
		if watcher.ctx.Err() == nil {
			left = append(left, watcher)
		}
	}
	w.watchers = left
}

// watchedNamespaces stores the namespaces in the database and tells the watch of
// every change.
type watchedNamespaces struct {
	persistence.MetadataManager
	watch *namespaceWatch
}

func (w *namespaceWatch) of(m persistence.MetadataManager) persistence.MetadataManager {
	return watchedNamespaces{m, w}
}

// WatchNamespaces implements [persistence.MetadataManager].
func (n watchedNamespaces) WatchNamespaces(ctx context.Context) (<-chan *persistence.NamespaceWatchEvent, error) {
	return n.watch.watch(ctx), nil
}

// changed sends the services the current state of a namespace, after the events in
// before. If the namespace cannot be read it sends the error, and the services
// reread all namespaces.
func (n watchedNamespaces) changed(ctx context.Context, request *persistence.GetNamespaceRequest, before ...*persistence.NamespaceWatchEvent) {
	event := &persistence.NamespaceWatchEvent{Type: persistence.NamespaceWatchEventTypeUpdate}
	if event.Response, event.Err = n.GetNamespace(context.WithoutCancel(ctx), request); event.Err == nil {
		event.NamespaceID = namespace.ID(event.Response.Namespace.GetInfo().GetId())
	}
	n.watch.tell(append(before, event)...)
}

func deleted(id string) *persistence.NamespaceWatchEvent {
	return &persistence.NamespaceWatchEvent{Type: persistence.NamespaceWatchEventTypeDelete, NamespaceID: namespace.ID(id)}
}

// CreateNamespace implements [persistence.MetadataManager].
func (n watchedNamespaces) CreateNamespace(ctx context.Context, request *persistence.CreateNamespaceRequest) (*persistence.CreateNamespaceResponse, error) {
	response, err := n.MetadataManager.CreateNamespace(ctx, request)
	if err == nil {
		// A service may have read the namespace meanwhile, to serve a request. It
		// has to forget it: otherwise it would not see that the namespace is new.
		n.changed(ctx, &persistence.GetNamespaceRequest{ID: response.ID}, deleted(response.ID))
	}
	return response, err
}

// UpdateNamespace implements [persistence.MetadataManager].
func (n watchedNamespaces) UpdateNamespace(ctx context.Context, request *persistence.UpdateNamespaceRequest) error {
	err := n.MetadataManager.UpdateNamespace(ctx, request)
	if err == nil {
		n.changed(ctx, &persistence.GetNamespaceRequest{ID: request.Namespace.GetInfo().GetId()})
	}
	return err
}

// RenameNamespace implements [persistence.MetadataManager].
func (n watchedNamespaces) RenameNamespace(ctx context.Context, request *persistence.RenameNamespaceRequest) error {
	err := n.MetadataManager.RenameNamespace(ctx, request)
	if err == nil {
		n.changed(ctx, &persistence.GetNamespaceRequest{Name: request.NewName})
	}
	return err
}

// DeleteNamespace implements [persistence.MetadataManager].
func (n watchedNamespaces) DeleteNamespace(ctx context.Context, request *persistence.DeleteNamespaceRequest) error {
	err := n.MetadataManager.DeleteNamespace(ctx, request)
	if err == nil {
		n.watch.tell(deleted(request.ID))
	}
	return err
}

// DeleteNamespaceByName implements [persistence.MetadataManager].
func (n watchedNamespaces) DeleteNamespaceByName(ctx context.Context, request *persistence.DeleteNamespaceByNameRequest) error {
	known, err := n.GetNamespace(ctx, &persistence.GetNamespaceRequest{Name: request.Name})
	var gone *serviceerror.NamespaceNotFound
	if err != nil && !errors.As(err, &gone) {
		return err
	}
	err = n.MetadataManager.DeleteNamespaceByName(ctx, request)
	if err == nil && known != nil {
		n.watch.tell(deleted(known.Namespace.GetInfo().GetId()))
	}
	return err
}
