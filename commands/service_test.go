//go:build unix

package commands

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestYourOwnService does what docs/your-own-service.md says, each part in an empty
// directory beside the clone. Nothing is downloaded. It is here, where the Temporal server is
// compiled before any test runs, because the page's second part needs it, too.
func TestYourOwnService(t *testing.T) {
	t.Parallel()
	clone, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/your-own-service.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)<!-- not run: service_test.go runs it -->\n```console\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d blocks of commands", len(blocks))
	}
	for i, block := range blocks {
		// Go's cache knows a package by its directory, too: here it is the same every time.
		parent := filepath.Join(os.TempDir(), fmt.Sprintf("coffee-your-own-service-%x-%d", sha256.Sum224([]byte(clone)), i))
		if err := os.Mkdir(parent, 0o700); err != nil {
			parent = t.TempDir() // another run of this test has it
		} else {
			t.Cleanup(func() { os.RemoveAll(parent) })
		}
		mine := filepath.Join(parent, "mine")
		if err := os.Mkdir(mine, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(clone, filepath.Join(parent, "coffee")); err != nil {
			t.Fatal(err)
		}
		shell := exec.Command("bash", "-exc", strings.TrimPrefix(strings.ReplaceAll("\n"+block[1], "\n$ ", "\n"), "\n"))
		shell.Dir = mine
		shell.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
		if out, err := shell.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
