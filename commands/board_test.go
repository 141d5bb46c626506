package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
)

// pictures is where screenshots are kept. It is not in the repository.
const pictures = "../artefacts"

// browser starts a headless Chromium. Without one the test is skipped; in CI it
// fails.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no Chromium")
		}
		t.Skip("there is no Chromium, so the page is not tried in a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1200, 800), chromedp.WSURLReadTimeout(patience))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	return ctx
}

// tab is a page in the browser. It must not log any problem, and must send
// requests only to the board.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func openBoard(t *testing.T, browser context.Context, address string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var problems []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch event := event.(type) {
		case *runtime.EventExceptionThrown:
			problems = append(problems, event.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			for _, arg := range event.Args {
				problems = append(problems, fmt.Sprintf("%s: %s %s", event.Type, arg.Value, arg.Description))
			}
		case *log.EventEntryAdded:
			if !strings.Contains(event.Entry.Text, "status of 409") { // a refusal that the test asks for
				problems = append(problems, event.Entry.Text+" "+event.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			if at, err := url.Parse(event.Request.URL); err != nil || at.Host != address && at.Scheme != "data" {
				problems = append(problems, "it asked "+event.Request.URL)
			}
		}
	})
	page := &tab{t, ctx}
	page.do(log.Enable(), network.Enable(), chromedp.Navigate("http://"+address+"/"))
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, problem := range problems {
			t.Errorf("the page: %s", problem)
		}
	})
	return page
}

func (p *tab) do(actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// until waits for a condition in JavaScript, which may throw until then.
func (p *tab) until(what, condition string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	var ok bool
	if err := chromedp.Run(ctx, chromedp.Poll("(() => { try { return "+condition+" } catch { return false } })()", &ok, chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		var text string
		_ = chromedp.Run(p.ctx, chromedp.Evaluate(`document.body.innerText`, &text))
		p.t.Fatalf("%s: %v; the page says:\n%s", what, err, text)
	}
}

func (p *tab) eval(expression string) (value any) {
	p.t.Helper()
	p.do(chromedp.Evaluate(expression, &value))
	return value
}

// picture saves a screenshot.
func (p *tab) picture(name string) {
	p.t.Helper()
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		p.t.Fatal(err)
	}
	var data []byte
	p.do(chromedp.CaptureScreenshot(&data))
	if err := os.WriteFile(filepath.Join(pictures, name+".png"), data, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// row returns a JavaScript expression for the row of an order.
func row(id string) string {
	quoted, _ := json.Marshal(id)
	return fmt.Sprintf(`[...document.querySelectorAll(".order")].find(r => r.querySelector(".id").textContent.split(", ")[0] === %s)`, quoted)
}

// placeInPage fills in the form and sends it.
func (p *tab) placeInPage(id string) {
	p.t.Helper()
	p.do(chromedp.SetValue("#order_id", id, chromedp.ByID), chromedp.Click("#order button", chromedp.ByQuery))
	p.until("order "+id+" is there", row(id)+" !== undefined")
}

// serveTestBoard serves a board of the shop, and returns its address.
func (s *shop) serveTestBoard() string {
	s.T.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.T.Fatal(err)
	}
	var tasks background.Tasks
	serveBoard(&app.App{}, &tasks, listener, s.conn, "http://127.0.0.1:8233", nil, nil)
	s.T.Cleanup(func() {
		if err := tasks.Stop(); err != nil {
			s.T.Error(err)
		}
	})
	return listener.Addr().String()
}

// TestBoardInABrowser does what a newcomer does.
func TestBoardInABrowser(t *testing.T) {
	t.Parallel()
	browser := browser(t)
	s := newShop(t)
	address := s.serveTestBoard()
	page := openBoard(t, browser, address)
	page.until("it is live", `document.getElementById("link").textContent === "live"`)

	// Without a worker the board says so, until one has started.
	page.placeInPage("102")
	page.until("no worker", `document.getElementById("problem").textContent.startsWith("Orders are waiting: no worker is polling")`)
	page.picture("no-worker")

	// The machine jams three times for order 102, but not for the others.
	order := func(id string, drink coffee.Drink, size coffee.Size) {
		t.Helper()
		if _, err := s.Orders.Place(t.Context(), coffee.OrderRequest{OrderID: id, Drink: drink, Size: size}); err != nil {
			t.Fatal(err)
		}
		page.until("order "+id, row(id)+` !== undefined`)
	}
	order("401", "flat-white", "L")
	order("403", "mocha", "S")
	order("404", "espresso", "S")
	second := openBoard(t, browser, address) // before the jams, which do not wait for it
	second.until("the same orders", row("404")+` !== undefined`)
	services := coffee.DefaultServiceConfig()
	services.BrewTime = 2 * time.Second
	s.startWorkerWith(coffee.WorkerOptions{Services: services})
	page.until("a worker", `document.getElementById("problem").hidden`)
	page.until("a jam", row("102")+`.textContent.includes("next attempt in")`)
	page.picture("board")
	second.until("the retry", row("102")+`.textContent.includes("brewing, attempt ")`)
	for _, p := range []*tab{page, second} {
		p.until("the order is completed", row("102")+`.classList.contains("completed")`)
	}
	if got := page.eval(row("102") + `.textContent`); !strings.Contains(got.(string), "latte (M)") || !strings.Contains(got.(string), "$5.25") {
		t.Errorf("the row says %q", got)
	}
	page.until("it folds away", row("102")+`.closest("#ended") !== null`)

	// Cancel another order, which takes as long, and look at its timeline.
	page.placeInPage("192")
	page.until("it is charged", row("192")+`.textContent.includes("brewing")`)
	page.do(chromedp.Evaluate(row("192")+`.querySelector("button").click()`, nil))
	second.until("it is cancelled", row("192")+`.classList.contains("cancelled")`)
	page.do(chromedp.Evaluate(row("192")+`.querySelectorAll("button")[1].click()`, nil))
	page.until("the timeline", `document.getElementById("dialog").open && document.getElementById("picture").naturalWidth > 0`)
	page.picture("timeline")
	if got := page.eval(`document.getElementById("ui").href`); got != "http://127.0.0.1:8233/namespaces/"+s.conn.Namespace+"/workflows/order-192" {
		t.Errorf("the link to the Web UI is %v", got)
	}
	history, err := s.Orders.History(t.Context(), "192")
	if err != nil || len(history.Events) == 0 {
		t.Fatal(history, err)
	}
	page.do(chromedp.KeyEvent(kb.Escape))
	page.until("it is closed", `!document.getElementById("dialog").open`)

	// The same id with another drink is refused with a message.
	page.do(chromedp.SetValue("#drink", "mocha", chromedp.ByID), chromedp.SetValue("#order_id", "102", chromedp.ByID), chromedp.Click("#order button", chromedp.ByQuery))
	page.until("it is refused", `document.getElementById("said").textContent.includes("order id 102 is already taken: latte (M)")`)
}

// TestBoardByKeyboard: everything can be reached and done without a mouse.
func TestBoardByKeyboard(t *testing.T) {
	t.Parallel()
	browser := browser(t)
	s := newShop(t)
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{ChargeTime: 2 * time.Second, BrewTime: 9 * time.Second, ReceiptTime: time.Millisecond}})
	page := openBoard(t, browser, s.serveTestBoard())
	page.until("it is live", `document.getElementById("link").textContent === "live"`)
	// tabTo presses the tab key until the wanted element has the focus.
	tabTo := func(what, condition string) {
		t.Helper()
		for range 30 {
			page.do(chromedp.KeyEvent(kb.Tab))
			if page.eval(`(() => { const e = document.activeElement; return `+condition+`; })()`) == true {
				return
			}
		}
		t.Fatalf("%s cannot be reached", what)
	}
	tabTo("the drink", `e.id === "drink"`)
	page.do(chromedp.KeyEvent("mocha"))
	tabTo("the size", `e.name === "size"`)
	page.do(chromedp.KeyEvent(kb.ArrowRight))
	tabTo("the id", `e.id === "order_id"`)
	page.do(chromedp.KeyEvent("keys"), chromedp.KeyEvent(kb.Enter))
	page.until("the order is there", row("keys")+`?.textContent.includes("mocha (L)")`)
	tabTo("its timeline", `e.getAttribute("aria-label") === "Timeline of order keys"`)
	page.do(chromedp.KeyEvent(kb.Enter))
	page.until("the timeline", `document.getElementById("dialog").open`)
	page.do(chromedp.KeyEvent(kb.Escape))
	page.until("it is closed", `!document.getElementById("dialog").open`)
	for range 3 { // back to where it was
		page.do(chromedp.KeyEvent(kb.Shift + kb.Tab))
	}
	tabTo("cancel", `e.getAttribute("aria-label") === "Cancel order keys"`)
	page.do(chromedp.KeyEvent(kb.Enter))
	page.until("it is cancelled", row("keys")+`.classList.contains("cancelled")`)
}

// TestBoardLooks: nothing is cut off, whether light, dark, on a phone, or with text
// twice as large. The name that a foreign client gives its drink is shown as text.
func TestBoardLooks(t *testing.T) {
	t.Parallel()
	browser := browser(t)
	s := newShop(t)
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{ChargeTime: time.Millisecond, BrewTime: 9 * time.Second, ReceiptTime: time.Millisecond}})
	page := openBoard(t, browser, s.serveTestBoard()) // before the orders, which do not wait for it
	page.until("it is live", `document.getElementById("link").textContent === "live"`)
	const evil = `<img src=x onerror="pwned=1">`
	for _, order := range []coffee.OrderRequest{{OrderID: evil, Drink: evil + coffee.Drink(strings.Repeat("long", 50)), Size: "M"}, {OrderID: "plain", Drink: "latte", Size: "L"}} {
		_, err := s.conn.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: coffee.WorkflowID(order.OrderID), TaskQueue: coffee.TaskQueue,
			Memo: map[string]any{"order": map[string]any{"drink": order.Drink, "size": order.Size}}}, coffee.WorkflowType, order)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		if _, err := s.Orders.Place(t.Context(), coffee.OrderRequest{OrderID: fmt.Sprint("many-", i), Drink: "cappuccino", Size: "S"}); err != nil {
			t.Fatal(err)
		}
	}
	page.until("the orders", `document.querySelectorAll(".order").length >= 32`)
	page.until("their stages", row("many-29")+`.textContent.includes("brewing")`)
	page.do(chromedp.Evaluate(`document.getElementById("finished").open = true`, nil))
	if got := page.eval(row(evil) + `.querySelector("strong").textContent`); !strings.HasPrefix(got.(string), evil) {
		t.Errorf("the drink is shown as %v", got)
	}
	page.do(chromedp.Evaluate(row(evil)+`.querySelectorAll("button")[1].click()`, nil))
	page.until("the timeline", `document.getElementById("picture").naturalWidth > 0`)
	page.do(chromedp.KeyEvent(kb.Escape))
	if page.eval(`window.pwned === undefined && document.querySelectorAll("main img").length === 0`) != true {
		t.Error("markup from outside was taken for markup")
	}
	page.picture("light")
	page.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	page.picture("dark")
	fits := func(what string) {
		t.Helper()
		if page.eval(`document.documentElement.scrollWidth <= window.innerWidth`) != true {
			t.Errorf("%s: the page is wider than the window", what)
		}
	}
	fits("a desktop")
	page.do(chromedp.EmulateViewport(390, 844))
	fits("a phone")
	page.picture("phone")
	page.do(chromedp.EmulateViewport(1200, 800), chromedp.Evaluate(`document.documentElement.style.fontSize = "200%"`, nil))
	fits("text at 200 %")
	page.picture("large-text")
	page.do(chromedp.EmulateViewport(640, 800))
	fits("text at 200 % in a small window")
}
