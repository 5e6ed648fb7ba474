//go:build conformance

package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/internal/judge"
	"github.com/seed-6133abe0/rekey/key"
)

// keysFile is keys.json of a corpus folder.
type keysFile struct {
	Keys []struct {
		KID string `json:"kid"`
		URI string `json:"uri"`
		Key string `json:"key"`
	} `json:"keys"`
}

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

func TestCorpus(t *testing.T) {
	corpus := os.Getenv("REKEY_CORPUS")
	if corpus == "" {
		t.Fatal("no corpus: make conformance CORPUS=dir")
	}
	folders, err := filepath.Glob(filepath.Join(corpus, "*", "keys.json"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%s holds no */keys.json: %v", corpus, err)
	}
	bin := filepath.Join(t.TempDir(), "rekey")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/rekey").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	var passed, refused []string
	for _, keys := range folders {
		folder := filepath.Dir(keys)
		name := filepath.Base(folder)
		t.Run(name, func(t *testing.T) {
			c := &corpusCase{bin: bin, folder: folder, dir: t.TempDir(), name: name}
			why := c.run(t)
			if why == "" {
				passed = append(passed, name)
				return
			}
			t.Logf("refused: %s", why)
			refused = append(refused, name)
		})
	}
	t.Logf("%d passed: %s", len(passed), strings.Join(passed, " "))
	t.Logf("%d refused by name, untouched: %s", len(refused), strings.Join(refused, " "))
	if len(passed) == 0 {
		t.Error("nothing passed")
	}
}

type corpusCase struct {
	bin, folder, dir, name string
	// why is what the program said on its last failure.
	why string
}

// run rotates every key of the folder's asset; it returns why the asset was
// refused, or nothing where it was rotated and judged.
func (c *corpusCase) run(t *testing.T) string {
	media := filepath.Join(c.dir, "media")
	enc := filepath.Join(c.folder, "enc")
	if _, err := os.Stat(enc); err != nil {
		// A folder of loose files.
		enc = c.folder
	}
	if err := os.CopyFS(filepath.Join(media, c.name), os.DirFS(enc)); err != nil {
		t.Fatal(err)
	}
	before := judge.Tree(t, media)
	args := c.keys(t)
	c.rekey(t, 0, nil, "scan")
	args = append([]string{"compromise", "--wait", "--handover", "none", "--json"}, args...)
	var s status
	code := c.rekey(t, -1, &s, args...)
	if code == 3 || code == 1 && strings.Contains(c.why, `"class":"unknown"`) {
		same(t, before, judge.Tree(t, media))
		return c.why
	}
	if code != 0 && code != 4 {
		t.Fatalf("compromise: exit %d", code)
	}
	if len(s.Assets) == 0 {
		t.Fatalf("compromise: exit %d and no assets", code)
	}
	for _, a := range s.Assets {
		switch a.State {
		case "refused":
			if a.Object == "" || a.Reason == "" {
				t.Errorf("%s is refused without object or reason", a.Asset)
			}
			same(t, before, judge.Tree(t, media))
			return a.Object + ": " + a.Reason
		case "verified":
		default:
			t.Fatalf("%s is %s: %s: %s", a.Asset, a.State, a.Object, a.Reason)
		}
	}
	c.judge(t, media, s)
	return ""
}

// keys imports the folder's keys and returns the flags that name them.
func (c *corpusCase) keys(t *testing.T) []string {
	b, err := os.ReadFile(filepath.Join(c.folder, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f keysFile
	if err := json.Unmarshal(b, &f); err != nil {
		return c.looseKeys(t, b)
	}
	var lines bytes.Buffer
	var flags []string
	for _, k := range f.Keys {
		if k.KID == "" {
			flags = append(flags, "--key-uri", path.Join(c.name, k.URI))
			continue
		}
		fmt.Fprintf(&lines, "%s:%s\n", k.KID, k.Key)
		flags = append(flags, "--kid", k.KID)
	}
	if lines.Len() > 0 {
		name := filepath.Join(c.dir, "keys.txt")
		if err := os.WriteFile(name, lines.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		c.rekey(t, 0, nil, "keys", "import", name)
	}
	return flags
}

// looseKeys names the KIDs of a folder that lists files, each with its keys.
func (c *corpusCase) looseKeys(t *testing.T, b []byte) []string {
	var list []struct {
		KID []string `json:"kid"`
	}
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		t.Fatalf("keys.json: %v", err)
	}
	var flags []string
	for _, l := range list {
		for _, kid := range l.KID {
			flags = append(flags, "--kid", kid)
		}
	}
	return flags
}

// rekey runs the program; want -1 takes any exit code.
func (c *corpusCase) rekey(t *testing.T, want int, into any, args ...string) int {
	t.Helper()
	args = append(args, "--media", filepath.Join(c.dir, "media"), "--master-key", filepath.Join(c.dir, "master.key"))
	cmd := exec.CommandContext(t.Context(), c.bin, args...)
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
		c.why = fmt.Sprintf("exit %d: %s", code, strings.TrimSpace(errs.String()))
	}
	return code
}

func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for k, v := range before {
		if after[k] != v {
			t.Errorf("%s changed", k)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d objects, were %d", len(after), len(before))
	}
}

// judge compares what the rotated asset decrypts to, by other programs, with
// the corpus's digests.
func (c *corpusCase) judge(t *testing.T, media string, s status) {
	root := filepath.Join(media, c.name)
	tree := filepath.Join(root, "_rekey", s.Rotation)
	b, err := os.ReadFile(filepath.Join(c.folder, "clear.streams"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		what, hash, _ := strings.Cut(strings.TrimSpace(line), "\t")
		want[what] = append(want[what], hash)
	}
	if len(want) == 0 {
		t.Fatal("clear.streams is empty")
	}
	playlists := tree
	if _, err := os.Stat(filepath.Join(root, "stream.m3u8")); err == nil {
		// A lone media playlist is an entry: it stays where it was.
		playlists = root
	}
	if n := c.segments(t, playlists); n > 0 {
		t.Logf("%d AES-128 segments compared with their clear bytes", n)
	}
	for what, hashes := range want {
		var got []string
		if strings.HasSuffix(what, ".m3u8") {
			// An entry playlist stays where it was, one below moves.
			name := filepath.Join(tree, what)
			if _, err := os.Stat(name); err != nil {
				name = filepath.Join(root, what)
			}
			got = judge.Playlist(t, name)
		} else {
			initFile, glob, _ := strings.Cut(what, "+")
			segments := files(t, filepath.Join(tree, filepath.Dir(initFile), glob))
			got = judge.Streams(t, c.newKey(t, s, path.Join(c.name, initFile)), append([]string{filepath.Join(tree, initFile)}, segments...)...)
		}
		if !slices.Equal(got, hashes) {
			t.Errorf("%s: FFmpeg reads %q, want %q", what, got, hashes)
		}
	}
}

// files are the files of a glob, in the order of their numbers.
func files(t *testing.T, glob string) []string {
	t.Helper()
	names, err := filepath.Glob(glob)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s matches nothing: %v", glob, err)
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names
}

// newKey exports the new key of a track.
func (c *corpusCase) newKey(t *testing.T, s status, track string) string {
	t.Helper()
	for _, a := range s.Assets {
		for _, tr := range a.Tracks {
			if tr.Track != track {
				continue
			}
			out, err := exec.CommandContext(t.Context(), c.bin, "keys", "export", tr.NewKID.String(), "--reveal", "--reason", "conformance",
				"--media", filepath.Join(c.dir, "media"), "--master-key", filepath.Join(c.dir, "master.key")).Output()
			if err != nil {
				t.Fatal(err)
			}
			_, k, _ := strings.Cut(strings.TrimSpace(string(out)), ":")
			return k
		}
	}
	t.Fatalf("no track %s in %+v", track, s)
	return ""
}
