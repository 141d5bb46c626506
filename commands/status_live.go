package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// liveLimit is how many orders a live table counts by default, and of how many it looks up
// the details, each with a request.
const liveLimit = 200

// live is the table of orders that coffee status --watch shows on a terminal. It
// is a Bubble Tea model.
type live struct {
	orders  liveOrders
	options desk.ListOptions
	explain func(error) string
	ctx     context.Context

	width, height int
	views         []desk.OrderView
	count         int       // how many orders there are in truth
	asked         time.Time // when the open request was sent; zero if there is none
	answered      bool      // the server has answered at least once
	problem       string    // why there is no newer answer
	diagnoser     desk.Diagnoser
	waits         desk.Waiting
}

// liveOrders is the part of [desk.Client] that the table needs.
type liveOrders interface {
	List(context.Context, desk.ListOptions) ([]desk.OrderView, error)
	AddDetails(context.Context, []desk.OrderView) error
	Count(context.Context, desk.ListOptions) (int, error)
	Waiting(ctx context.Context, orderID string) (desk.Waiting, error)
}

// answer is the outcome of asking the server.
type answer struct {
	views []desk.OrderView
	count int
	waits desk.Waiting // why the oldest order does not go on
	err   error
	took  time.Duration
}

// askAgain is the message that it is time to ask the server again.
type askAgain struct{}

// repaint is the message that it is time to update the durations on the screen.
type repaint struct{}

// silence is how long the server may take to answer before the table says so.
const silence = 2 * time.Second

// runLive shows the table until the user quits or the context ends.
func runLive(ctx context.Context, out *terminal.Output, orders liveOrders, options desk.ListOptions, explain func(error) string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a request may still be in flight
	_, err := tea.NewProgram(live{ctx: ctx, orders: orders, options: options, explain: explain, width: 80, height: 24, asked: time.Now()},
		tea.WithContext(ctx), tea.WithOutput(out.Out.W), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return &exit.Error{Code: exit.Interrupted} // the usual way to leave: no message
	}
	return err
}

// Init implements [tea.Model].
func (m live) Init() tea.Cmd { return tea.Batch(m.ask, repaintSoon()) }

func repaintSoon() tea.Cmd {
	return tea.Tick(terminal.WatchEvery, func(time.Time) tea.Msg { return repaint{} })
}

func (m live) ask() tea.Msg {
	began := time.Now()
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second+time.Duration(m.options.Limit)*time.Millisecond)
	defer cancel()
	var found answer
	options := m.options
	options.Brief = true
	found.views, found.err = m.orders.List(ctx, options)
	detailed := found.views[:min(len(found.views), liveLimit)]
	if found.err == nil {
		found.err = m.orders.AddDetails(ctx, detailed)
	}
	if found.count = len(found.views); found.err == nil && found.count == m.options.Limit {
		found.count, found.err = m.orders.Count(ctx, m.options)
	}
	if id := cmp.Or(desk.OldestWaiting(detailed), desk.OldestWaiting(found.views)); found.err == nil && id != "" {
		// If the server cannot say, the orders are shown without a reason.
		found.waits, _ = m.orders.Waiting(ctx, id)
	}
	found.took = time.Since(began)
	return found
}

// Update implements [tea.Model].
func (m live) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc":
			return m, tea.Quit
		case "ctrl+c":
			return m, tea.Interrupt
		}
	case answer:
		m.asked = time.Time{}
		m.waits = m.diagnoser.Observe(time.Now(), msg.err != nil, msg.waits)
		pause := terminal.WatchEvery
		if msg.err != nil {
			m.problem = m.explain(msg.err)
		} else {
			m.views, m.count, m.problem, m.answered = msg.views, max(msg.count, len(msg.views)), "", true
			pause = max(pause, 9*msg.took) // requests take a tenth of the time, however long the list
		}
		return m, tea.Tick(pause, func(time.Time) tea.Msg { return askAgain{} })
	case askAgain:
		m.asked = time.Now()
		return m, m.ask
	case repaint:
		return m, repaintSoon()
	}
	return m, nil
}

// View implements [tea.Model].
func (m live) View() tea.View {
	view := tea.NewView(m.text(time.Now()))
	view.AltScreen = true
	view.WindowTitle = "coffee"
	return view
}

// liveColumns are the columns of the table. The last ones are left out if they do
// not fit.
var liveColumns = []struct {
	name  string
	width int
	value func(desk.OrderView) string
}{
	{"ORDER", 14, terminal.IDInTable},
	{"DRINK", 16, func(v desk.OrderView) string {
		return strings.TrimSpace(ansi.Truncate(text.Printable(string(v.Drink)), 13, "…") + " " + string(v.Size))
	}},
	{"STATUS", 34, terminal.StatusInWords},
	{"TOOK", 8, terminal.Age},
	{"PRICE", 8, func(v desk.OrderView) string {
		if v.AmountCents == 0 {
			return ""
		}
		return v.AmountCents.String()
	}},
	{"WHY", 40, func(v desk.OrderView) string {
		if v.Status == coffee.StatusRunning {
			return cmp.Or(v.Unreadable, v.WorkflowTaskFailure, v.LastFailure)
		}
		return cmp.Or(v.Unreadable, v.Failure)
	}},
}

// text is the screen: totals, the table, and what can be done.
func (m live) text(now time.Time) string {
	lines := []string{m.totals(now), ""}
	var header strings.Builder
	columns := 0
	for used := 0; columns < len(liveColumns); columns++ {
		c := liveColumns[columns]
		if used += c.width; used > m.width && columns > 0 {
			break
		}
		header.WriteString(cell(c.name, c.width))
	}
	lines = append(lines, "\x1b[1m"+strings.TrimRight(header.String(), " ")+"\x1b[0m")
	room := max(0, m.height-len(lines)-2)
	for _, view := range m.views[:min(len(m.views), room)] {
		var line strings.Builder
		for _, c := range liveColumns[:columns] {
			line.WriteString(cell(text.Printable(c.value(view)), c.width))
		}
		lines = append(lines, colourOf(view, now)+strings.TrimRight(line.String(), " ")+"\x1b[0m")
	}
	last := "q quit"
	switch waiting := now.Sub(m.asked); {
	case m.problem != "":
		last = "\x1b[31m" + text.Printable(m.problem) + "\x1b[0m"
	case !m.asked.IsZero() && waiting > silence:
		last = fmt.Sprintf("\x1b[31mthe server has not answered for %.0f s\x1b[0m; %s", waiting.Seconds(), last)
	case m.waits.Unmanned():
		last = "\x1b[31m" + m.waits.String() + "\x1b[0m; " + last
	case m.waits.Diagnosis != "":
		last = "\x1b[33m" + m.waits.String() + "\x1b[0m; " + last
	case !m.answered:
		last = "asking the server"
	case len(m.views) == 0:
		last = "no orders; " + last
	case m.count > room:
		last = fmt.Sprintf("%d more do not fit; %s", m.count-room, last)
	}
	lines = append(lines, "", last)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// totals counts the orders in each stage, or those that run if it knows the stage of a part
// of them only.
func (m live) totals(now time.Time) string {
	counts := map[string]int{}
	partly := slices.ContainsFunc(m.views[min(len(m.views), liveLimit):], func(view desk.OrderView) bool { return view.Status == coffee.StatusRunning })
	for _, view := range m.views {
		if partly && view.Status == coffee.StatusRunning {
			counts["running"]++
			continue
		}
		counts[totalOf(view, now)]++
	}
	var parts []string
	for _, name := range []string{"running", "accepted", "charging", "brewing", "retrying", "receipt", "refunding", "completed", "failed", "cancelled"} {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	title := fmt.Sprintf("%d orders", m.count)
	if m.count > len(m.views) {
		title += fmt.Sprintf("; of %d:", len(m.views))
	}
	return strings.Join(slices.Concat([]string{title}, parts), "  ")
}

func totalOf(view desk.OrderView, now time.Time) string {
	if view.Status != coffee.StatusRunning {
		return strings.ToLower(string(view.Status))
	}
	if view.NextAttemptAt.After(now) {
		return "retrying"
	}
	switch view.Stage {
	case coffee.StageSendingReceipt:
		return "receipt"
	default:
		return terminal.StagesInWords[view.Stage]
	}
}

func colourOf(view desk.OrderView, now time.Time) string {
	switch totalOf(view, now) {
	case "completed":
		return "\x1b[32m"
	case "failed":
		return "\x1b[31m"
	case "cancelled", "refunding":
		return "\x1b[35m"
	case "retrying":
		return "\x1b[33m"
	}
	return "\x1b[36m"
}

// cell fits a text into a column of the table, followed by at least one space.
func cell(s string, width int) string {
	s = ansi.Truncate(s, width-1, "…")
	return s + strings.Repeat(" ", width-ansi.StringWidth(s))
}
