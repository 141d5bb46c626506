package tour

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/release"
	"example.com/coffee/internal/sleep"
)

// guide leads through one chapter. A chapter reads as a list of what happens, because it
// ends at the first thing that goes wrong: see [guide.must].
type guide struct {
	Options
	ctx    context.Context
	lines  <-chan string // that the person has typed; nil if there is no person
	dir    string
	env    []string
	server *process
	others []*process
	// address is that of the server; temporal and orders are clients of it.
	address  string
	temporal client.Client
	orders   *desk.Client
	// shown is how many lines the person has not confirmed with Enter yet.
	shown int
	held  bool      // see atOnce
	said  time.Time // when there was the last word
}

// errQuit means that the person has had enough.
var errQuit = errors.New("the tour was left")

// ending is what [guide.must] panics with.
type ending struct{ err error }

// must ends the chapter if there is an error, which [guide.run] returns.
func (g *guide) must(err error) {
	if err != nil {
		panic(ending{err})
	}
}

// run runs a chapter.
func (g *guide) run(chapter func(*guide)) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case ending:
			err = r.err
		default:
			panic(r)
		}
	}()
	chapter(g)
	g.pause()
	return nil
}

// expect ends the tour if something is not as the tour says.
func (g *guide) expect(ok bool, format string, args ...any) {
	if !ok {
		g.must(fmt.Errorf("this is not as it should be: %s", fmt.Sprintf(format, args...)))
	}
}

// ask puts a question to the person, and then answers it.
func (g *guide) ask(question, answer string) {
	g.say("? %s", question)
	g.pause()
	g.say("%s", answer)
}

// patience is how long the tour waits for something that must happen.
const patience = 40 * time.Second

// until waits until a condition holds.
func (g *guide) until(what string, holds func() bool) {
	for began, told := time.Now(), false; !holds(); {
		if time.Since(began) > patience {
			g.must(fmt.Errorf("it took too long until %s", what))
		}
		if !told && time.Since(g.said) > stillness {
			told = true
			g.waiting(what)
		}
		if !sleep.For(g.ctx, 50*time.Millisecond) {
			g.must(g.ctx.Err())
		}
	}
}

// code shows a function of the releases.
func (g *guide) code(function string) {
	_, body, found := strings.Cut(release.Source, "\nfunc "+function+"(")
	body, _, ended := strings.Cut(body, "\n}\n")
	g.expect(found && ended, "there is no function %s", function)
	g.print("")
	head, body, _ := strings.Cut(body, ") (") // which do not fit on one line
	g.show("func " + function + "(" + head + ") (\n    " + strings.ReplaceAll(body, "\t", "    ") + "\n}")
}

// said is what a command printed.
type said struct {
	g              *guide
	stdout, stderr string
}

// shows ends the tour unless a command printed some texts.
func (s said) shows(texts ...string) {
	for _, text := range texts {
		s.g.expect(strings.Contains(s.stdout+s.stderr, text), "it does not say %q", text)
	}
}

// coffee shows a command, runs it, and shows what it prints. The command must succeed.
func (g *guide) coffee(args ...string) said { return g.coffeeFails(0, args...) }

// coffeeFails does the same with a command that must end with another exit code.
func (g *guide) coffeeFails(want int, args ...string) said {
	g.print("")
	code, s := g.runCommand(args...)
	return g.showSaid(s, code, want)
}

// quietly shows a command and runs it.
func (g *guide) quietly(args ...string) {
	code, s := g.runCommand(args...)
	g.expect(code == 0, "it ended with exit code %d: %s", code, s.stderr)
}

// replayOn shows coffee replay of another release, which the tour runs in this process.
func (g *guide) replayOn(want int, next release.Release, name string) said {
	g.print("", "$ coffee replay    # of the "+name+" release")
	var stdout, stderr bytes.Buffer
	code := g.Replay(g.ctx, next, g.address, &stdout, &stderr)
	g.must(g.ctx.Err())
	return g.showSaid(said{g, stdout.String(), stderr.String()}, code, want)
}

func (g *guide) showSaid(s said, code, want int) said {
	printed := s.stdout + s.stderr
	if code != 0 {
		printed += fmt.Sprintf("(exit code %d)\n", code)
	}
	g.show(printed)
	g.expect(code == want, "the exit code is %d, not %d", code, want)
	return s
}

// startServer starts a server, or starts it again on the same port and database.
func (g *guide) startServer() {
	port := "0"
	if g.address != "" {
		port = g.address[strings.LastIndex(g.address, ":")+1:]
	}
	g.announce("server")
	g.server = g.start("server", "--headless", "--port", port, "--log-format", "text")
	g.until("the server is ready", func() bool { return strings.Contains(g.server.text(), "Database") || g.ended(g.server) })
	if g.address != "" {
		return
	}
	for line := range strings.Lines(g.server.text()) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "gRPC" {
			g.address = fields[1]
		}
	}
	if g.address == "" { // or the tour would go to the user's own server
		g.must(fmt.Errorf("the server does not say where it is:\n%s", g.server.text()))
	}
	g.env = append(g.env, "TEMPORAL_ADDRESS="+g.address)
	g.print("  It listens on a free port. To type a command of this chapter yourself, say",
		"  so in another terminal:", "  $ export TEMPORAL_ADDRESS="+g.address, "  $ export XDG_DATA_HOME="+g.dir)
	var err error
	g.temporal, err = g.Connect(g.ctx, g.address)
	g.must(err)
	g.orders = desk.NewClient(g.temporal, client.DefaultNamespace)
}

// startWorker starts a worker. Its flags are shown; so is, later, what it says.
func (g *guide) startWorker(flags ...string) *process {
	g.announce("worker", flags...)
	p := g.start(append([]string{"worker", "--log-format", "text"}, flags...)...)
	g.untilWorks(p)
	return p
}

func (g *guide) untilWorks(p *process) {
	g.until("the worker is ready", func() bool { return strings.Contains(p.text(), "worker started") || g.ended(p) })
	p.read = len(p.text())
}

func (g *guide) announce(command string, flags ...string) {
	g.print("")
	g.print(commandLine(strings.Join(slices.Concat([]string{"coffee", command}, flags, []string{"&"}), " "))...)
}

// mostShown is how much of a line of a log is shown, in characters: it may have a
// stack trace in it.
const mostShown = 150

// story shows what a process has said since the last time.
func (g *guide) story(p *process) {
	text := p.text()
	shown := ""
	for line := range strings.Lines(text[min(p.read, len(text)):]) {
		if runes := []rune(strings.TrimRight(line, "\n")); len(runes) > mostShown {
			line = string(runes[:mostShown]) + "…\n"
		}
		shown += line
	}
	g.print("", "The "+p.name+"'s log:")
	g.show(shown)
	p.read = len(text)
}

// ledger shows the rows about an order, which must be one of a kind.
func (g *guide) ledger(orderID string, kind coffee.EntryKind) {
	opened, err := ledger.OpenExisting(g.ctx, g.ledgerFile())
	g.must(err)
	defer opened.Close()
	entries, err := opened.Entries(g.ctx, orderID)
	g.must(err)
	lines := []string{"", "The ledger's rows about order " + orderID + ":"}
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("  %-8s%8s  %s", e.Kind, e.Amount, e.RecordedAt.Format(time.RFC3339Nano)))
	}
	g.print(lines...)
	g.expect(len(entries) == 1 && entries[0].Kind == kind, "the ledger has %v", entries)
}

// ledgerFile returns the file of the chapter's ledger.
func (g *guide) ledgerFile() string {
	files, err := filepath.Glob(filepath.Join(g.dir, "coffee", "ledger-*.db"))
	g.must(err)
	g.expect(len(files) == 1, "there are %d ledgers", len(files))
	return files[0]
}

// view returns an order as the server knows it.
func (g *guide) view(orderID string) desk.OrderView {
	view, err := g.orders.Describe(g.ctx, orderID)
	g.must(err)
	return view
}

// untilBrewing waits until an attempt to brew an order is under way.
func (g *guide) untilBrewing(orderID string) {
	g.until("order "+orderID+" is brewing", func() bool {
		view := g.view(orderID)
		return view.Stage == coffee.StageBrewing && view.BrewAttempts > 0
	})
}

// untilOver waits until an order is over, and checks how it ended.
func (g *guide) untilOver(orderID string, status coffee.OrderStatus) {
	g.until("order "+orderID+" is over", func() bool { return g.view(orderID).Status != coffee.StatusRunning })
	got := g.view(orderID).Status
	g.expect(got == status, "order %s is %s, not %s", orderID, got, status)
}

// close ends what a chapter has started.
func (g *guide) close() {
	if g.temporal != nil {
		g.temporal.Close()
	}
	for _, p := range slices.Backward(g.others) {
		p.end()
	}
}

// readLines returns a channel with the lines of a reader, which is closed at its end.
func readLines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}
