package process

import (
	"errors"
	"fmt"
	"os"
	"regexp"

	"golang.org/x/sys/unix"
)

// ReleaseProgram lets go of the pages of the executable that are in memory. The
// kernel maps those that are needed again. A program of this size touches most of
// itself once, when its packages are initialized.
func ReleaseProgram() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	// "00400000-04804000 r-xp 00000000 fe:00 10012874  /usr/bin/coffee" begins a mapping. Lines
	// about it follow: "Anonymous:             8 kB" would have been written to, and is not in
	// the file.
	clean := regexp.MustCompile(`(?m)^([0-9a-f]+-[0-9a-f]+) .* ` + regexp.QuoteMeta(program) + `\n(?:[A-Z].*\n)*?Anonymous: +0 kB$`)
	var errs []error
	for _, mapping := range clean.FindAllSubmatch(maps, -1) {
		var begin, end uintptr
		_, err := fmt.Sscanf(string(mapping[1]), "%x-%x", &begin, &end)
		if err == nil {
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_DONTNEED); errno != 0 {
				err = os.NewSyscallError("madvise", errno)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
