package devserver

import (
	"context"
	"fmt"
	"os"
	"testing"

	"example.com/coffee/internal/testmain"
)

// upgradeVariable makes TestMain upgrade the database that it names, and nothing else.
const upgradeVariable = "DEVSERVER_TEST_UPGRADE"

// TestMain fails if anything here asks a name server: a server on this machine tells
// nobody that it is there.
func TestMain(m *testing.M) {
	if file := os.Getenv(upgradeVariable); file != "" {
		d, err := openDatabase(context.Background(), Options{DatabaseFile: file})
		if err == nil {
			err = d.close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testmain.Parallel(3)
	lookups := testmain.RefuseLookups()
	os.Exit(lookups.Check(m.Run()))
}

// TestNoVersionCheck: the server does not ask for newer versions, unless the user wants
// that.
func TestNoVersionCheck(t *testing.T) {
	t.Parallel()
	const key = "frontend.enableServerVersionCheck"
	for want, o := range map[bool]Options{false: {}, true: {DynamicConfig: map[string]any{key: true}}} {
		for name, value := range dynamicConfig(o) {
			if name.String() == key && value != want {
				t.Errorf("it is %v, want %v", value, want)
			}
		}
	}
}
