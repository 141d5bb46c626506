package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContractEverywhere: a name or a field of the contract that is new is in every list
// of such names. docs/design.md says where they are, under "Add a step" and "Add a field".
func TestContractEverywhere(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	contract, err := parser.ParseFile(token.NewFileSet(), "coffee/contract.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(read("docs/design.md"), "\n## The contract\n")
	table, _, _ = strings.Cut(table, "\n## ")
	names := 0
	demand := func(name, path, text string) {
		names++
		if !strings.Contains(read(path), text) {
			t.Errorf("%s lacks %s, which coffee/contract.go has: %s", path, text, name)
		}
	}
	ast.Inspect(contract, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.TypeSpec:
			return node.Name.IsExported()
		case *ast.Field:
			if node.Tag == nil {
				return true
			}
			tag, _, _ := strings.Cut(reflect.StructTag(strings.Trim(node.Tag.Value, "`")).Get("json"), ",")
			if !regexp.MustCompile(`\b` + tag + `\b`).MatchString(table) {
				t.Errorf("the contract in docs/design.md lacks the field %s", tag)
			}
			demand(tag, "coffee/order_test.go", strconv.Quote(tag)+":")
		}
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		name := spec.Names[0].Name
		if !ast.IsExported(name) {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(name, "Stage"):
			demand(name, "commands/internal/terminal/words.go", "coffee."+name)
			if name != "StageDone" { // the board then shows the status
				demand(name, "coffee/board/assets/board.js", value)
			}
		case strings.HasPrefix(name, "Activity"):
			if name != "ActivityRecallOrder" { // no stage of an order
				demand(name, "coffee/desk/view.go", name)
			}
			for _, path := range []string{"coffee/activities.go", "coffee/telemetry/orders.go", "coffee/audit/story.go", "coffee/timeline/order.go"} {
				demand(name, path, name)
			}
			fallthrough
		case !strings.HasPrefix(name, "Status"):
			demand(name, "docs/design.md", "`"+value+"`")
			demand(name, "coffee/order_test.go", strconv.Quote(value))
		}
		return true
	})
	if names < 40 {
		t.Errorf("only %d names were looked for", names)
	}
}
