package services

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SoftHSM is a PKCS#11 token in files, and what a client needs to use it.
type SoftHSM struct {
	Module  string // path of the library
	Config  string // for SOFTHSM2_CONF
	Token   string // label
	PINFile string // of the user's PIN, mode 0600
	PIN     string
}

// The library is no command, so is not found by PATH: where Debian (with the
// architecture's name, too), Fedora and Homebrew put it.
var softHSMModules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/*/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// NewSoftHSM makes a SoftHSM2 with one token, in the test's temporary directory,
// and points this process and those it starts at it for the rest of the test,
// which therefore can't be parallel. The library reads the setting once, at
// C_Initialize: a test that loads it into its own process has to finalize it in
// the end, before another test does the same.
func NewSoftHSM(t testing.TB) SoftHSM {
	t.Helper()
	dir := t.TempDir()
	h := SoftHSM{
		Module:  softHSMModule(t),
		Config:  filepath.Join(dir, "softhsm2.conf"),
		Token:   "rekey test",
		PINFile: filepath.Join(dir, "pin"),
		PIN:     rand.Text(),
	}
	tokens := filepath.Join(dir, "tokens")
	config := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens)
	for _, err := range []error{
		os.Mkdir(tokens, 0o700),
		os.WriteFile(h.Config, []byte(config), 0o600),
		os.WriteFile(h.PINFile, []byte(h.PIN+"\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", h.Config)
	h.AddToken(t, h.Token)
	return h
}

// AddToken makes another token with the same PIN. A process that has loaded the
// library does not see it.
func (h SoftHSM) AddToken(t testing.TB, label string) {
	t.Helper()
	util, err := exec.LookPath("softhsm2-util")
	if err != nil {
		t.Fatalf("package services needs softhsm2-util: run `make tools`: %v", err)
	}
	cmd := exec.Command(util, "--init-token", "--free", "--module", h.Module, "--label", label, "--pin", h.PIN, "--so-pin", rand.Text())
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+h.Config)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a SoftHSM token: %v\n%s", err, out)
	}
}

func softHSMModule(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("REKEY_SOFTHSM"); path != "" {
		return path
	}
	for _, pattern := range softHSMModules {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("package services needs libsofthsm2.so, which is in none of %q: run `make tools`, or set REKEY_SOFTHSM", softHSMModules)
	return ""
}
