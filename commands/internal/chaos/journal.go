//go:build unix

package chaos

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// The files of a journal. Each has the ids of orders, one per line.
const (
	journalSent         = "sent"         // before an order is sent
	journalAcknowledged = "acknowledged" // after the server has acknowledged it
	journalCancelled    = "cancelled"    // after the server has acknowledged the request to cancel it
	journalEnded        = "ended"        // after its result is known
	// journalBreaches has a line for each thing that a client must never see.
	journalBreaches = "breaches"
)

// journal is the client's record on disk. Unlike the client's memory, it survives
// a kill.
type journal struct {
	mu    sync.Mutex
	files map[string]*os.File
	known map[string]map[string]bool
}

func openJournal(dir string) (*journal, error) {
	j := &journal{files: map[string]*os.File{}, known: map[string]map[string]bool{}}
	for _, name := range []string{journalSent, journalAcknowledged, journalCancelled, journalEnded, journalBreaches} {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return nil, errors.Join(err, j.close())
		}
		j.files[name], j.known[name] = file, map[string]bool{}
		scanner := bufio.NewScanner(file)
		for scanner.Scan() {
			j.known[name][scanner.Text()] = true
		}
		if err := scanner.Err(); err != nil {
			return nil, errors.Join(err, j.close())
		}
	}
	return j, nil
}

// write writes a line and syncs it to disk. It does not write a line that is
// already there.
func (j *journal) write(name, line string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.known[name][line] {
		return nil
	}
	j.known[name][line] = true
	if _, err := j.files[name].WriteString(line + "\n"); err != nil {
		return err
	}
	return j.files[name].Sync()
}

func (j *journal) has(name, line string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known[name][line]
}

func (j *journal) close() error {
	var errs []error
	for _, file := range j.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}
