package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the path of the command under test, with the race detector: a race in
// a process that a test started fails that test by its exit code. plain is the same
// without it and without symbols: tests that mostly start processes, or look into
// their memory, take it.
var program, plain string

// TestMain builds the command once.
func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "rekey-endtoend-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make folder for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	program, plain = filepath.Join(dir, "rekey"), filepath.Join(dir, "plain")
	for to, flag := range map[string]string{program: "-race", plain: "-ldflags=-s -w"} {
		build := exec.Command("go", "build", flag, "-o", to, "github.com/seed-6133abe0/rekey/cmd/rekey")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
			return 1
		}
	}
	return run()
}
