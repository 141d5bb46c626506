//go:build unix

package powerfailure

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// What is in the directory of the recordings: a recording for each process, and for
// each file that was opened its base, which is a copy of what was in it when it was
// opened first.
const (
	recordingPattern = "recording-*"
	draftPattern     = "draft-*" // bases that are not complete
	basePattern      = "base-*"
)

// inode identifies a file whatever it is called: databases are renamed. The number of
// a deleted file may be given to a new one.
type inode struct{ Device, Number uint64 }

func inodeOf(stat *syscall.Stat_t) inode {
	return inode{uint64(stat.Dev), uint64(stat.Ino)} // their types differ from system to system
}

func (i inode) base(recordings string) string {
	return filepath.Join(recordings, fmt.Sprintf("base-%x-%x", i.Device, i.Number))
}

const (
	// opened: the value is the size that the file had, and the data the path.
	opened = uint32(iota + 1)
	// written: the value is the offset. It is recorded before it is done, so that
	// nothing can be synced that is not recorded.
	written
	// truncated: the value is the new size. It is recorded before it is done.
	truncated
	// synced: the value is when the sync ended.
	synced
	// done: the write or truncation with this sequence number has ended. The value is
	// when. It is missing if that has failed or the process was killed meanwhile.
	done
	// deleted: the data is the path.
	deleted
)

// header begins each record of a recording. The data follow.
type header struct {
	Kind     uint32
	Length   uint32 // of the data, in bytes
	Sequence uint64 // distinguishes the records of one process
	Inode    inode  // zero if it does not matter
	Begin    int64  // when that began which is recorded, by the clock of [Now]
	Value    int64
}

// event is a record and where it was read.
type event struct {
	header
	end     int64 // when it ended
	pending bool  // its end is not known
	source  *os.File
	offset  int64 // of the data in the source
}

func (e *event) data() ([]byte, error) {
	data := make([]byte, e.Length)
	_, err := e.source.ReadAt(data, e.offset)
	return data, err
}

// events are all recordings of a directory.
type events struct {
	dir     string
	sources []*os.File
	inodes  map[inode][]event // in the order in which they began
	names   map[name]int64    // when a file was first opened under a name
	changed int64             // when the last file was created or deleted
}

type name struct {
	inode inode
	path  string
}

func readEvents(dir string) (_ *events, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, recordingPattern))
	if err != nil {
		return nil, err
	}
	e := &events{dir: dir, inodes: map[inode][]event{}, names: map[name]int64{}, changed: math.MinInt64}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	for _, path := range paths {
		if err := e.read(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, all := range e.inodes {
		slices.SortStableFunc(all, func(a, b event) int { return cmp.Compare(a.Begin, b.Begin) })
	}
	return e, nil
}

func (e *events) close() error {
	var errs []error
	for _, source := range e.sources {
		errs = append(errs, source.Close())
	}
	return errors.Join(errs...)
}

// read adds the recording of one process.
func (e *events) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	e.sources = append(e.sources, file)
	var all []event
	bySequence := map[uint64]int{}
	reader := bufio.NewReaderSize(file, 1<<16)
	for offset := int64(0); ; {
		next := event{source: file, pending: true}
		n := int64(binary.Size(next.header))
		err := binary.Read(reader, binary.LittleEndian, &next.header)
		next.end, next.offset = next.Begin, offset+n
		offset += n + int64(next.Length)
		if err == nil && (next.Kind == opened || next.Kind == deleted) {
			err = e.readName(reader, &next)
		} else if err == nil {
			_, err = reader.Discard(int(next.Length))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF { // the process was killed when it had written half of it
			break
		}
		if err != nil {
			return err
		}
		switch next.Kind {
		case done:
			i, ok := bySequence[next.Sequence]
			if !ok {
				return fmt.Errorf("operation %d ends but does not begin", next.Sequence)
			}
			all[i].end, all[i].pending = next.Value, false
			continue
		case synced:
			next.end = next.Value
		}
		bySequence[next.Sequence] = len(all)
		all = append(all, next)
	}
	for _, one := range all {
		e.inodes[one.Inode] = append(e.inodes[one.Inode], one)
	}
	return nil
}

func (e *events) readName(reader io.Reader, next *event) error {
	path := make([]byte, next.Length)
	if _, err := io.ReadFull(reader, path); err != nil {
		return err
	}
	if next.Kind == deleted || next.Value == 0 {
		e.changed = max(e.changed, next.Begin)
	}
	if next.Kind == deleted {
		return nil
	}
	key := name{next.Inode, string(path)}
	if first, ok := e.names[key]; !ok || next.Begin < first {
		e.names[key] = next.Begin
	}
	return nil
}

// history is what was done to one file.
type history struct {
	base       []byte
	operations []event // writes and truncations, in the order in which they began
	lastSync   int64   // when the last sync began that has ended
	late       int     // number of operations that began too late
}

// history returns what was done to a file until a moment.
func (e *events) history(file inode, until int64) (*history, error) {
	base, err := os.ReadFile(file.base(e.dir))
	if err != nil {
		return nil, err
	}
	h := &history{base: base, lastSync: math.MinInt64}
	for _, one := range e.inodes[file] {
		switch {
		case one.Kind == synced && one.end <= until:
			h.lastSync = max(h.lastSync, one.Begin)
		case one.Kind == written || one.Kind == truncated:
			if one.Begin > until {
				h.late++
				continue
			}
			h.operations = append(h.operations, one)
		case one.Kind == opened && one.Begin <= until && one.Value == 0 && h.sizeAt(one.Begin) > 0:
			// A new file has the number of a deleted one. Its own operations cannot have
			// ended before it was found empty.
			h.base = nil
			h.operations = slices.DeleteFunc(h.operations, func(o event) bool { return o.end <= one.Begin })
		}
	}
	return h, nil
}

// sizeAt returns the size that the file had at a moment, by the operations that had
// ended.
func (h *history) sizeAt(moment int64) int64 {
	size := int64(len(h.base))
	for _, o := range h.operations {
		switch {
		case o.end > moment:
		case o.Kind == truncated:
			size = o.Value
		default:
			size = max(size, o.Value+int64(o.Length))
		}
	}
	return size
}
