package restoredrill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/fixtures"
)

// The KIDs of the fixtures (fixtures/keys.txt).
const (
	movieVideo  = "6d6f766965000000a1b2c3d4e5f60718"
	sharedAudio = "736861726564000092a4b6c8dae1f305"
	shortVideo  = "73686f727400000013579bdf02468ace"
)

// machine is one installation: a folder with a rekey.yaml, a control prefix and a
// master key. The media is elsewhere, and outlives it.
type machine struct {
	dir, control, media string
	env                 []string
}

func newMachine(t *testing.T, media string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{dir: dir, control: filepath.Join(dir, "control"), media: media}
	config := "media: " + media + "\ncontrol: " + m.control + "\nmaster_key: " + filepath.Join(dir, "master.key") + "\nhandover: none\n"
	m.write(t, "rekey.yaml", []byte(config))
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "REKEY_") && !strings.HasPrefix(v, "PATH=") {
			m.env = append(m.env, v)
		}
	}
	m.env = append(m.env, "PATH="+bin+":"+os.Getenv("PATH"), "REKEY_CONFIG="+filepath.Join(dir, "rekey.yaml"))
	return m
}

// library lays out the fixtures' media.
func library(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "media")
	if err := os.CopyFS(dir, fixtures.Library()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bounded is the longest that one test may take.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 240*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// answer is what one run of the command came to.
type answer struct {
	code           int
	stdout, stderr string
}

func (m *machine) run(t *testing.T, ctx context.Context, stdin, name string, args ...string) answer {
	t.Helper()
	c := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = m.dir, m.env, strings.NewReader(stdin), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return answer{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// try runs the command.
func (m *machine) try(t *testing.T, ctx context.Context, stdin string, args ...string) answer {
	t.Helper()
	return m.run(t, ctx, stdin, filepath.Join(bin, "rekey"), args...)
}

// must runs the command and wants it to succeed.
func (m *machine) must(t *testing.T, ctx context.Context, args ...string) string {
	t.Helper()
	return m.mustWith(t, ctx, "", args...)
}

func (m *machine) mustWith(t *testing.T, ctx context.Context, stdin string, args ...string) string {
	t.Helper()
	a := m.try(t, ctx, stdin, args...)
	if a.code != 0 {
		t.Fatalf("rekey %s: exit %d (context: %v)\n%s%s", strings.Join(args, " "), a.code, ctx.Err(), a.stdout, a.stderr)
	}
	return a.stdout
}

// shell runs a line as it stands in the documentation.
func (m *machine) shell(t *testing.T, ctx context.Context, stdin, line string) answer {
	t.Helper()
	return m.run(t, ctx, stdin, "sh", "-c", line)
}

func (m *machine) write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// likeness is a machine as another one stands, with other files.
func (m *machine) likeness(t *testing.T) *machine {
	t.Helper()
	c := newMachine(t, m.media)
	if err := os.CopyFS(c.control, os.DirFS(m.control)); err != nil {
		t.Fatal(err)
	}
	c.bring(t, m, "master.key")
	return c
}

// bring copies files of another machine.
func (m *machine) bring(t *testing.T, from *machine, names ...string) {
	t.Helper()
	for _, n := range names {
		m.write(t, n, from.read(t, n))
	}
}

// wipe loses the machine.
func (m *machine) wipe(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(m.dir); err != nil {
		t.Fatal(err)
	}
}

// stocked is a machine whose library has its keys, is indexed, and has had a
// rotation; spent are the compromised keys of that.
func stocked(t *testing.T, ctx context.Context) *machine {
	t.Helper()
	m := newMachine(t, library(t))
	m.mustWith(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
	m.must(t, ctx, "scan")
	m.must(t, ctx, "compromise", "--kid", sharedAudio, "--wait", "--reason", "leak")
	return m
}

// store is the SHA-256 of every object of the control prefix, by name.
func (m *machine) store(t *testing.T) map[string][32]byte {
	t.Helper()
	sums := map[string][32]byte{}
	err := filepath.WalkDir(m.control, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == m.control {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(m.control, path)
		sums[filepath.ToSlash(rel)] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// marks are the names of what a restore that is refused, or a check, leaves.
var marks = regexp.MustCompile(`^(audit/(records|heads|streams)|restores/[0-9a-f]{64})/`)

// wantUntouched: every object is what it was, and what is new is a record of the
// audit log or the mark of a code, and nothing else.
func (m *machine) wantUntouched(t *testing.T, what string, was map[string][32]byte) {
	t.Helper()
	is := m.store(t)
	for name, sum := range was {
		if is[name] != sum {
			t.Errorf("%s: %s was changed", what, name)
		}
	}
	for name := range is {
		if _, old := was[name]; !old && !marks.MatchString(name) {
			t.Errorf("%s: %s is new", what, name)
		}
	}
}

var localKEK = regexp.MustCompile(`local:[0-9a-f]+`)

// kek is the KEK in use.
func (m *machine) kek(t *testing.T, ctx context.Context) string {
	t.Helper()
	out := m.must(t, ctx, "kek", "list")
	found := localKEK.FindAllString(out, -1)
	if len(found) != 1 {
		t.Fatalf("want one KEK: %s", out)
	}
	return found[0]
}

// states is what keys list says, by KID.
func (m *machine) states(t *testing.T, ctx context.Context) map[string]string {
	t.Helper()
	lines := decode[[]struct{ KID, State string }](t, m.must(t, ctx, "keys", "list", "--json"))
	got := map[string]string{}
	for _, l := range lines {
		got[l.KID] = l.State
	}
	return got
}

func (m *machine) wantStates(t *testing.T, ctx context.Context, want map[string]string) {
	t.Helper()
	if got := m.states(t, ctx); !maps.Equal(got, want) || len(want) == 0 {
		t.Errorf("keys are %v, want %v", got, want)
	}
}

// wantLibrary: every asset decrypts to what it is, and a key of it can be found
// and rotated again.
func (m *machine) wantLibrary(t *testing.T, ctx context.Context) {
	t.Helper()
	m.must(t, ctx, "scan")
	m.wantVerified(t, ctx)
	m.must(t, ctx, "scope", "--kid", movieVideo)
	m.must(t, ctx, "compromise", "--kid", movieVideo, "--wait", "--reason", "leaked after the restore")
	m.wantVerified(t, ctx)
	if got := m.states(t, ctx)[movieVideo]; got != "compromised" {
		t.Errorf("the rotated key is %s", got)
	}
}

func (m *machine) wantVerified(t *testing.T, ctx context.Context) {
	t.Helper()
	out := m.must(t, ctx, "verify", "movie", "short", "clip", "other")
	if n := strings.Count(out, " 0 problems"); n != 4 {
		t.Errorf("%d of 4 assets verified:\n%s", n, out)
	}
}
