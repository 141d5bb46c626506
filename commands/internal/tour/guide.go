package tour

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/wordwrap"
	"example.com/coffee/internal/child"
	"example.com/coffee/internal/release"
	"example.com/coffee/internal/sqlitefile"
)

// guide leads through one chapter. Once something has gone wrong its methods do
// nothing, so a chapter reads as a list of what happens, and checks the error once.
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
	said  time.Time // when there was the last word
	err   error
}

// errQuit means that the person has had enough.
var errQuit = errors.New("the tour was left")

// ask puts a question to the person, and then answers it.
func (g *guide) ask(question, answer string) {
	g.say("? %s", question)
	g.pause()
	g.say("%s", answer)
}

// expect ends the tour if something is not as the tour says.
func (g *guide) expect(ok bool, format string, args ...any) {
	if g.err == nil && !ok {
		g.err = fmt.Errorf("this is not as it should be: %s", fmt.Sprintf(format, args...))
	}
}

// patience is how long the tour waits for something that must happen.
const patience = 40 * time.Second

// until waits until a condition holds.
func (g *guide) until(what string, holds func() bool) {
	began, told := time.Now(), false
	for g.err == nil && !holds() {
		if time.Since(began) > patience {
			g.err = fmt.Errorf("it took too long until %s", what)
		}
		if time.Since(g.said) > stillness && !told {
			told = true
			g.waiting(what)
		}
		g.sleep(50 * time.Millisecond)
	}
}

func (g *guide) sleep(d time.Duration) {
	if g.err != nil {
		return
	}
	select {
	case <-time.After(d):
	case <-g.ctx.Done():
		g.err = g.ctx.Err()
	}
}

// code shows a function of the releases.
func (g *guide) code(function string) {
	if g.err != nil {
		return
	}
	_, body, found := strings.Cut(release.Source, "\nfunc "+function+"(")
	body, _, ended := strings.Cut(body, "\n}\n")
	if g.expect(found && ended, "there is no function %s", function); g.err == nil {
		g.print("")
		head, body, _ := strings.Cut(body, ") (") // which do not fit on one line
		g.show("func " + function + "(" + head + ") (\n    " + strings.ReplaceAll(body, "\t", "    ") + "\n}")
	}
}

// said is what a command printed.
type said struct {
	code           int
	stdout, stderr string
}

// coffee shows a command, runs it, and shows what it prints.
func (g *guide) coffee(args ...string) said {
	g.print("")
	s := g.quietly(args...)
	if g.err != nil {
		return s
	}
	g.showSaid(s)
	return s
}

func (g *guide) showSaid(s said) {
	printed := s.stdout + s.stderr
	if s.code != 0 {
		printed += fmt.Sprintf("(exit code %d)\n", s.code)
	}
	g.show(printed)
}

// replayOn shows coffee replay of another release, which the tour runs in this process.
func (g *guide) replayOn(next release.Release, name string) said {
	if g.err != nil {
		return said{}
	}
	g.print("", "$ coffee replay    # of the "+name+" release")
	var stdout, stderr bytes.Buffer
	s := said{code: g.Replay(g.ctx, next, g.address, &stdout, &stderr)}
	if g.err = g.ctx.Err(); g.err != nil {
		return s
	}
	s.stdout, s.stderr = stdout.String(), stderr.String()
	g.showSaid(s)
	return s
}

// quietly shows a command and runs it.
func (g *guide) quietly(args ...string) (s said) {
	if g.err != nil {
		return s
	}
	shown := make([]string, len(args))
	for i, arg := range args {
		if shown[i] = arg; strings.Contains(arg, " ") { // as one has to type it
			shown[i] = "'" + arg + "'"
		}
	}
	g.print(commandLine("coffee " + strings.Join(shown, " "))...)
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	cmd, err := g.command(ctx, args...)
	if err != nil {
		g.err = err
		return s
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// On Linux a child that must not outlive its parent is tied to the thread that
	// started it.
	ended := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- cmd.Run()
	}()
	select {
	case err = <-ended:
	case <-time.After(stillness):
		g.waiting("this command ends")
		err = <-ended
	}
	if g.ctx.Err() != nil {
		g.err = g.ctx.Err()
		return s
	}
	if ctx.Err() != nil {
		g.err = fmt.Errorf("coffee %s took longer than %v", args[0], patience)
		return s
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.err = err
		return s
	}
	return said{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// command returns this program, to be run with other arguments until the context ends.
func (g *guide) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, executable)
	cmd.Args = append([]string{"coffee"}, args...)
	cmd.Env = g.env
	cmd.SysProcAttr = child.Attributes()
	return cmd, nil
}

// process is a server or a worker in the background.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // its file
	read int    // how much of the log was shown
	done chan struct{}
	stop context.CancelFunc // of a worker in this process; nil otherwise
}

// begin makes a process that has not started yet, and the file of its log; nil after an
// error.
func (g *guide) begin(name string) (p *process, log *os.File) {
	p = &process{name: name, done: make(chan struct{})}
	if g.err == nil {
		p.log = filepath.Join(g.dir, fmt.Sprintf("%d.log", len(g.others)))
		g.others = append(g.others, p)
		log, g.err = os.Create(p.log)
	}
	if g.err != nil {
		close(p.done)
	}
	return p, log
}

// workOn starts a worker of another release, in this process: the program itself has no
// such release. It returns when the worker polls.
func (g *guide) workOn(next release.Release, name string) *process {
	ledger := ""
	if g.err == nil {
		ledger, g.err = g.ledgerFile()
	}
	p, log := g.begin("worker")
	if g.err != nil {
		return p
	}
	g.print("", "$ coffee worker &    # of the "+name+" release")
	ctx, cancel := context.WithCancel(g.ctx)
	p.stop = cancel
	go func() {
		defer close(p.done)
		defer log.Close()
		if err := g.Work(ctx, next, g.address, ledger, log); err != nil {
			fmt.Fprintln(log, err)
		}
	}()
	g.untilWorks(p)
	return p
}

// start starts a process in the background.
func (g *guide) start(name string, args ...string) *process {
	p, log := g.begin(name)
	if g.err != nil {
		return p
	}
	var err error
	p.cmd, err = g.command(g.ctx, args...)
	if err != nil {
		g.err = err
		close(p.done)
		return p
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	started := make(chan error)
	go func() {
		defer close(p.done)
		defer log.Close()
		runtime.LockOSThread() // see quietly
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it may be killed
		}
	}()
	if g.err = <-started; g.err != nil {
		p.cmd = nil
	}
	return p
}

// text returns what a process has printed so far.
func (p *process) text() string {
	text, _ := os.ReadFile(p.log) // without it, what is waited for does not come
	return string(text)
}

// kill kills a process as kill -9 does, and waits for its end.
func (g *guide) kill(p *process) {
	if g.err != nil {
		return
	}
	g.print("", fmt.Sprintf("$ kill -9 %d    # the %s", p.cmd.Process.Pid, p.name))
	g.end(p)
}

func (g *guide) end(p *process) {
	switch {
	case p.cmd != nil:
		_ = p.cmd.Process.Kill() // it may have ended
	case p.stop != nil:
		p.stop()
	}
	<-p.done
}

// startServer starts a server, or starts it again on the same port and database.
func (g *guide) startServer(flags ...string) {
	port := "0"
	if g.err == nil && g.address != "" {
		port = g.address[strings.LastIndex(g.address, ":")+1:]
	}
	g.announce("server", flags)
	g.server = g.start("server", slices.Concat([]string{"server", "--headless", "--port", port, "--log-format", "text"}, flags)...)
	g.until("the server is ready", func() bool { return strings.Contains(g.server.text(), "Database") || g.ended(g.server) })
	if g.err != nil || g.address != "" {
		return
	}
	for line := range strings.Lines(g.server.text()) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "gRPC" {
			g.address = fields[1]
		}
	}
	if g.address == "" { // or the tour would go to the user's own server
		g.err = fmt.Errorf("the server does not say where it is:\n%s", g.server.text())
		return
	}
	g.env = append(g.env, "TEMPORAL_ADDRESS="+g.address)
	g.print("  It listens on a free port. To type a command of this chapter yourself, say",
		"  so in another terminal:", "  $ export TEMPORAL_ADDRESS="+g.address, "  $ export XDG_DATA_HOME="+g.dir)
	if g.temporal, g.err = g.Connect(g.ctx, g.address); g.err == nil {
		g.orders = desk.NewClient(g.temporal, client.DefaultNamespace)
	}
}

// startWorker starts a worker. Its flags are shown; so is, later, what it says.
func (g *guide) startWorker(flags ...string) *process {
	g.announce("worker", flags)
	p := g.start("worker", append([]string{"worker", "--log-format", "text"}, flags...)...)
	g.untilWorks(p)
	return p
}

func (g *guide) untilWorks(p *process) {
	g.until("the worker is ready", func() bool { return strings.Contains(p.text(), "worker started") || g.ended(p) })
	p.read = len(p.text())
}

func (g *guide) announce(command string, flags []string) {
	if g.err == nil {
		line := strings.Join(append([]string{"coffee", command}, flags...), " ") + " &"
		g.print(append([]string{""}, commandLine(line)...)...)
	}
}

// commandLine returns a command to be copied, over several lines if it is long.
func commandLine(command string) []string {
	return strings.Split(strings.Join(wordwrap.Lines("$ "+command, columns-6), " \\\n    "), "\n")
}

// ended ends the tour if a process has ended by itself.
func (g *guide) ended(p *process) bool {
	select {
	case <-p.done:
		if g.err == nil {
			g.err = fmt.Errorf("the %s ended by itself:\n%s", p.name, p.text())
		}
		return true
	default:
		return false
	}
}

// mostShown is how much of a line of a log is shown, in characters: it may have a
// stack trace in it.
const mostShown = 150

// story shows what a process has said since the last time.
func (g *guide) story(p *process) {
	if g.err != nil {
		return
	}
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

// ledger shows the rows about an order, and returns their kinds.
func (g *guide) ledger(orderID string) (kinds []string) {
	if g.err != nil {
		return nil
	}
	kinds, g.err = g.rows(orderID)
	return kinds
}

// ledgerFile returns the file of the chapter's ledger.
func (g *guide) ledgerFile() (string, error) {
	files, err := filepath.Glob(filepath.Join(g.dir, "coffee", "ledger-*.db"))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("there are %d ledgers", len(files))
	}
	if err != nil {
		return "", err
	}
	return files[0], nil
}

func (g *guide) rows(orderID string) (kinds []string, err error) {
	file, err := g.ledgerFile()
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqlitefile.DSN(file, "ro"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(g.ctx, `SELECT kind, amount_cents, recorded_at FROM ledger_entries WHERE order_id = $1 ORDER BY recorded_at`, orderID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lines := []string{"", "The ledger's rows about order " + orderID + ":"}
	for rows.Next() {
		var kind, at string
		var amount coffee.Cents
		if err := rows.Scan(&kind, &amount, &at); err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("  %-8s%8s  %s", kind, amount, at))
		kinds = append(kinds, kind)
	}
	if len(kinds) == 0 {
		lines = append(lines, "  none")
	}
	g.print(lines...)
	return kinds, rows.Err()
}

// view returns an order as the server knows it.
func (g *guide) view(orderID string) (view desk.OrderView) {
	if g.err == nil {
		view, g.err = g.orders.Describe(g.ctx, orderID)
	}
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
		g.end(p)
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
