package sqlitefile_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"example.com/coffee/internal/sqlitefile"
)

// A file that could not be made whole is not there at all.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "sqlitefile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "some.db")
	err = sqlitefile.Create(path, func(draft string) error {
		return errors.Join(os.WriteFile(draft, []byte("half of"), 0o600), errors.New("disk full"))
	})
	entries, _ := os.ReadDir(dir)
	fmt.Println(err, len(entries))
	// Output:
	// disk full 0
}
