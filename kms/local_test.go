package kms_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/kmstest"
)

func primary(t *testing.T, path string) string {
	t.Helper()
	kek, err := kms.NewLocal(kms.LocalOptions{Path: path}).Primary(t.Context())
	if err != nil {
		t.Fatalf("Primary: %v", err)
	}
	return kek
}

func TestLocalConforms(t *testing.T) {
	for name, ask := range map[string]func(string, bool) ([]byte, error){
		"Clear":  nil,
		"Sealed": func(string, bool) ([]byte, error) { return []byte("correct horse battery"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			var later time.Duration
			path := filepath.Join(t.TempDir(), "master")
			kmstest.Run(t, kmstest.Target{
				Open: func(*testing.T) kms.Provider {
					return kms.NewLocal(kms.LocalOptions{
						Path: path, Passphrase: ask,
						Clock: func() time.Time { return time.Now().Add(later) },
					})
				},
				Later: func(d time.Duration) { later += d },
			})
		})
	}
}

// TestLocalUnderFIPS runs this test binary again with the Go Cryptographic
// Module refusing everything that is not approved.
func TestLocalUnderFIPS(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestLocal", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestLocalConforms/Sealed/RoundTrip")) {
		t.Fatalf("under fips140=only: %v\n%s", err, out)
	}
}

func TestLocalMasterFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "deep", "master")
	id := primary(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "rekey-master-key-v1 " + id + " "; !strings.HasPrefix(string(b), want) || bytes.Count(b, []byte("\n")) != 1 || b[len(b)-1] != '\n' {
		t.Errorf("file is not one line beginning with %q", want)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files beside the master key, %v", len(left)-1, err)
	}
	if after := primary(t, path); after != id {
		t.Errorf("opened again: %s, was %s", after, id)
	}
	if err := os.WriteFile(path, bytes.TrimSuffix(b, []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := primary(t, path); after != id {
		t.Errorf("without a last line feed: %s, was %s", after, id)
	}
}

func TestLocalRefusesMasterFile(t *testing.T) {
	good := filepath.Join(t.TempDir(), "master")
	primary(t, good)
	line, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	digits := line[len(line)-65 : len(line)-1]
	flipped := bytes.Clone(line)
	flipped[len(flipped)-2] = map[bool]byte{true: '1', false: '0'}[flipped[len(flipped)-2] == '0']
	tests := []struct {
		name string
		file []byte
		mode os.FileMode
	}{
		{"empty", nil, 0o600},
		{"raw bytes", bytes.Repeat([]byte{7}, 32), 0o600},
		{"bare hex", append(bytes.Clone(digits), '\n'), 0o600},
		{"cut", line[:len(line)-3], 0o600},
		{"longer", append(bytes.Clone(line), 'x'), 0o600},
		{"two lines", append(bytes.Clone(line), line...), 0o600},
		{"digit changed", flipped, 0o600},
		{"other version", bytes.Replace(line, []byte("-v1 "), []byte("-v2 "), 1), 0o600},
		{"not hex", bytes.Replace(line, digits, bytes.Repeat([]byte("z"), 64), 1), 0o600},
		{"group may read", line, 0o640},
		{"others may read", line, 0o604},
		{"others may write", line, 0o602},
		{"group may execute", line, 0o610},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master")
			if err := os.WriteFile(path, tt.file, tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := kms.NewLocal(kms.LocalOptions{Path: path}).Primary(t.Context())
			if !errors.Is(err, kms.ErrMasterFile) {
				t.Fatalf("Primary: %v, want ErrMasterFile", err)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			if len(tt.file) > 40 && strings.Contains(err.Error(), string(digits[:8])) {
				t.Error("the error shows the key")
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, tt.file) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestLocalRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := kms.NewLocal(kms.LocalOptions{Path: dir}).Primary(t.Context()); !errors.Is(err, kms.ErrMasterFile) {
		t.Errorf("a directory: %v, want ErrMasterFile", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kms.NewLocal(kms.LocalOptions{Path: fifo}).Primary(t.Context()); !errors.Is(err, kms.ErrMasterFile) {
		t.Errorf("a FIFO: %v, want ErrMasterFile", err)
	}
}

// TestLocalFirstUseRace: many processes may come first; one master key wins.
func TestLocalFirstUseRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "master")
	var wg sync.WaitGroup
	ids := make([]string, 16)
	for i := range ids {
		wg.Go(func() {
			id, err := kms.NewLocal(kms.LocalOptions{Path: path}).Primary(t.Context())
			if err != nil {
				t.Errorf("Primary: %v", err)
				return
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two KEKs: %s and %s", ids[0], id)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files in the directory, %v; want the master key only", len(left), err)
	}
}

// TestLocalPrintsNothing: no formatting, logging or marshalling path shows the
// wrap key, whose expanded form is inside.
func TestLocalPrintsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	l := kms.NewLocal(kms.LocalOptions{Path: path})
	if _, err := l.Primary(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "local:" + path
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, l); got != want {
			t.Errorf("%s printed %d characters, want the path only", verb, len(got))
		}
	}
	if b, err := json.Marshal(l); err != nil || string(b) != "{}" {
		t.Errorf("JSON: %s, %v", b, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("opened", "kek", l)
	if !strings.Contains(log.String(), `"kek":"`+want+`"`) {
		t.Errorf("slog: %s", log.String())
	}
}

// TestLocalVectors: a file and a wrapped key that were written once must open
// for ever. The expected bytes come from an independent implementation
// (testdata/README.md says how).
func TestLocalVectors(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("testdata", "master"))
	if err != nil {
		t.Fatal(err)
	}
	// A checkout does not keep mode 0600.
	path := filepath.Join(t.TempDir(), "master")
	if err := os.WriteFile(path, src, 0o600); err != nil {
		t.Fatal(err)
	}
	l := kms.NewLocal(kms.LocalOptions{Path: path})
	text, err := os.ReadFile(filepath.Join("testdata", "wrapped.hex"))
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	kid, err := key.ParseKID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	want, err := key.ParseContentKey("0f1e2d3c4b5a69788796a5b4c3d2e1f0")
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Unwrap(t.Context(), primary(t, path), kid, wrapped)
	if err != nil || !got.Equal(want) {
		t.Errorf("the wrapped key of testdata does not open: %v", err)
	}
}
