package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestSigner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "audit.key")
	s, err := CreateSigner(path, "audit.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateSigner(path, "audit.example"); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	again, err := OpenOrCreateSigner(path, "other")
	if err != nil || again.VerifierKey() != s.VerifierKey() {
		t.Errorf("opened %v (%v)", again, err)
	}
	skey, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := string(skey[strings.LastIndexByte(string(skey), '+')+1 : len(skey)-1])
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		if strings.Contains(fmt.Sprintf(form, s), secret) {
			t.Errorf("%s shows the key", form)
		}
	}
	if _, err := note.NewVerifier(s.VerifierKey()); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSigner(path); !errors.Is(err, ErrSigner) {
		t.Errorf("mode 0640: %v", err)
	}
	writeFile(t, filepath.Dir(path), "bad", append([]byte("x"), skey...))
	if _, err := OpenSigner(filepath.Join(filepath.Dir(path), "bad")); !errors.Is(err, ErrSigner) || strings.Contains(err.Error(), secret) {
		t.Errorf("a damaged one: %v", err)
	}
	if _, err := CreateSigner(filepath.Join(t.TempDir(), "k"), "two words"); !errors.Is(err, ErrSigner) {
		t.Errorf("bad name: %v", err)
	}
}

// TestUnderFIPS runs this test binary again with the Go Cryptographic Module
// refusing everything that is not approved.
func TestUnderFIPS(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^(TestFold|TestSigner|TestSigner|TestAppend.*)$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"TestFold", "TestSigner", "TestAppendAndRead"} {
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+want+" ")) {
			t.Fatalf("%s under fips140=only: %v\n%s", want, err, out)
		}
	}
}
