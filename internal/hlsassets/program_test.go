package hlsassets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is the path of the command under test.
var program string

func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "rekey-hlsassets-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make folder for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "rekey")
	build := exec.Command("go", "build", "-o", program, "github.com/seed-6133abe0/rekey/cmd/rekey")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return run()
}

// library is a media root on disk, with its control root beside it.
type library struct{ dir, media string }

// status is what the program prints of a rotation.
type status struct {
	Rotation string
	Assets   []struct {
		Asset, State, Object, Reason string
		Tracks                       []struct {
			Track  string
			OldKID string `json:"old_kid"`
			NewKID string `json:"new_kid"`
		}
	}
}

// rekey runs the program and returns what it printed; it must succeed.
func (l library) rekey(t *testing.T, stdin string, args ...string) []byte {
	t.Helper()
	out, err := l.run(t, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l library) run(t *testing.T, stdin string, args ...string) ([]byte, error) {
	t.Helper()
	args = append(args, "--media", l.media, "--master-key", filepath.Join(l.dir, "master.key"), "--config", filepath.Join(l.dir, "rekey.yaml"))
	c := exec.CommandContext(t.Context(), program, args...)
	c.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("rekey %s: %w: %s", args[0], err, &errs)
	}
	return out.Bytes(), nil
}

// compromise rotates keys named by flags; every asset must be verified.
func (l library) compromise(t *testing.T, flags []string) (s status) {
	t.Helper()
	out, err := l.run(t, "", append([]string{"compromise", "--wait", "--handover", "none", "--reason", "test", "--json"}, flags...)...)
	if bad := json.Unmarshal(out, &s); bad != nil {
		t.Fatalf("compromise printed %q: %v, %v", out, bad, err)
	}
	for _, a := range s.Assets {
		if a.State != "verified" {
			t.Errorf("%s is %s: %s: %s", a.Asset, a.State, a.Object, a.Reason)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// export is a content key in hex.
func (l library) export(t *testing.T, kid string) string {
	t.Helper()
	_, k, _ := strings.Cut(strings.TrimSpace(string(l.rekey(t, "", "keys", "export", kid, "--reveal", "--reason", "test"))), ":")
	return k
}
