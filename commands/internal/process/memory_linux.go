package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

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
	var errs []error
	var begin, end uintptr // of a mapping of the program
	for line := range strings.Lines(string(maps)) {
		// "00400000-04804000 r-xp 00000000 fe:00 10012874  /usr/bin/coffee" begins a
		// mapping. Lines about it follow: "Anonymous:             8 kB".
		line = strings.TrimSuffix(line, "\n")
		if line != "" && !unicode.IsUpper(rune(line[0])) {
			begin, end = 0, 0
			if strings.HasSuffix(line, " "+program) {
				_, err := fmt.Sscanf(line, "%x-%x", &begin, &end)
				errs = append(errs, err)
			}
		}
		// What has been written to is not in the file.
		if size, ok := strings.CutPrefix(line, "Anonymous:"); ok && strings.TrimSpace(size) == "0 kB" && end > begin {
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_DONTNEED); errno != 0 {
				errs = append(errs, os.NewSyscallError("madvise", errno))
			}
		}
	}
	return errors.Join(errs...)
}
