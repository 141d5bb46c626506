package board

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// fakeOrders is a fake server whose orders the test sets.
type fakeOrders struct {
	mu    sync.Mutex
	views []desk.OrderView
	err   error
	waits desk.Waiting
	lists int
	// outcomes are what a list does not say of orders that have ended, by their ids.
	outcomes  map[string]coffee.OrderStatus
	completed int
	placed    []coffee.OrderRequest
	cancelled []string
}

func (f *fakeOrders) Place(_ context.Context, request coffee.OrderRequest) (coffee.Placed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	request, err := request.Normalize()
	if err == nil {
		err = f.err
	}
	if err != nil {
		return coffee.Placed{}, err
	}
	f.placed = append(f.placed, request)
	return coffee.Placed{Order: request}, nil
}

func (f *fakeOrders) Cancel(_ context.Context, id, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == "nobody" {
		return coffee.ErrNotFound
	}
	f.cancelled = append(f.cancelled, id)
	return f.err
}

func (f *fakeOrders) List(_ context.Context, options desk.ListOptions) ([]desk.OrderView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if !options.Brief {
		return nil, errors.New("not a brief list")
	}
	views := f.selected(options)
	return views[:min(len(views), options.Limit)], f.err
}

func (f *fakeOrders) selected(options desk.ListOptions) (views []desk.OrderView) {
	for _, view := range f.views {
		if options.Over != (view.Status == coffee.StatusRunning) {
			views = append(views, view)
		}
	}
	return views
}

func (f *fakeOrders) Count(_ context.Context, options desk.ListOptions) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.selected(options)), f.err
}

// AddDetails reports that every order is brewing, or how it ended.
func (f *fakeOrders) AddDetails(_ context.Context, views []desk.OrderView) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range views {
		f.completed++
		if status, ok := f.outcomes[views[i].OrderID]; ok {
			views[i].Status = status
			continue
		}
		views[i].Stage, views[i].BrewAttempts = coffee.StageBrewing, 1
	}
	return f.err
}

func (f *fakeOrders) History(_ context.Context, id string) (desk.History, error) {
	if id == "nobody" {
		return desk.History{}, coffee.ErrNotFound
	}
	return desk.History{OrderID: id, ReadAt: time.Now()}, nil
}

func (f *fakeOrders) Waiting(context.Context, string) (desk.Waiting, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waits, nil
}

func (f *fakeOrders) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func running(id string, age time.Duration) desk.OrderView {
	return desk.OrderView{RunID: "run-" + id, OrderState: coffee.OrderState{OrderID: id, Drink: "latte", Size: "M", AmountCents: 525, Stage: coffee.StageAccepted},
		Status: coffee.StatusRunning, StartedAt: time.Now().Add(-age)}
}

func ended(view desk.OrderView, status coffee.OrderStatus) desk.OrderView {
	view.Status, view.Stage, view.EndedAt = status, coffee.StageDone, time.Now()
	return view
}

// next returns the next news that a page receives.
func next(t *testing.T, p *page) (n news) {
	t.Helper()
	select {
	case <-p.more:
	case <-time.After(time.Minute):
		t.Fatal("the page hears nothing")
	}
	if err := json.Unmarshal(p.next(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// open opens a page of a board that nobody looked at, and returns the first news: the board
// asks the orders after that.
func open(t *testing.T, b *Board, orders *fakeOrders) (*page, news) {
	t.Helper()
	orders.mu.Lock()
	defer orders.mu.Unlock()
	viewer, err := b.join()
	if err != nil {
		t.Fatal(err)
	}
	return viewer, next(t, viewer)
}

func run(t *testing.T, orders *fakeOrders) *Board {
	b := New(Options{Orders: orders, Explain: func(err error) string { return "explained: " + err.Error() }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := &fakeOrders{views: []desk.OrderView{running("1", time.Second)}}
		b := run(t, orders)
		time.Sleep(time.Minute)
		if orders.lists != 0 {
			t.Fatalf("the server was asked %d times, and nobody looked", orders.lists)
		}
		viewer, n := open(t, b, orders)
		if n.Known || !n.All || len(n.Orders) != 0 || len(n.Ended) != window {
			t.Errorf("the first news are %+v", n)
		}
		n = next(t, viewer)
		if !n.Known || n.All || len(n.Orders) != 1 || n.Orders[0].Stage != coffee.StageBrewing || n.Orders[0].AmountCents != 525 || n.Problem != "" || n.Diagnosis != "" {
			t.Errorf("then there are %+v", n)
		}
		if n := next(t, viewer); len(n.Orders) != 0 {
			t.Errorf("nothing has changed, but: %+v", n)
		}
		orders.set(func() { orders.views[0] = ended(orders.views[0], coffee.StatusCompleted) })
		n = next(t, viewer)
		if len(n.Orders) != 1 || n.Orders[0].Status != coffee.StatusCompleted || n.Orders[0].EndedAt.IsZero() || n.LastMinute[coffee.StatusCompleted] != 1 || n.Ended[window-1] != 1 {
			t.Errorf("it has ended: %+v", n)
		}
		// It is counted once, and for a minute.
		if n := next(t, viewer); n.LastMinute[coffee.StatusCompleted] != 1 {
			t.Errorf("it is counted %d times", n.LastMinute[coffee.StatusCompleted])
		}
		for range 61 * 4 {
			n = next(t, viewer)
		}
		if n.LastMinute[coffee.StatusCompleted] != 0 {
			t.Errorf("after a minute it is still counted: %+v", n)
		}

		// The server goes away, and comes back.
		orders.set(func() { orders.err = errors.New("gone") })
		if n := next(t, viewer); n.Known || n.Problem != "explained: gone" || n.Diagnosis != "server_away" {
			t.Errorf("without a server: %+v", n)
		}
		orders.set(func() {
			orders.err, orders.waits.Diagnosis = nil, desk.DiagnosisNoWorker
			orders.views = []desk.OrderView{running("2", time.Minute)}
		})
		if n := next(t, viewer); n.Problem != "" || n.Diagnosis != "reconnecting" || len(n.Gone) != 1 || n.Gone[0] != "1" || len(n.Orders) != 1 {
			t.Errorf("with a server again: %+v", n)
		}
		// A page that joins later gets everything at once.
		other, err := b.join()
		if err != nil {
			t.Fatal(err)
		}
		if n := next(t, other); !n.Known || !n.All || len(n.Orders) != 1 || n.Diagnosis != "reconnecting" {
			t.Errorf("the other page hears %+v", n)
		}
		viewer.leave()
		other.leave()
	})
}

// TestCounters: orders are counted even if there are too many to show.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := &fakeOrders{}
		for i := range 250 {
			status := coffee.StatusCompleted
			if i%5 == 0 {
				status = coffee.StatusCancelled
			}
			orders.views = append(orders.views, ended(running(fmt.Sprint(i), time.Second), status))
		}
		b := run(t, orders)
		viewer, _ := open(t, b, orders)
		for range 3 {
			n := next(t, viewer)
			if n.LastMinute[coffee.StatusCompleted] != 200 || n.LastMinute[coffee.StatusCancelled] != 50 {
				t.Errorf("they are counted as %v", n.LastMinute)
			}
			if len(n.Orders) != mostEnded && len(n.Orders) != 0 {
				t.Errorf("%d of them are shown", len(n.Orders))
			}
		}
		viewer.leave()
	})
}

// TestMany: however many orders run, those that end are seen, and the totals are true.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := &fakeOrders{waits: desk.Waiting{Diagnosis: desk.DiagnosisBusy}}
		for i := range 2000 {
			orders.views = append(orders.views, running(fmt.Sprint(i), time.Minute))
		}
		b := run(t, orders)
		viewer, _ := open(t, b, orders)
		defer viewer.leave()
		if n := next(t, viewer); n.Running != 2000 || len(n.Orders) != mostRunning || n.Over != 0 || n.Diagnosis != "busy" || n.Waiting != "all workers are busy; it goes on when one has room" {
			t.Errorf("%d run, %d of them shown; %d are over; %s, %s", n.Running, len(n.Orders), n.Over, n.Diagnosis, n.Waiting)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		orders.set(func() {
			for i := range 888 {
				orders.views[1999-i] = ended(orders.views[1999-i], coffee.StatusCompleted)
			}
		})
		var n news
		for range 8 { // some of it was said before
			n = next(t, viewer)
		}
		if n.Running != 1112 || n.Over != 888 || n.LastMinute[coffee.StatusCompleted] != mostCounted {
			t.Errorf("%d run, %d are over, %v in the last minute", n.Running, n.Over, n.LastMinute)
		}
	})
}

// TestReached: of an order that was cancelled or failed, the last step that it was seen at
// is known, and of one that was seen only then, none.
func TestReached(t *testing.T) {
	at := func(stage coffee.Stage) desk.OrderView { v := running("1", time.Second); v.Stage = stage; return v }
	cancelled := ended(at(coffee.StageDone), coffee.StatusCancelled)
	var before known
	for _, step := range []struct {
		view desk.OrderView
		want coffee.Stage
	}{{at(coffee.StageAccepted), ""}, {at(coffee.StageBrewing), coffee.StageBrewing}, {at(coffee.StageRefunding), coffee.StageBrewing}, {cancelled, coffee.StageBrewing}, {cancelled, coffee.StageBrewing}} {
		o := toOrder(step.view, before, true, time.Now())
		if o.Reached != step.want {
			t.Errorf("%s: it has reached %q, want %q", step.view.Stage, o.Reached, step.want)
		}
		before = o
	}
	if o := toOrder(cancelled, known{}, true, time.Now()); o.Reached != "" {
		t.Errorf("it has reached %q", o.Reached)
	}
}

// TestOutcomes: on a server whose lists do not say how an order ended, each is looked up
// once when it has ended, even if that says nothing, and once more when it has ended anew.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := &fakeOrders{outcomes: map[string]coffee.OrderStatus{}}
		for i := range 250 {
			orders.views = append(orders.views, running(fmt.Sprint(i), time.Second))
		}
		b := run(t, orders)
		viewer, _ := open(t, b, orders)
		defer viewer.leave()
		shown := map[string]coffee.OrderStatus{}
		look := func() (counted map[coffee.OrderStatus]int) {
			n := next(t, viewer)
			for _, o := range n.Orders {
				shown[o.OrderID] = o.Status
			}
			for _, id := range n.Gone {
				delete(shown, id)
			}
			return n.LastMinute
		}
		look() // all run
		end := func(status coffee.OrderStatus) {
			orders.set(func() {
				for i, view := range orders.views {
					orders.outcomes[view.OrderID] = status
					orders.views[i] = ended(view, "")
				}
				orders.completed = 0
			})
		}
		for _, want := range []coffee.OrderStatus{coffee.StatusCompleted, coffee.StatusFailed, ""} {
			time.Sleep(2 * time.Second)
			synctest.Wait() // for a look that is due now: it would see half of it
			end(want)
			var counted map[coffee.OrderStatus]int
			for range 40 { // some of it was said before
				counted = look()
			}
			if counted[want] < 250 || counted[coffee.StatusRunning] != 0 {
				t.Errorf("they are counted as %v", counted)
			}
			for id, status := range shown {
				if status != want {
					t.Errorf("order %s is shown as %q, and not %s", id, status, want)
				}
			}
			if len(shown) != mostEnded || orders.completed != 250 {
				t.Errorf("%d are shown, and %d were looked up", len(shown), orders.completed)
			}
		}
	})
}

// TestOneWatcher: a hundred pages cause no more requests to the server than one,
// and each order is looked up in its turn.
func TestOneWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := &fakeOrders{}
		for i := range 500 {
			orders.views = append(orders.views, running(fmt.Sprint(i), time.Second))
		}
		b := run(t, orders)
		for range 100 {
			viewer, err := b.join()
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer viewer.leave()
				for {
					select {
					case <-viewer.more:
						viewer.next()
					case <-t.Context().Done():
						return
					}
				}
			}()
		}
		time.Sleep(10 * time.Second)
		orders.set(func() {
			if most := 2*int(10*time.Second/shortestPause) + 4; orders.lists > most {
				t.Errorf("the server was asked %d times in ten seconds", orders.lists)
			}
			if most := orders.lists / 2 * mostLooks; orders.completed > most || orders.completed < 1000 {
				t.Errorf("%d orders were looked at by themselves", orders.completed)
			}
		})
		b.mu.Lock()
		for id, o := range b.known {
			if o.Stage != coffee.StageBrewing || time.Since(o.looked) > 5*time.Second {
				t.Errorf("order %s was last looked at %v ago", id, time.Since(o.looked))
			}
		}
		b.mu.Unlock()
	})
}

// TestSlowPage: a page that does not keep up skips news, and is told everything again.
func TestSlowPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := &fakeOrders{views: []desk.OrderView{running("1", 0), running("2", 0)}}
		b := run(t, orders)
		slow, err := b.join()
		if err != nil {
			t.Fatal(err)
		}
		defer slow.leave()
		time.Sleep(time.Minute)
		next(t, slow)
		for _, view := range []desk.OrderView{running("3", 0), running("4", 0)} {
			orders.set(func() { orders.views = append(orders.views[1:], view) })
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		n := next(t, slow)
		if !n.All || len(n.Orders) != 2 || n.Orders[0].OrderID < "3" || n.Orders[1].OrderID < "3" {
			t.Errorf("when two orders have taken the place of others, it hears %+v", n)
		}
	})
}

func serve(t *testing.T, orders Orders) *httptest.Server {
	b := New(Options{Orders: orders, UIURL: "http://127.0.0.1:8233", Namespace: "a b"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	server := httptest.NewUnstartedServer(nil)
	server.Config = b.Server(server.Listener.Addr())
	server.Start()
	t.Cleanup(func() { server.Close(); cancel(); <-done })
	return server
}

type reply struct {
	*http.Response
	body string
}

func ask(t *testing.T, method, address string, form url.Values, headers map[string]string) reply {
	t.Helper()
	request, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Header.Set("Accept", "application/json")
	for name, value := range headers {
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response, string(body)}
}

func TestPlaceAndCancel(t *testing.T) {
	orders := &fakeOrders{}
	server := serve(t, orders)
	for _, c := range []struct {
		path   string
		form   url.Values
		status int
		want   string
	}{
		{"/order", url.Values{"drink": {"latte"}, "size": {"M"}, "order_id": {"123"}}, 200, `"id":"123"`},
		{"/order", url.Values{"drink": {"latte"}, "size": {"M"}}, 200, `"id":"`},
		{"/order", url.Values{"drink": {"<b>tea</b>"}, "size": {"M"}}, 400, "no such drink"},
		{"/order", url.Values{"drink": {"latte"}, "size": {"XXL"}}, 400, "size"},
		{"/order", url.Values{"drink": {"latte"}, "size": {"M"}, "order_id": {"a b\n"}}, 400, "bad order id"},
		{"/order", url.Values{"drink": {strings.Repeat("x", mostBody)}}, 400, "cannot be read"},
		{"/cancel", url.Values{"id": {"123"}}, 200, `"id":"123"`},
		{"/cancel", url.Values{"id": {"nobody"}}, 404, "no such order"},
		{"/cancel", url.Values{}, 400, "which order"},
	} {
		if got := ask(t, "POST", server.URL+c.path, c.form, nil); got.StatusCode != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %v: %d %s", c.path, c.form, got.StatusCode, got.body)
		}
	}
	if len(orders.placed) != 2 || len(orders.cancelled) != 1 {
		t.Errorf("placed %v, cancelled %v", orders.placed, orders.cancelled)
	}
	// Without JavaScript the form leads back to the page.
	if got := ask(t, "POST", server.URL+"/order", url.Values{"drink": {"latte"}, "size": {"S"}}, map[string]string{"Accept": "text/html"}); got.StatusCode != 303 || got.Header.Get("Location") != "/" {
		t.Errorf("a form gets %d %s", got.StatusCode, got.Header)
	}
	for err, status := range map[error]int{
		&coffee.ConflictError{OrderID: "1"}:                    409,
		coffee.ErrEnded:                                        409,
		serviceerror.NewUnavailable("the server is not there"): 503,
	} {
		orders.set(func() { orders.err = err })
		if got := ask(t, "POST", server.URL+"/order", url.Values{"drink": {"latte"}, "size": {"M"}}, nil); got.StatusCode != status || !strings.Contains(got.body, "error") {
			t.Errorf("%v: %d %s", err, got.StatusCode, got.body)
		}
	}
}

// TestNobodyElse: a page of another site or a request under another name can do
// nothing, and a GET changes nothing.
func TestNobodyElse(t *testing.T) {
	orders := &fakeOrders{}
	server := serve(t, orders)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	order := url.Values{"drink": {"latte"}, "size": {"M"}}
	for name, c := range map[string]struct {
		method, path string
		headers      map[string]string
		status       int
	}{
		"another name":           {"POST", "/order", map[string]string{"Host": "evil.example.com"}, 403},
		"another name and port":  {"GET", "/", map[string]string{"Host": fmt.Sprintf("evil.example.com:%d", port)}, 403},
		"a forwarded port":       {"GET", "/", map[string]string{"Host": "localhost:1"}, 200},
		"the news elsewhere":     {"GET", "/news", map[string]string{"Host": "evil.example.com"}, 403},
		"localhost":              {"GET", "/", map[string]string{"Host": fmt.Sprintf("localhost:%d", port)}, 200},
		"another origin":         {"POST", "/order", map[string]string{"Origin": "http://evil.example.com"}, 403},
		"another site":           {"POST", "/cancel", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a page of another port": {"POST", "/order", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"order by GET":           {"GET", "/order?drink=latte&size=M", nil, 405},
		"cancel by GET":          {"GET", "/cancel?id=1", nil, 405},
		"a file that is none":    {"GET", "/board.html", nil, 404},
		"a directory":            {"GET", "/assets/", nil, 404},
	} {
		got := ask(t, c.method, server.URL+c.path, order, c.headers)
		if got.StatusCode != c.status {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
		}
	}
	if len(orders.placed) != 0 || len(orders.cancelled) != 0 {
		t.Errorf("placed %v, cancelled %v", orders.placed, orders.cancelled)
	}
	for _, path := range []string{"/", "/board.js", "/board.css", "/timeline.svg?id=1", "/timeline.svg?id=nobody", "/nothing"} {
		got := ask(t, "GET", server.URL+path, nil, nil)
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
			if got.Header.Get(name) != want {
				t.Errorf("%s has %s: %q", path, name, got.Header.Get(name))
			}
		}
		csp := got.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script-src") && strings.Contains(csp, "unsafe") {
			t.Errorf("%s has the policy %q", path, csp)
		}
	}
}

func TestPage(t *testing.T) {
	server := serve(t, &fakeOrders{})
	got := ask(t, "GET", server.URL, nil, nil)
	for _, want := range []string{`<option value="latte" data-s="$3.75" data-m="$5.25" data-l="$6.75" selected>`, `data-ui="http://127.0.0.1:8233/namespaces/a%20b/workflows"`, `data-prefix="order-"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(got.body, "<style") || strings.Contains(got.body, "style=") || strings.Contains(got.body, "onclick") {
		t.Error("the page has script or style in it, which its policy forbids")
	}
	if picture := ask(t, "GET", server.URL+"/timeline.svg?id=%3Cb%3E", nil, nil); picture.Header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(picture.body, "Order &lt;b&gt;") {
		t.Errorf("the timeline: %s %s", picture.Header, picture.body)
	}
}

// TestStream: a page receives server-sent events until it leaves.
func TestStream(t *testing.T) {
	orders := &fakeOrders{views: []desk.OrderView{running("1", time.Second)}}
	server := serve(t, orders)
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("the stream is %s", got)
	}
	lines := bufio.NewScanner(response.Body)
	wants := []string{"retry: ", `"all":true`, `"order_id":"1"`}
	for len(wants) > 0 {
		if !lines.Scan() {
			t.Fatal("the stream ends", lines.Err())
		}
		for len(wants) > 0 && strings.Contains(lines.Text(), wants[0]) { // a line may have several
			wants = wants[1:]
		}
	}
	cancel()
}
