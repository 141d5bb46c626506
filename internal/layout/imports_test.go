package layout

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	module = "example.com/coffee"
	server = "go.temporal.io/server"
	ui     = "github.com/temporalio/ui-server/v2"
	cli    = "github.com/urfave/cli/v2"
	sdk    = "go.temporal.io/sdk"
)

// under reports whether a package is another one, or in a directory below it.
func under(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Standard   bool
	Imports    []string
	Deps       []string
}

// listPackages returns what go list says about packages and their dependencies, by
// import path.
func listPackages(t *testing.T, patterns ...string) map[string]goPackage {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,Standard,Imports,Deps"}, patterns...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]goPackage{}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

var (
	listOnce sync.Once
	listed   map[string]goPackage
)

// allPackages returns all packages of the module and their dependencies, which are listed
// once.
func allPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	listOnce.Do(func() { listed = listPackages(t, "./...") })
	if listed == nil {
		t.Fatal("go list has failed")
	}
	return listed
}

// TestImportRules checks which packages may import which.
func TestImportRules(t *testing.T) {
	t.Parallel()
	packages := allPackages(t)
	for path, p := range packages {
		if !under(path, module) {
			continue
		}
		for _, imported := range p.Imports {
			var wrong bool
			switch {
			case path == module:
				wrong = strings.Contains(imported, ".") && imported != module+"/commands"
			case under(path, module+"/lab"): // which nothing else imports
			case under(path, module+"/internal"):
				// The releases that do not exist yet wrap the workflow there is.
				wrong = under(imported, module) && (path != module+"/internal/release" || !under(imported, module+"/coffee")) || under(imported, server) || under(imported, ui) || under(imported, cli)
			case path == module+"/coffee": // which stands alone
				wrong = under(imported, module) && imported != module+"/internal/text" && imported != module+"/internal/typo" || under(imported, "database/sql")
			case under(path, module+"/coffee"):
				wrong = under(imported, module) && !under(imported, module+"/coffee") && !under(imported, module+"/internal") && imported != module+"/timeline" ||
					under(imported, server) || under(imported, ui) || under(imported, cli)
			case under(path, module+"/devserver/devservertest"): // which is a client
				wrong = under(imported, module) && imported != module+"/devserver" && imported != module+"/timeline"
			case under(path, module+"/devserver"):
				// The server has clients and workers of its own, whose types are the SDK's.
				wrong = under(imported, module) && !under(imported, module+"/devserver") && !under(imported, module+"/internal") || under(imported, cli) ||
					under(imported, sdk) && imported != sdk+"/client" && imported != sdk+"/worker"
			case path == module+"/timeline": // which is for any program
				wrong = under(imported, module) && imported != module+"/internal/text" || under(imported, server) || under(imported, cli)
			case under(path, module+"/commands"):
				wrong = under(imported, server) || under(imported, ui) || under(imported, module+"/lab")
			default:
				t.Errorf("%s is in no part of the layout", path)
			}
			if wrong {
				t.Errorf("%s must not import %s", path, imported)
			}
		}
	}
	// The laboratory, and what only it or tests need, is not in the program.
	program := packages[module].Deps
	for _, unwanted := range []string{module + "/lab", module + "/coffee/ledger/ledgertest", module + "/internal/historytest", module + "/internal/scripttest", module + "/coffee/shoptest", module + "/internal/testmain", module + "/devserver/devservertest", "github.com/anishathalye/porcupine", "github.com/rogpeppe/go-internal"} {
		if i := slices.IndexFunc(program, func(dep string) bool { return under(dep, unwanted) }); i >= 0 {
			t.Errorf("the program links %s", program[i])
		}
	}
	// A program that uses the client, the board or the timeline links no database.
	for _, path := range []string{"coffee", "coffee/board", "coffee/timeline", "timeline"} {
		for _, dep := range packages[module+"/"+path].Deps {
			if under(dep, "modernc.org/sqlite") || under(dep, "github.com/jackc/pgx") || dep == "database/sql" {
				t.Errorf("%s links %s", path, dep)
			}
		}
	}
	// The tests of the application must build without the server.
	for path := range listPackages(t, "-test", "./coffee/...") {
		if under(path, server) || under(path, ui) {
			t.Errorf("go test ./coffee/... compiles %s", path)
		}
	}
}

// TestExampleIsSmall checks that package coffee can be read in one sitting.
func TestExampleIsSmall(t *testing.T) {
	t.Parallel()
	p := listPackages(t, "./coffee")[module+"/coffee"]
	lines := 0
	for _, file := range p.GoFiles {
		source, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(source), "\n")
	}
	if lines > 2200 || len(p.GoFiles) > 17 {
		t.Errorf("it has %d lines in %d files", lines, len(p.GoFiles))
	}
}

// TestVariables checks that the program has two environment variables of its own, and none
// that makes it do harm.
func TestVariables(t *testing.T) {
	t.Parallel()
	variable := regexp.MustCompile(`\b(COFFEE|LAB)_[A-Z_]+`)
	found := map[string]bool{}
	packages := allPackages(t)
	for _, path := range append(packages[module].Deps, module) {
		if !under(path, module) {
			continue
		}
		p := packages[path]
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range variable.FindAllString(string(source), -1) {
				found[name] = true
			}
		}
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, []string{"COFFEE_ENCRYPTION_KEYSET", "COFFEE_LEDGER"}) {
		t.Errorf("they are %v", got)
	}
}

// TestWorkflowFileDoesNoIO checks that the workflow's file imports only what a
// workflow may call.
func TestWorkflowFileDoesNoIO(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"errors", "fmt", "time", module + "/internal/text",
		"go.temporal.io/sdk/converter", "go.temporal.io/sdk/temporal",
		"go.temporal.io/sdk/worker", "go.temporal.io/sdk/workflow",
	}
	file, err := parser.ParseFile(token.NewFileSet(), "coffee/workflow.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(allowed, path) {
			t.Errorf("coffee/workflow.go must not import %s", path)
		}
	}
}

// TestNoServer builds the program without the server.
func TestNoServer(t *testing.T) {
	t.Parallel()
	for path := range listPackages(t, "-tags", "noserver", ".") {
		if under(path, server) || under(path, ui) {
			t.Errorf("the tag noserver leaves in %s", path)
		}
	}
	program := filepath.Join(t.TempDir(), "coffee")
	if out, err := exec.Command("go", "build", "-tags", "noserver", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"--version", 0, "(Temporal server not built in)"},
		{"menu", 0, "latte"},
		{"server --in-memory --headless --port 0", 1, "built without a Temporal server\nbuild it without -tags noserver, or start"},
		{"order --dev --drink latte", 1, "built without a Temporal server\nbuild it without -tags noserver, or start"},
		{"rush --dev", 1, "built without a Temporal server\nbuild it without -tags noserver, or start"},
		{"tour --auto", 1, "built without a Temporal server\nbuild it without -tags noserver, or start"},
		{"status --address 127.0.0.1:1", 1, "no Temporal server answers at 127.0.0.1:1\ncheck --address and --tls\n"},
	} {
		command := exec.Command(program, strings.Fields(test.args)...)
		command.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir())
		out, err := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
			t.Errorf("coffee %s: exit code %d, %v\n%s", test.args, code, err, out)
		}
	}
}
