package board

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/timeline"
	"example.com/coffee/internal/hostname"
	"example.com/coffee/internal/httpserver"
)

//go:embed assets
var assets embed.FS

var page = template.Must(template.ParseFS(assets, "assets/board.html"))

const (
	// mostBody is the largest size of a request's body, in bytes.
	mostBody = 4 << 10
	// writeTimeout is how long a page may take to receive a message.
	writeTimeout = 10 * time.Second
	// beat is how often a page is sent something, even if nothing happens.
	beat = 15 * time.Second
)

// policy lets the page load from this server and nowhere else. The page has no
// inline script or style.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Server returns an HTTP server for the board. The caller serves it on the listener
// with this address, and shuts it down.
func (b *Board) Server(listener net.Addr) *http.Server {
	ctx, cancel := context.WithCancel(context.Background())
	ip, _, _ := net.SplitHostPort(listener.String()) // one without a port is no loopback address
	server := httpserver.New(b.Handler(ip))          // the stream of news sets its own deadline
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	server.RegisterOnShutdown(cancel) // the streams end
	return server
}

// Handler returns the board's HTTP handler, without a server, for a listener on an IP
// address. On a loopback address it answers as localhost, under any IP address, and under
// the names in [Options].
func (b *Board) Handler(ip string) http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // it is embedded
	}
	mux.HandleFunc("GET /{$}", b.showPage)
	mux.Handle("GET /board.css", http.FileServerFS(files))
	mux.Handle("GET /board.js", http.FileServerFS(files))
	mux.Handle("GET /favicon.svg", http.FileServerFS(files))
	mux.HandleFunc("GET /news", b.stream)
	mux.HandleFunc("GET /timeline.svg", b.drawTimeline)
	mux.HandleFunc("POST /order", b.place)
	mux.HandleFunc("POST /cancel", b.cancel)
	protected := hostname.Guard(ip, b.options.AllowedHosts, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		protected.ServeHTTP(w, r)
	})
}

func (b *Board) showPage(w http.ResponseWriter, r *http.Request) {
	type item struct {
		Drink   coffee.Drink
		S, M, L coffee.Cents
	}
	var menu []item
	for _, drink := range coffee.Menu() {
		price := func(size coffee.Size) coffee.Cents {
			return coffee.StandardPricing{}.Price(coffee.OrderRequest{Drink: drink, Size: size}, time.Now())
		}
		menu = append(menu, item{drink, price(coffee.SizeS), price(coffee.SizeM), price(coffee.SizeL)})
	}
	ui := ""
	if b.options.UIURL != "" {
		ui = b.options.UIURL + "/namespaces/" + url.PathEscape(b.options.Namespace) + "/workflows"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, map[string]any{"Menu": menu, "UI": ui, "WorkflowID": coffee.WorkflowID("")}); err != nil {
		panic(http.ErrAbortHandler) // the page is cut off
	}
}

// stream sends the news to one page, as server-sent events.
func (b *Board) stream(w http.ResponseWriter, r *http.Request) {
	viewer, err := b.join()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer b.leave(viewer)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false // the page is closed
		}
		return control.Flush() == nil
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for ok := send("retry: 1000\n\n"); ok; {
		select {
		case <-r.Context().Done():
			return
		case data, open := <-viewer:
			ok = open && send("data: %s\n\n", data)
		case <-ticker.C:
			ok = send(": still here\n\n")
		}
	}
}

func (b *Board) drawTimeline(w http.ResponseWriter, r *http.Request) {
	history, err := b.options.Orders.History(r.Context(), r.FormValue("id"))
	if err != nil {
		b.failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	// The picture has its style inline, and no script.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	if err := timeline.New(history).WriteSVG(w); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (b *Board) place(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, "the form cannot be read")
		return
	}
	request := coffee.OrderRequest{OrderID: r.PostForm.Get("order_id"), Drink: coffee.Drink(r.PostForm.Get("drink")), Size: coffee.Size(r.PostForm.Get("size"))}
	if request.OrderID == "" {
		request.OrderID = coffee.NewOrderID()
	}
	placed, err := b.options.Orders.Place(r.Context(), request)
	if err != nil {
		b.failWith(w, err)
		return
	}
	b.hurry()
	b.answer(w, r, map[string]any{"id": placed.Order.OrderID, "joined": placed.Joined})
}

func (b *Board) cancel(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, "the form cannot be read")
		return
	}
	id := r.PostForm.Get("id")
	if id == "" {
		fail(w, http.StatusBadRequest, "which order?")
		return
	}
	if err := b.options.Orders.Cancel(r.Context(), id, "at the board"); err != nil {
		b.failWith(w, err)
		return
	}
	b.hurry()
	b.answer(w, r, map[string]any{"id": id})
}

// answer sends JSON to the page's script, and redirects a form without script to
// the page.
func (b *Board) answer(w http.ResponseWriter, r *http.Request, data any) {
	if r.Header.Get("Accept") != "application/json" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(data); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (b *Board) failWith(w http.ResponseWriter, err error) {
	var invalid *coffee.InvalidOrderError
	var conflict *coffee.ConflictError
	status := http.StatusServiceUnavailable
	switch {
	case errors.As(err, &invalid):
		status = http.StatusBadRequest
	case errors.As(err, &conflict), errors.Is(err, coffee.ErrEnded):
		status = http.StatusConflict
	case errors.Is(err, coffee.ErrNotFound):
		status = http.StatusNotFound
	default:
		fail(w, status, b.explain(err))
		return
	}
	fail(w, status, err.Error())
}

func fail(w http.ResponseWriter, status int, problem string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": problem}) // the page may be closed
}
