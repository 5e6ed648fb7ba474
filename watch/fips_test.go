package watch

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestUnderFIPS runs this test binary again with the Go Cryptographic Module
// refusing everything that is not approved: the watching, the metrics as they are
// served, and the webhook over TLS.
func TestUnderFIPS(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"TestCompromisedUnwrap", "TestOriginsSurvive", "TestCheckpoint", "TestKeys", "TestWebhook", "TestRun"}
	cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.run=^("+strings.Join(names, "|")+")$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("under fips140=only: %v\n%s", err, out)
	}
	for _, name := range names {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			t.Errorf("%s did not run", name)
		}
	}
}
