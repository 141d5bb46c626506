package devserver

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// upgradeVariable makes TestMain upgrade the database that it names, and nothing else.
const upgradeVariable = "DEVSERVER_TEST_UPGRADE"

// TestMain lets a test upgrade a database in a process that it kills.
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
	os.Exit(m.Run())
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
