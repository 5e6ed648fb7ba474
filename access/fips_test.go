package access

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

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
	cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.run=^(TestTokenLife|TestApproval|TestForgedApprovals|TestApprovalsGuard)$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("under fips140=only: %v\n%s", err, out)
	}
	for _, name := range []string{"TestTokenLife", "TestApproval", "TestForgedApprovals", "TestApprovalsGuard"} {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			t.Errorf("%s did not run", name)
		}
	}
}
