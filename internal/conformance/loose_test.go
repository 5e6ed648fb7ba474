//go:build conformance

package conformance_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// loose rekeys media that no manifest leads to, rendition by rendition, with
// rekey file, and judges it.
func (c *corpusCase) loose(t *testing.T) {
	for i, r := range c.list {
		old := r.bytes(t, c.root)
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		after, newKeys, ok := c.rekeyFile(t, r, dir, old)
		if !ok {
			continue
		}
		if len(old) == len(after) {
			c.lengths++
		}
		c.judgeMP4(t, r, old, after, newKeys)
	}
}

// rekeyFile runs rekey file on a rendition, and gives the new media and keys.
func (c *corpusCase) rekeyFile(t *testing.T, r rendition, dir string, old []byte) (after []byte, newKeys map[key.KID]key.ContentKey, ok bool) {
	t.Helper()
	var lines bytes.Buffer
	for kid, k := range r.keys {
		raw := k.RevealSecretBytes()
		fmt.Fprintf(&lines, "%s:%s\n", kid, hex.EncodeToString(raw[:]))
	}
	in, out, keys, made := filepath.Join(dir, "in.mp4"), filepath.Join(dir, "out.mp4"), filepath.Join(dir, "keys"), filepath.Join(dir, "new")
	for name, b := range map[string][]byte{in: old, keys: lines.Bytes()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), c.bin, "file", in, out, "--keys", keys, "--new-keys", made, "--accept-unproved", "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: rekey file: %v: %s", r.name, err, &stderr)
		return nil, nil, false
	}
	var report struct {
		Verdict  string    `json:"verdict"`
		Kept     []key.KID `json:"kept"`
		LookedAt int64     `json:"looked_at"`
		Log10    float64   `json:"evidence_log10"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%s: rekey file: %v: %s", r.name, err, &stdout)
	}
	if report.Verdict != "right" {
		why := fmt.Sprintf("%s/%s (10^%.1f over %d bytes)", c.name, r.name, report.Log10, report.LookedAt)
		t.Logf("unproved, taken all the same: %s", why)
		c.unproved = append(c.unproved, why)
	}
	if len(report.Kept) > 0 {
		t.Errorf("%s: samples under %v stay", r.name, report.Kept)
	}
	after, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return after, readNewKeys(t, made), true
}

// readNewKeys reads lines KID:KEY.
func readNewKeys(t *testing.T, name string) map[key.KID]key.ContentKey {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[key.KID]key.ContentKey{}
	for line := range bytes.Lines(b) {
		kid, k, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		addKey(t, keys, string(kid), string(k))
	}
	return keys
}
