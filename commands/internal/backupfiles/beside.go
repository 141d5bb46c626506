package backupfiles

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"go.temporal.io/sdk/client"

	"example.com/coffee/internal/exit"
)

// CheckRoom returns an error if a directory has no room for a copy of a backup.
func CheckRoom(ctx context.Context, dir, file string, ledgers []ledgerBeside) error {
	var needed uint64
	for _, one := range append(ledgers, ledgerBeside{File: file}) {
		info, err := os.Stat(one.File)
		if err != nil {
			return err
		}
		needed += uint64(info.Size())
	}
	usage, err := disk.UsageWithContext(ctx, dir)
	if err != nil || usage.Free >= needed {
		return nil // or copying finds out
	}
	return exit.Hinted(fmt.Errorf("%s has room for %d MB, but a copy to verify takes %d MB", filepath.Dir(dir), usage.Free>>20, needed>>20), "name a directory with more room in $TMPDIR")
}

// ledgerBeside is a ledger in a backup.
type ledgerBeside struct{ Namespace, File string }

// LedgersBeside returns the ledgers that coffee backup has put beside a database, sorted by
// namespace. A ledger that the user named belongs to the default one.
func LedgersBeside(file string) (ledgers []ledgerBeside, err error) {
	extension := cmp.Or(filepath.Ext(file), ".db")
	prefix := strings.TrimSuffix(filepath.Base(file), extension) + "-ledger"
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), prefix)
		escaped, isDB := strings.CutSuffix(rest, extension)
		if !ok || !isDB || escaped != "" && !strings.HasPrefix(escaped, "-") {
			continue
		}
		namespace, err := url.PathUnescape(strings.TrimPrefix(escaped, "-"))
		if err != nil || url.PathEscape(namespace) != strings.TrimPrefix(escaped, "-") {
			continue // coffee backup gave it no such name
		}
		ledgers = append(ledgers, ledgerBeside{cmp.Or(namespace, client.DefaultNamespace), filepath.Join(filepath.Dir(file), entry.Name())})
	}
	slices.SortFunc(ledgers, func(a, b ledgerBeside) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.File, b.File))
	})
	return ledgers, nil
}
