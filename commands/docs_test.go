//go:build unix

package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"example.com/coffee/coffee/audit"
)

// TestDocs runs the commands in README.md and docs/*.md as they stand, each document
// in a shell and a home directory of its own, and compares what they print with what
// the document shows. Times, dates and made-up ids may differ.
//
// A comment before a block says how it is run:
//
//	<!-- in a terminal of its own -->  it runs until the document ends
//	<!-- not run: REASON -->           it cannot be run here
//	<!-- run --> and <!-- test -->     .ci/run runs it
//
// The servers have the ports that they have by default, as a reader's would.
func TestDocs(t *testing.T) {
	t.Parallel()
	if conn, err := net.DialTimeout("tcp", "127.0.0.1:7233", time.Second); err == nil {
		conn.Close()
		if os.Getenv("CI") != "" {
			t.Fatal("port 7233 is taken")
		}
		t.Skip("a server has port 7233: the documents' commands would go to it")
	}
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range append([]string{"../README.md"}, documents...) {
		t.Run(filepath.Base(document), func(t *testing.T) {
			blocks := consoleBlocks(t, document)
			if len(blocks) == 0 {
				return
			}
			err := runBlocks(t, blocks)
			if err != nil {
				// Some commands have to come within half a second, as --cancel-after 1.0
				// does, and one order in 400 jams five times. That does not happen twice.
				t.Logf("it is run once more, because %v", err)
				err = runBlocks(t, blocks)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// runBlocks runs a document in a home directory of its own.
func runBlocks(t *testing.T, blocks []consoleBlock) error {
	t.Helper()
	s := newShell(t)
	defer s.close()
	for _, block := range blocks {
		for _, c := range block.commands {
			run := s.run
			if block.background {
				run = s.background
			}
			if err := run(c); err != nil {
				return fmt.Errorf("$ %s\n%w", c.line, err)
			}
		}
	}
	return nil
}

// TestDocsLinks: what a document links to is there, headings included.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range append(documents, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			target := document
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(document), match[1])
			}
			if match[2] == "" {
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s links to %s: %v", document, match[1], err)
				}
				continue
			}
			linked, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(heading.FindAllStringSubmatch(string(linked), -1), func(h []string) bool { return anchor(h[1]) == match[2] }) {
				t.Errorf("%s links to %s of %s, which has no such heading", document, match[2], target)
			}
		}
	}
}

// anchor is what a link to a heading has after the name of the file.
func anchor(heading string) string {
	kept := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
	return "#" + strings.ReplaceAll(kept, " ", "-")
}

// TestDocsScripts: what a document says a script runs, the script runs, with the same
// flags and names. Only numbers and durations may differ.
func TestDocsScripts(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- not run: [^\n]*; ((?:commands/testdata|\\.ci)/[a-z.]+) runs it -->\n```console\n(.*?)```")
	found := 0
	for _, document := range append(documents, "../README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range block.FindAllStringSubmatch(string(text), -1) {
			script, err := os.ReadFile(filepath.Join("..", match[1]))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(match[2]) {
				command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
				if !ok || strings.HasPrefix(command, "cd ") {
					continue
				}
				found++
				if !slices.ContainsFunc(strings.Split(string(script), "\n"), func(line string) bool { return runs(line, command) }) {
					t.Errorf("%s: %s does not run %q", document, match[1], command)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d commands", found)
	}
}

// runs reports whether a line of a script has the words of a command, in their order
// and perhaps with others in between.
func runs(line, command string) bool {
	words := func(line string) []string {
		return strings.Fields(strings.NewReplacer(`"`, "", "$", "", "coffee-patched", "coffee").Replace(line))
	}
	have := words(line)
	if len(have) == 0 || strings.HasPrefix(line, "#") {
		return false
	}
	for _, word := range words(command) {
		if word[0] >= '0' && word[0] <= '9' {
			continue
		}
		i := slices.IndexFunc(have, func(h string) bool { return h == word || strings.HasSuffix(h, "/"+word) })
		if i < 0 {
			return false
		}
		have = have[i+1:]
	}
	return true
}

// TestDocsRules: the list of the audit's rules is word for word that of the audit.
func TestDocsRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range audit.Rules() {
		if want := fmt.Sprintf("\n%d. %s.\n", i+1, rule); !strings.Contains(string(text), want) {
			t.Errorf("docs/durability.md does not have %q", want)
		}
	}
}

// consoleBlock is a block of commands in a document.
type consoleBlock struct {
	background bool
	commands   []docCommand
}

// docCommand is a command with what it prints according to the document.
type docCommand struct {
	line string
	want []string
}

func consoleBlocks(t *testing.T, document string) (blocks []consoleBlock) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var before string // the line before the block that is not empty
	inside, skipped := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case !inside && line == "```console":
			inside = true
			skipped = strings.HasPrefix(before, "<!-- not run: ") || before == "<!-- run -->" || before == "<!-- test -->"
			if !skipped {
				blocks = append(blocks, consoleBlock{background: before == "<!-- in a terminal of its own -->"})
			}
		case inside && line == "```":
			inside = false
		case inside && !skipped:
			block := &blocks[len(blocks)-1]
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				block.commands = append(block.commands, docCommand{line: command})
			} else if last := len(block.commands) - 1; last >= 0 {
				block.commands[last].want = append(block.commands[last].want, line)
			}
		}
		if line != "" {
			before = line
		}
	}
	return blocks
}

// shell is a bash that the commands of one document run in.
type shell struct {
	t     *testing.T
	home  string
	env   []string
	in    io.Writer
	lines chan string
	// made-up order ids, in the order of their appearance
	docIDs, realIDs []string
	ends            []func() // of the processes that it has started
}

// close ends what the shell has started.
func (s *shell) close() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
}

func newShell(t *testing.T) *shell {
	t.Helper()
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(home, "bin")
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(bin, 0o700), os.Symlink(executable, filepath.Join(bin, "coffee")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &shell{t: t, home: home, env: []string{"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}}
	s.in, s.lines = s.start(exec.Command("bash"))
	return s
}

// start starts a process whose output comes in lines. close ends it, with all that it
// has started.
func (s *shell) start(cmd *exec.Cmd) (io.Writer, chan string) {
	s.t.Helper()
	cmd.Dir, cmd.Env = s.home, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	lines := make(chan string, 10_000)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(lines)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	})
	s.ends = append(s.ends, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
		_ = cmd.Wait()
		reading.Wait()
		r.Close()
	})
	return in, lines
}

// docPatience is how long a command of a document may take.
const docPatience = 2 * time.Minute

// run runs a command to its end, and compares its output.
func (s *shell) run(c docCommand) error {
	const end = "the command ended with "
	if _, err := fmt.Fprintf(s.in, "%s\necho \"%s$?\"\n", c.line, end); err != nil {
		return err
	}
	var got []string
	timeout := time.After(docPatience)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return errors.New("ended the shell")
			}
			code, ended := strings.CutPrefix(line, end)
			if !ended {
				got = append(got, line)
				continue
			}
			fails := slices.ContainsFunc(c.want, func(line string) bool { return strings.HasPrefix(line, "coffee: ") })
			if code != "0" && !fails {
				return fmt.Errorf("ended with exit code %s:\n%s", code, strings.Join(got, "\n"))
			}
			if missing, ok := s.compare(c.want, got); !ok {
				return fmt.Errorf("did not print %q; it printed\n%s", missing, strings.Join(got, "\n"))
			}
			return nil
		case <-timeout:
			return fmt.Errorf("has not ended; it printed\n%s", strings.Join(got, "\n"))
		}
	}
}

// background starts a command, and returns when it has printed what the document
// shows.
func (s *shell) background(c docCommand) error {
	_, lines := s.start(exec.Command("bash", "-c", "exec "+c.line))
	var got []string
	timeout := time.After(docPatience)
	for {
		missing, ok := s.compare(c.want, got)
		if ok {
			return nil
		}
		select {
		case line, open := <-lines:
			if !open {
				return fmt.Errorf("ended; it printed\n%s", strings.Join(got, "\n"))
			}
			got = append(got, line)
		case <-timeout:
			return fmt.Errorf("has not printed %q, but\n%s", missing, strings.Join(got, "\n"))
		}
	}
}

var (
	madeUp    = regexp.MustCompile(`"order_id": "([2-9a-hjkmnp-z]{6})"`)
	changing  = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[0-9a-f]{8}-[0-9a-f-]{27}|\b\d{7,10}\b|~?\d+(\.\d+)? (s|ms)\b|[█▒·▼]+`)
	manySpace = regexp.MustCompile(`\s+`)
)

// compare reports whether the lines that a document shows are in the output, in
// their order; if not, it returns the first one that is missing.
func (s *shell) compare(want, got []string) (missing string, ok bool) {
	collect := func(lines []string, into *[]string) {
		for _, line := range lines {
			if match := madeUp.FindStringSubmatch(line); match != nil && !slices.Contains(*into, match[1]) {
				*into = append(*into, match[1])
			}
		}
	}
	collect(want, &s.docIDs)
	collect(got, &s.realIDs)
	for _, line := range want {
		wanted := shape(line, s.docIDs, "")
		i := slices.IndexFunc(got, func(line string) bool { return shape(line, s.realIDs, s.home) == wanted })
		if i < 0 {
			return line, false
		}
		got = got[i+1:]
	}
	return "", true
}

// shape is a line without what differs from run to run.
func shape(line string, ids []string, home string) string {
	for _, id := range ids {
		line = strings.ReplaceAll(line, id, "ID")
	}
	if home != "" {
		line = strings.ReplaceAll(line, home, "/home/you")
	}
	return strings.TrimSpace(manySpace.ReplaceAllString(changing.ReplaceAllString(line, "#"), " "))
}
