package keyservices

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is the path of the command under test.
var program string

// TestMain builds the command once, as it is shipped: with the race detector, as
// in other packages' tests, it would take most of the time to start.
func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "rekey-keyservices-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make folder for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "rekey")
	if err := build(program, nil, tags...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// build makes the command.
func build(to string, env []string, flags ...string) error {
	args := append([]string{"build", "-o", to}, flags...)
	c := exec.Command("go", append(args, "github.com/seed-6133abe0/rekey/cmd/rekey")...)
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program with %s: %w\n%s", strings.Join(flags, " "), err, out)
	}
	return nil
}
