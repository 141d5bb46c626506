package commands

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/coffee/commands/internal/certificates"
)

var nextPort atomic.Int64

// cmdHTTP gets a URL and checks the status and the body. It waits until something
// listens on the port.
//
//	http 200 'Temporal' http://127.0.0.1:8233 [Host]
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: http STATUS REGEXP URL [HOST]")
	}
	request, err := http.NewRequest(http.MethodGet, args[2], nil)
	ts.Check(err)
	if len(args) > 3 {
		request.Host = args[3]
	}
	response, err := http.DefaultClient.Do(request)
	for deadline := time.Now().Add(patience); errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		response, err = http.DefaultClient.Do(request)
	}
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	if fmt.Sprint(response.StatusCode) != args[0] || !regexp.MustCompile(args[1]).Match(body) {
		ts.Fatalf("%s: got %s:\n%.2000s", args[2], response.Status, body)
	}
}

// cmdSQL runs a statement on a SQLite file.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE STATEMENT")
	}
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}

// cmdMode checks the permissions of files.
//
//	mode 600 data/coffee/coffee.db
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); (got != args[0]) != neg {
			ts.Fatalf("%s has mode %s, want %s", file, got, args[0])
		}
	}
}

// cmdCertificates makes certificates in a directory, as they would have been made some
// days from now, or before now.
//
//	certificates tls -400
func cmdCertificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificates DIR DAYS")
	}
	days, err := strconv.Atoi(args[1])
	ts.Check(err)
	_, err = certificates.Ensure(ts.MkAbs(args[0]), []string{"localhost", "127.0.0.1"}, time.Now().AddDate(0, 0, days))
	ts.Check(err)
}
