// Package layout tests what holds for the whole module: who may import whom, what the
// program is linked from, and that what has to be in several places is in all of them.
// It is a package of its own because the tests of package main would link the Temporal
// server, which takes longer than they do.
package layout

import (
	"os"
	"testing"
)

// TestMain runs the tests in the root of the module.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
