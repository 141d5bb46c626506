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
)

// liveLimit is how many orders a live table counts by default.
const liveLimit = 200

// live is the table of orders that coffee status --watch shows on a terminal. It
// is a Bubble Tea model.
type live struct {
	orders  liveOrders
	options coffee.ListOptions
	explain func(error) string
	ctx     context.Context

	width, height int
	views         []coffee.OrderView
	asked         time.Time // when the open request was sent; zero if there is none
	answered      bool      // the server has answered at least once
	problem       string    // why there is no newer answer
	diagnoser     coffee.Diagnoser
	diagnosis     coffee.Diagnosis
}

// liveOrders is the part of [coffee.Client] that the table needs.
type liveOrders interface {
	List(context.Context, coffee.ListOptions) ([]coffee.OrderView, error)
	NoWorker(ctx context.Context, orderID string) (bool, error)
}

// answer is the outcome of asking the server.
type answer struct {
	views    []coffee.OrderView
	noWorker bool // orders wait for a worker that is not there
	err      error
	took     time.Duration
}

// askAgain is the message that it is time to ask the server again.
type askAgain struct{}

// repaint is the message that it is time to update the durations on the screen.
type repaint struct{}

const (
	// silence is how long the server may take to answer before the table says so.
	silence = 2 * time.Second
	// longestPause bounds the pause between two requests, however slow the server is.
	longestPause = 5 * time.Second
)

// runLive shows the table until the user quits or the context ends.
func runLive(ctx context.Context, out *output, orders liveOrders, options coffee.ListOptions, explain func(error) string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a request may still be in flight
	_, err := tea.NewProgram(live{ctx: ctx, orders: orders, options: options, explain: explain, width: 80, height: 24, asked: time.Now()},
		tea.WithContext(ctx), tea.WithOutput(out.out.w), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return &exitError{code: exitInterrupted} // the usual way to leave: no message
	}
	return err
}

// Init implements [tea.Model].
func (m live) Init() tea.Cmd { return tea.Batch(m.ask, repaintSoon()) }

func repaintSoon() tea.Cmd { return tea.Tick(watchEvery, func(time.Time) tea.Msg { return repaint{} }) }

func (m live) ask() tea.Msg {
	began := time.Now()
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
	defer cancel()
	views, err := m.orders.List(ctx, m.options)
	noWorker := false
	if id := coffee.OldestWaiting(views); err == nil && id != "" {
		// If the server cannot say, the orders are shown without the warning.
		if none, err := m.orders.NoWorker(ctx, id); err == nil {
			noWorker = none
		}
	}
	return answer{views, noWorker, err, time.Since(began)}
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
		m.diagnosis = m.diagnoser.Observe(time.Now(), msg.err != nil, msg.noWorker)
		pause := watchEvery
		if msg.err != nil {
			m.problem = m.explain(msg.err)
		} else {
			m.views, m.problem, m.answered = msg.views, "", true
			pause = min(longestPause, max(pause, 9*msg.took)) // within these limits requests take a tenth of the time
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
	value func(coffee.OrderView) string
}{
	{"ORDER", 14, idInTable},
	{"DRINK", 16, func(v coffee.OrderView) string { return strings.TrimSpace(fmt.Sprintf("%s %s", v.Drink, v.Size)) }},
	{"STATUS", 34, statusInWords},
	{"TOOK", 8, age},
	{"PRICE", 8, func(v coffee.OrderView) string {
		if v.AmountCents == 0 {
			return ""
		}
		return v.AmountCents.String()
	}},
	{"WHY", 40, func(v coffee.OrderView) string {
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
			line.WriteString(cell(coffee.Printable(c.value(view)), c.width))
		}
		lines = append(lines, colourOf(view, now)+strings.TrimRight(line.String(), " ")+"\x1b[0m")
	}
	last := "q quit"
	switch waiting := now.Sub(m.asked); {
	case m.problem != "":
		last = "\x1b[31m" + coffee.Printable(m.problem) + "\x1b[0m"
	case !m.asked.IsZero() && waiting > silence:
		last = fmt.Sprintf("\x1b[31mthe server has not answered for %.0f s\x1b[0m; %s", waiting.Seconds(), last)
	case m.diagnosis == coffee.DiagnosisReconnecting:
		last = "\x1b[33m" + reconnectingText + "\x1b[0m; " + last
	case m.diagnosis == coffee.DiagnosisNoWorker:
		last = "\x1b[31mno worker is polling; start one with: coffee worker\x1b[0m; " + last
	case !m.answered:
		last = "asking the server"
	case len(m.views) == 0:
		last = "no orders; " + last
	case len(m.views) > room:
		last = fmt.Sprintf("%d more do not fit; %s", len(m.views)-room, last)
	}
	lines = append(lines, "", last)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// totals counts the orders in each stage.
func (m live) totals(now time.Time) string {
	counts := map[string]int{}
	for _, view := range m.views {
		counts[totalOf(view, now)]++
	}
	var parts []string
	for _, name := range []string{"accepted", "charging", "brewing", "retrying", "receipt", "refunding", "completed", "failed", "cancelled"} {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	return strings.Join(slices.Concat([]string{fmt.Sprintf("%d orders", len(m.views))}, parts), "  ")
}

func totalOf(view coffee.OrderView, now time.Time) string {
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
		return stagesInWords[view.Stage]
	}
}

func colourOf(view coffee.OrderView, now time.Time) string {
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
