//go:build unix

package powerfailure

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// past is a file whose recording is made by hand.
type past struct {
	t                *testing.T
	recordings, path string
	recorder         *Recorder
	inode            inode
}

// newPast returns the past of a file that has been found with some content at time 1.
func newPast(t *testing.T, content string) *past {
	t.Helper()
	p := &past{t: t, recordings: t.TempDir(), path: filepath.Join(t.TempDir(), "x.db")}
	path, err := filepath.EvalSymlinks(filepath.Dir(p.path)) // of a temporary directory
	p.must(err)
	p.path = filepath.Join(path, "x.db")
	p.must(os.WriteFile(p.path, []byte(content), 0o600))
	info, err := os.Stat(p.path)
	p.must(err)
	p.inode = inodeOf(info.Sys().(*syscall.Stat_t))
	p.recorder, err = newRecorder(p.recordings)
	p.must(err)
	t.Cleanup(func() { p.recorder.file.Close() })
	p.must(saveBase(p.recordings, p.inode, strings.NewReader(content)))
	p.opened(1, p.path, len(content))
	return p
}

func (p *past) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *past) append(h header, data string) uint64 {
	p.t.Helper()
	sequence, err := p.recorder.append(h, []byte(data))
	p.must(err)
	return sequence
}

func (p *past) opened(when int64, path string, size int) {
	p.t.Helper()
	p.append(header{Kind: opened, Inode: p.inode, Begin: when, Value: int64(size)}, path)
}

func (p *past) write(begin, end int64, data string, offset int64) {
	p.t.Helper()
	sequence := p.append(header{Kind: written, Inode: p.inode, Begin: begin, Value: offset}, data)
	file, err := os.OpenFile(p.path, os.O_WRONLY, 0)
	p.must(err)
	_, err = file.WriteAt([]byte(data), offset)
	p.must(err)
	p.must(file.Close())
	p.append(header{Kind: done, Sequence: sequence, Value: end}, "")
}

func (p *past) truncate(begin, end, size int64) {
	p.t.Helper()
	sequence := p.append(header{Kind: truncated, Inode: p.inode, Begin: begin, Value: size}, "")
	p.must(os.Truncate(p.path, size))
	p.append(header{Kind: done, Sequence: sequence, Value: end}, "")
}

func (p *past) sync(begin, end int64) {
	p.t.Helper()
	p.append(header{Kind: synced, Inode: p.inode, Begin: begin, Value: end}, "")
}

func (p *past) content() string {
	p.t.Helper()
	content, err := os.ReadFile(p.path)
	p.must(err)
	return string(content)
}

// outcomes returns all that many failures at a moment leave of the file.
func (p *past) outcomes(at int64) map[string]Loss {
	p.t.Helper()
	outcomes := map[string]Loss{}
	for seed := range uint64(300) {
		contents, loss, err := imagine(p.recordings, at, rand.New(rand.NewPCG(seed, 0)), []string{p.path})
		p.must(err)
		outcomes[string(contents[p.path])] = loss
	}
	return outcomes
}

// expect checks what failures may leave. Each of it must be left by one.
func (p *past) expect(at int64, contents ...string) {
	p.t.Helper()
	got, want := slices.Sorted(maps.Keys(p.outcomes(at))), slices.Sorted(slices.Values(contents))
	if !slices.Equal(got, want) {
		p.t.Errorf("there may be %.60q, want %.60q", got, want)
	}
}

// TestSynced: a write is durable if it had ended before a sync began that has ended.
func TestSynced(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end, syncBegin, syncEnd, at int64
		want                        []string
	}{
		"before the sync":        {20, 20, 30, 30, []string{"new"}},
		"during the sync":        {21, 20, 30, 30, []string{"new", "old"}},
		"the sync ends too late": {20, 20, 31, 30, []string{"new", "old"}},
		"ends too late":          {31, 20, 25, 30, []string{"new", "old"}},
		"begins too late":        {20, 20, 30, 9, []string{"old"}},
		"begins just in time":    {20, 20, 30, 10, []string{"new", "old"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t, "old")
			p.write(10, test.end, "new", 0)
			p.sync(test.syncBegin, test.syncEnd)
			p.expect(test.at, test.want...)
		})
	}
}

// TestLate: what began after the power failure did not happen, and is counted.
func TestLate(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	p.write(10, 20, "new", 0)
	p.sync(20, 30)
	p.write(40, 50, "late", 0)
	p.truncate(60, 70, 1)
	want := map[string]Loss{"new": {Files: 1, Late: 2}}
	if got := p.outcomes(35); !maps.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReusedInode: nothing is left of a deleted file in a new one of the same number.
func TestReusedInode(t *testing.T) {
	t.Parallel()
	p := newPast(t, "base")
	p.write(10, 20, "deleted", 0)
	p.sync(20, 30)
	p.must(os.Truncate(p.path, 0))
	// Another process that opens the new file has begun to write.
	p.write(35, 45, "new", 0)
	p.opened(40, p.path, 0)
	p.expect(50, "", "new")
	p.sync(50, 60)
	p.expect(60, "new")
	p.expect(39, "new") // the old file cannot come back
}

// TestNewInode: a process was killed when it had created a file that has the number of a
// deleted one.
func TestNewInode(t *testing.T) {
	t.Parallel()
	p := newPast(t, "base")
	p.write(10, 20, "deleted", 0)
	p.must(os.Truncate(p.path, 0))
	if loss, err := Fail(p.recordings, 30, random(t), p.path); err != nil || loss != (Loss{}) || p.content() != "" {
		t.Errorf("there is %q, %+v, %v", p.content(), loss, err)
	}
}

// TestEmptied: a file that was truncated is not taken for a new one.
func TestEmptied(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	p.truncate(10, 20, 0)
	p.opened(30, p.path, 0)
	p.expect(40, "old", "")
}

// TestRenamed: a file that has got its name later was not there, so the power fails when
// the recordings end.
func TestRenamed(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	p.write(10, 20, "new", 0)
	p.sync(20, 30)
	p.must(os.Rename(p.path, p.path+"2"))
	p.path += "2"
	p.expect(5, "new") // nobody has opened it under this name
	p.opened(40, p.path, 3)
	p.expect(5, "new")
	p.write(50, 60, "NEW", 0)
	p.expect(45, "new")
}

// TestKilled: a process was killed in the middle of a write or truncation. What has come
// of it agrees with the recordings, and is durable with the next sync of another process.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, actual := range map[string]string{"not done": "old", "half done": "nld", "done": "newer"} {
		p := newPast(t, "old")
		p.append(header{Kind: written, Inode: p.inode, Begin: 10}, "newer")
		p.must(os.WriteFile(p.path, []byte(actual), 0o600))
		p.expect(20, "old", "newer")
		p.sync(20, 30)
		p.expect(30, "newer")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	for name, actual := range map[string]string{"not done": "old", "done": "o"} {
		p := newPast(t, "old")
		p.append(header{Kind: truncated, Inode: p.inode, Begin: 10, Value: 1}, "")
		p.must(os.WriteFile(p.path, []byte(actual), 0o600))
		p.expect(20, "old", "o")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestHalfRecord: a process was killed in the middle of a record.
func TestHalfRecord(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	recording := p.recorder.file.Name()
	before, err := os.ReadFile(recording)
	p.must(err)
	p.append(header{Kind: written, Inode: p.inode, Begin: 10}, "new")
	after, err := os.ReadFile(recording)
	p.must(err)
	rng := random(t)
	for size := len(before); size < len(after); size++ {
		p.must(os.WriteFile(recording, after[:size], 0o600))
		contents, _, err := imagine(p.recordings, 20, rng, []string{p.path})
		if err != nil || string(contents[p.path]) != "old" {
			t.Fatalf("after %d bytes there is %q, %v", size-len(before), contents[p.path], err)
		}
	}
}

// TestUnrecorded: a change that was not recorded is found, and nothing is changed.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	p.write(10, 20, "new", 0)
	p.must(os.WriteFile(p.path, []byte("newer"), 0o600))
	_, err := Fail(p.recordings, 30, random(t), p.path)
	if err == nil || !strings.Contains(err.Error(), "do not add up to "+p.path) || p.content() != "newer" {
		t.Errorf("there is %q, %v", p.content(), err)
	}
}

// TestFail: the failure is in the file, and the next recordings begin with that.
func TestFail(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	p.write(10, 20, "new", 0)
	p.must(os.WriteFile(p.path+"-shm", nil, 0o600))
	p.must(os.WriteFile(p.path+"-wal", []byte("not recorded"), 0o600))
	p.must(os.WriteFile(filepath.Join(p.recordings, "draft-1"), nil, 0o600))
	link := filepath.Join(t.TempDir(), "link.db")
	p.must(os.Symlink(p.path, link))
	rng := random(t)
	loss, err := Fail(p.recordings, 30, rng, link, filepath.Join(t.TempDir(), "missing.db"))
	left := p.content()
	if err != nil || loss != (Loss{Files: 1, Lost: 1}) && loss != (Loss{Files: 1, Kept: 1}) || loss.Kept == 1 != (left == "new") {
		t.Fatalf("there is %q, %+v, %v", left, loss, err)
	}
	entries, err := filepath.Glob(p.path + "*")
	p.must(err)
	if want := []string{p.path, p.path + "-wal"}; !slices.Equal(entries, want) {
		t.Errorf("there are %v, want %v", entries, want)
	}
	loss, err = Fail(p.recordings, math.MaxInt64, rng, p.path)
	if err != nil || loss != (Loss{Files: 1}) || p.content() != left {
		t.Errorf("then there is %q instead of %q, %+v, %v", p.content(), left, loss, err)
	}
	log, err := os.ReadFile(p.path + "-wal")
	if err != nil || !bytes.Equal(log, []byte("not recorded")) {
		t.Errorf("the log has %q, %v", log, err)
	}
}
