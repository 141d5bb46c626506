//go:build unix

package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestYourOwnService does what docs/your-own-service.md says, each part in an empty
// directory beside the clone. Nothing is downloaded.
func TestYourOwnService(t *testing.T) {
	t.Parallel()
	clone, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("docs/your-own-service.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)<!-- not run: service_test.go runs it -->\n```console\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d blocks of commands", len(blocks))
	}
	for _, block := range blocks {
		parent := t.TempDir()
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
