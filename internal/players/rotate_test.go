package players_test

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

// rotated is a media root whose assets were rotated by the program.
type rotated struct {
	dir string
	// old and fresh are the keys in hex, by asset; kids the new KIDs of those under
	// Common Encryption.
	old, fresh, kids map[string]string
}

// rotate lays the assets out, imports their keys and rotates all of them.
func rotate(t *testing.T) *rotated {
	t.Helper()
	dir := t.TempDir()
	r := &rotated{dir: filepath.Join(dir, "media"), old: map[string]string{}, fresh: map[string]string{}, kids: map[string]string{}}
	if err := os.CopyFS(r.dir, os.DirFS("testdata/media")); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "rekey")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/rekey").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	p := program{bin: bin, media: r.dir, master: filepath.Join(dir, "master.key")}
	p.run(t, r.importKeys(t), "keys", "import", "-")
	p.run(t, "", "scan")
	// The clips are short: what little media they have may not prove a key.
	args := []string{"compromise", "--wait", "--handover", "none", "--accept-unproved", "--json", "--reason", "test"}
	var status struct {
		Assets []struct {
			Asset, State, Reason string
			Tracks               []struct {
				NewKID string `json:"new_kid"`
			}
		}
	}
	out := p.run(t, "", append(args, r.keyFlags(t)...)...)
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, a := range status.Assets {
		if a.State != "verified" || len(a.Tracks) == 0 {
			t.Fatalf("asset %s is %s: %s", a.Asset, a.State, a.Reason)
		}
		kid := a.Tracks[0].NewKID
		line := strings.TrimSpace(p.run(t, "", "keys", "export", kid, "--reveal", "--reason", "test"))
		_, r.fresh[a.Asset], _ = strings.Cut(line, ":")
		r.kids[a.Asset] = kid
	}
	if len(r.fresh) != len(r.old) {
		t.Fatalf("%d assets rotated, want %d", len(r.fresh), len(r.old))
	}
	return r
}

// keyLines are asset, KID or key object, and key.
func (r *rotated) keyLines(t *testing.T) [][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "keys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(b)) {
		out = append(out, strings.Fields(line))
	}
	return out
}

func (r *rotated) importKeys(t *testing.T) string {
	var lines strings.Builder
	for _, f := range r.keyLines(t) {
		r.old[f[0]] = f[2]
		if !strings.HasSuffix(f[1], ".bin") {
			fmt.Fprintf(&lines, "%s:%s\n", f[1], f[2])
		}
	}
	return lines.String()
}

func (r *rotated) keyFlags(t *testing.T) (flags []string) {
	for _, f := range r.keyLines(t) {
		if strings.HasSuffix(f[1], ".bin") {
			flags = append(flags, "--key-uri", f[0]+"/"+f[1])
		} else {
			flags = append(flags, "--kid", f[1])
		}
	}
	return flags
}

// program runs rekey.
type program struct{ bin, media, master string }

func (p program) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.bin, append(args, "--media", p.media, "--master-key", p.master)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("rekey %s: %v: %s", args[0], err, &errs)
	}
	return out.String()
}
