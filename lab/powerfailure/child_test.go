//go:build unix

package powerfailure

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"testing"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// program is what a process does that is killed: it commits transactions, and prints the
// number of each when that must be durable.
type program struct {
	Recordings, Database string
	First                int // the number of the first transaction
	Journal, Synchronous string
	Checkpoint           int  // after so many pages
	Limit                int  // of the log or journal after a checkpoint or transaction, in bytes; -1 means none
	Transactions         int  // after so many it closes the database and ends; 0 means that it goes on
	OwnSync              bool // syncs the write-ahead log by itself
	WithoutSync          bool // see [RecordWithoutSync]
	CannotRecord         bool // after the first transaction; the process then ends
}

const environment = "POWERFAILURE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	text := os.Getenv(environment)
	if text == "" {
		os.Exit(m.Run())
	}
	var p program
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (p *program) run() error {
	start := Record
	if p.WithoutSync {
		start = RecordWithoutSync
	}
	recorder, err := start(p.Recordings)
	if err != nil {
		return err
	}
	if _, err := Record(p.Recordings); err == nil {
		return errors.New("it records twice")
	}
	if _, err := os.Stat(p.Database); errors.Is(err, fs.ErrNotExist) {
		err = p.create()
		if err != nil {
			return fmt.Errorf("creating: %w", err)
		}
	}
	db, err := p.open(p.Database, p.Synchronous)
	if err != nil {
		return err
	}
	for n := p.First; p.Transactions == 0 || n < p.First+p.Transactions; n++ {
		if p.CannotRecord && n > p.First {
			return p.expectFailure(recorder, db)
		}
		if err := commit(db, n); err != nil {
			return fmt.Errorf("transaction %d: %w", n, errors.Join(err, recorder.Err()))
		}
		if p.OwnSync {
			if err := syncFile(recorder, p.Database+"-wal"); err != nil {
				return err
			}
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
	return db.Close()
}

func (p *program) open(path, synchronous string) (*sql.DB, error) {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout=20000",
		"journal_mode=" + p.Journal,
		"synchronous=" + synchronous,
		fmt.Sprintf("wal_autocheckpoint=%d", p.Checkpoint),
		fmt.Sprintf("journal_size_limit=%d", p.Limit),
	}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// create creates the database under another name, unless another process is faster.
func (p *program) create() error {
	draft := fmt.Sprintf("%s.%d", p.Database, os.Getpid())
	db, err := p.open(draft, "FULL")
	if err != nil {
		return err
	}
	if _, err := db.Exec(`CREATE TABLE part (tx INTEGER, size INTEGER, data BLOB);
		CREATE INDEX part_tx ON part (tx);
		CREATE TABLE total (parts INTEGER);
		INSERT INTO total VALUES (0)`); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Link(draft, p.Database); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Remove(draft)
}

// commit commits a transaction of some parts, which are counted.
func commit(db *sql.DB, n int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	size := 1 + rand.IntN(4)
	if rand.IntN(10) == 0 {
		size *= 10
	}
	for range size {
		if _, err := tx.Exec(`INSERT INTO part VALUES (?, ?, randomblob(?))`, n, size, rand.IntN(3000)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`UPDATE total SET parts = parts + ?`, size); err != nil {
		return err
	}
	return tx.Commit()
}

// expectFailure returns an error unless SQLite fails when it cannot be recorded.
func (p *program) expectFailure(recorder *Recorder, db *sql.DB) error {
	if err := recorder.file.Close(); err != nil {
		return err
	}
	var failure *sqlite.Error
	if err := commit(db, 2); !errors.As(err, &failure) || failure.Code() != sqlite3.SQLITE_IOERR {
		return fmt.Errorf("a transaction that cannot be recorded: %w", err)
	}
	if err := recorder.Err(); !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("the recorder's error is %w", err)
	}
	fmt.Println("it fails")
	return nil
}

func syncFile(recorder *Recorder, path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(recorder.Sync(file), file.Close())
}

// check returns an error if a database is damaged or lacks one of the transactions.
func check(path string, transactions map[int]bool) error {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw")
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil {
		return damage(err.Error())
	}
	if verdict != "ok" {
		return damage(verdict)
	}
	var parts, total, halves int
	if err := db.QueryRow(`SELECT (SELECT count(*) FROM part), (SELECT parts FROM total),
		(SELECT count(*) FROM (SELECT 1 FROM part GROUP BY tx HAVING count(*) <> min(size)))`).Scan(&parts, &total, &halves); err != nil {
		return damage(err.Error())
	}
	if parts != total || halves > 0 {
		return damage(fmt.Sprintf("%d parts instead of %d, %d transactions in halves", parts, total, halves))
	}
	rows, err := db.Query(`SELECT DISTINCT tx FROM part`)
	if err != nil {
		return err
	}
	defer rows.Close()
	found := map[int]bool{}
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return err
		}
		found[n] = true
	}
	for n := range transactions {
		if !found[n] {
			return errLost
		}
	}
	return rows.Err()
}

// damage is what is wrong with a database.
type damage string

func (d damage) Error() string { return "damaged: " + string(d) }

var errLost = errors.New("a transaction is lost")
