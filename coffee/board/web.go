package board

import (
	"cmp"
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

var html = template.Must(template.New("board.html").Funcs(template.FuncMap{"price": func(drink coffee.Drink, size coffee.Size) coffee.Cents {
	return coffee.StandardPricing{}.Price(coffee.OrderRequest{Drink: drink, Size: size}, time.Now())
}}).ParseFS(assets, "assets/board.html"))

const (
	// mostBody is the largest size of a request's body, in bytes.
	mostBody = 4 << 10
	// writeTimeout is how long a page may take to receive a message.
	writeTimeout = 10 * time.Second
	// beat is how often a page is sent something, even if nothing happens.
	beat = 15 * time.Second
)

// headers protect the page. The policy lets it load from this server and nowhere else; it
// has no inline script or style.
var headers = map[string]string{
	"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

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
	for _, file := range []string{"board.css", "board.js", "favicon.svg"} {
		mux.Handle("GET /"+file, http.FileServerFS(files))
	}
	mux.HandleFunc("GET /news", b.stream)
	mux.HandleFunc("GET /timeline.svg", b.drawTimeline)
	mux.HandleFunc("POST /order", b.change(b.place))
	mux.HandleFunc("POST /cancel", b.change(b.cancel))
	protected := hostname.Guard(ip, b.options.AllowedHosts, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		protected.ServeHTTP(w, r)
	})
}

func (b *Board) showPage(w http.ResponseWriter, r *http.Request) {
	ui := ""
	if b.options.UIURL != "" {
		ui = b.options.UIURL + "/namespaces/" + url.PathEscape(b.options.Namespace) + "/workflows"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := html.Execute(w, map[string]any{"Menu": coffee.Menu(), "UI": ui, "WorkflowID": coffee.WorkflowID("")}); err != nil {
		panic(http.ErrAbortHandler) // the page is cut off
	}
}

// stream sends the news to one page, as server-sent events.
func (b *Board) stream(w http.ResponseWriter, r *http.Request) {
	page, err := b.join()
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer page.leave()
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
		case <-page.more:
			ok = send("data: %s\n\n", page.next())
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

func (b *Board) place(r *http.Request) (answer any, err error) {
	request := coffee.OrderRequest{OrderID: cmp.Or(r.PostForm.Get("order_id"), coffee.NewOrderID()), Drink: coffee.Drink(r.PostForm.Get("drink")), Size: coffee.Size(r.PostForm.Get("size"))}
	placed, err := b.options.Orders.Place(r.Context(), request)
	return map[string]any{"id": placed.Order.OrderID, "joined": placed.Joined}, err
}

func (b *Board) cancel(r *http.Request) (answer any, err error) {
	id := r.PostForm.Get("id")
	if id == "" {
		return nil, &coffee.InvalidOrderError{Field: "id", Problem: "which order?"}
	}
	return map[string]any{"id": id}, b.options.Orders.Cancel(r.Context(), id, "at the board")
}

// change returns a handler that does what a form asks for. It sends JSON to the page's script,
// and redirects a form without script to the page.
func (b *Board) change(do func(*http.Request) (answer any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			fail(w, http.StatusBadRequest, "the form cannot be read")
			return
		}
		answer, err := do(r)
		if err != nil {
			b.failWith(w, err)
			return
		}
		b.hurry()
		if r.Header.Get("Accept") != "application/json" {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

func (b *Board) failWith(w http.ResponseWriter, err error) {
	var invalid *coffee.InvalidOrderError
	var conflict *coffee.ConflictError
	switch {
	case errors.As(err, &invalid):
		fail(w, http.StatusBadRequest, err.Error())
	case errors.As(err, &conflict), errors.Is(err, coffee.ErrEnded):
		fail(w, http.StatusConflict, err.Error())
	case errors.Is(err, coffee.ErrNotFound):
		fail(w, http.StatusNotFound, err.Error())
	default:
		fail(w, http.StatusServiceUnavailable, b.explain(err))
	}
}

func fail(w http.ResponseWriter, status int, problem string) {
	writeJSON(w, status, map[string]string{"error": problem})
}

func writeJSON(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(data) // the page may be closed
}
