//go:build conformance

package conformance_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/internal/judge"
	"github.com/seed-6133abe0/rekey/key"
)

type status struct {
	Rotation string `json:"rotation"`
	Assets   []struct {
		Asset, State, Object, Reason string
		Tracks                       []struct {
			Track  string  `json:"track"`
			NewKID key.KID `json:"new_kid"`
		}
	}
}

// attempt is one rotation of a fresh copy of an asset.
type attempt struct {
	*corpusCase
	dir, media string
	// before is a copy of the media root as it was, entries its entry playlists.
	before  string
	entries []string
	status  status
	// why is what the program said on its last failure.
	why string
}

// unproved is what the program says where the media does not prove an old key.
const unproved = "the media does not prove the old key"

// asset rotates every key of the folder's asset, and judges it. An asset that
// fails only because its media proves nothing is rotated again as its operator
// would, with the flag that accepts that, and counted.
func (c *corpusCase) asset(t *testing.T, protected bool) {
	a, reason := c.attempt(t)
	if strings.Contains(reason, unproved) {
		t.Logf("unproved, published all the same: %s", reason)
		what, _, _ := strings.Cut(strings.TrimPrefix(reason, "failed: "), "; --accept-unproved")
		c.unproved = append(c.unproved, what)
		a, reason = c.attempt(t, "--accept-unproved")
	}
	if reason != "" {
		// What was published is judged all the same: it tells media that is
		// wrong from a program that only says so.
		t.Error(reason)
		if !protected || !a.published() {
			return
		}
	}
	a.diff(t)
	if protected {
		a.judgeRenditions(t)
		a.sameLengths(t)
		return
	}
	a.judgeHLS(t)
	a.again(t)
}

// published tells whether there are new objects.
func (a *attempt) published() bool {
	_, tree := a.trees()
	_, err := os.Stat(tree)
	return a.status.Rotation != "" && err == nil
}

// attempt rotates a copy of the asset. It returns why that failed.
func (c *corpusCase) attempt(t *testing.T, flags ...string) (a *attempt, failure string) {
	t.Helper()
	a = &attempt{corpusCase: c, dir: t.TempDir()}
	a.media = filepath.Join(a.dir, "media")
	if err := os.CopyFS(filepath.Join(a.media, c.name), os.DirFS(c.root)); err != nil {
		t.Fatal(err)
	}
	a.before = filepath.Join(a.dir, "before")
	judge.CopyTree(t, a.before, a.media)
	a.entries = judge.Entries(t, a.media, a.name)
	args := append([]string{"compromise", "--wait", "--handover", "none", "--json"}, flags...)
	args = append(args, a.importKeys(t)...)
	a.rekey(t, 0, nil, "scan")
	return a, a.rotate(t, args)
}

// rotate runs compromise. It returns why not every asset was verified.
func (a *attempt) rotate(t *testing.T, args []string) (failure string) {
	t.Helper()
	a.status, a.why = status{}, ""
	code := a.rekey(t, -1, &a.status, args...)
	if len(a.status.Assets) == 0 {
		return fmt.Sprintf("compromise: exit %d and no assets: %s", code, a.why)
	}
	for _, x := range a.status.Assets {
		if x.State != "verified" {
			return fmt.Sprintf("%s: %s: %s", x.State, x.Object, x.Reason)
		}
	}
	if code != 0 {
		return fmt.Sprintf("compromise: exit %d: %s", code, a.why)
	}
	return ""
}

// importKeys imports the folder's keys and returns the flags that name them.
func (a *attempt) importKeys(t *testing.T) []string {
	var lines bytes.Buffer
	var flags []string
	for _, uri := range a.uris {
		flags = append(flags, "--key-uri", path.Join(a.name, uri))
	}
	for kid, k := range a.keys {
		raw := k.RevealSecretBytes()
		fmt.Fprintf(&lines, "%s:%s\n", kid, hex.EncodeToString(raw[:]))
		flags = append(flags, "--kid", kid.String())
	}
	if lines.Len() > 0 {
		name := filepath.Join(a.dir, "keys.txt")
		if err := os.WriteFile(name, lines.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		a.rekey(t, 0, nil, "keys", "import", name)
	}
	return flags
}

// rekey runs the program; want -1 takes any exit code.
func (a *attempt) rekey(t *testing.T, want int, into any, args ...string) int {
	t.Helper()
	args = append(args, "--media", a.media, "--master-key", filepath.Join(a.dir, "master.key"))
	cmd := exec.CommandContext(t.Context(), a.bin, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	code := cmd.ProcessState.ExitCode()
	if want >= 0 && code != want {
		t.Fatalf("rekey %s: exit %d: %s", args[0], code, &errs)
	}
	if into != nil && out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			t.Fatalf("rekey %s: %v: %s", args[0], err, &out)
		}
	}
	if code != 0 {
		a.why = fmt.Sprintf("exit %d: %s", code, strings.TrimSpace(errs.String()))
	}
	return code
}

// trees are where the asset's originals and its rekeyed objects are.
func (a *attempt) trees() (old, after string) {
	old = filepath.Join(a.media, a.name)
	return old, filepath.Join(old, "_rekey", a.status.Rotation)
}

// judgeRenditions compares what the rotated MP4 decrypts to with the digests.
func (a *attempt) judgeRenditions(t *testing.T) {
	t.Helper()
	keys := a.newKeys(t)
	old, after := a.trees()
	for _, r := range a.list {
		a.judgeMP4(t, r, r.bytes(t, old), r.bytes(t, after), keys)
	}
}

// newKeys exports the new keys of the rotation.
func (a *attempt) newKeys(t *testing.T) map[key.KID]key.ContentKey {
	t.Helper()
	keys := map[key.KID]key.ContentKey{}
	for _, x := range a.status.Assets {
		for _, tr := range x.Tracks {
			if _, ok := keys[tr.NewKID]; ok {
				continue
			}
			out, err := exec.CommandContext(t.Context(), a.bin, "keys", "export", tr.NewKID.String(), "--reveal", "--reason", "conformance",
				"--media", a.media, "--master-key", filepath.Join(a.dir, "master.key")).Output()
			if err != nil {
				t.Fatal(err)
			}
			kid, k, _ := strings.Cut(strings.TrimSpace(string(out)), ":")
			addKey(t, keys, kid, k)
		}
	}
	if len(keys) == 0 {
		t.Fatalf("no new keys in %+v", a.status)
	}
	return keys
}

// sameLengths: no media object of the new tree has another length than it had,
// and none that is protected is missing there.
func (a *attempt) sameLengths(t *testing.T) {
	t.Helper()
	old, after := a.trees()
	objects, protected := a.mp4Objects(t)
	for _, rel := range objects {
		was, err := os.Stat(filepath.Join(old, rel))
		if err != nil {
			t.Fatal(err)
		}
		is, err := os.Stat(filepath.Join(after, rel))
		switch {
		case err != nil && !protected[rel] && !protected[filepath.Dir(rel)]:
			// Clear media stays where it is.
		case err != nil:
			t.Errorf("%s has no new object: %v", rel, err)
		case is.Size() != was.Size():
			t.Errorf("%s: %d bytes became %d", rel, was.Size(), is.Size())
		default:
			a.lengths++
		}
	}
}

// mp4Objects lists the MP4 of the folder, and says which of it is protected: a
// file, by its moov, or all of the folder of an init section.
func (a *attempt) mp4Objects(t *testing.T) (objects []string, protected map[string]bool) {
	t.Helper()
	protected = map[string]bool{}
	err := filepath.WalkDir(a.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || isManifest(name) {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil || !judge.IsMP4(b) {
			return err
		}
		rel, err := filepath.Rel(a.root, name)
		objects = append(objects, rel)
		if judge.Protected(b) {
			protected[rel] = true
			if len(judge.Payload(b)) == 0 {
				protected[filepath.Dir(rel)] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects, protected
}
