package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

const (
	oldPair = "00000000000000000000000000000001:000102030405060708090a0b0c0d0e0f"
	newPair = "00000000000000000000000000000002:101112131415161718191a1b1c1d1e1f"
)

// fakeMedia turns every bit of its file, a window at a time.
type fakeMedia struct {
	src    io.ReaderAt
	size   int64
	kids   []key.KID
	check  evidence.Verdict
	result mediaResult
	err    error        // in place of the last window
	window func(at int) // before each is written
	ivs    []uint64
}

const fakeWindow = 1 << 10

func (m *fakeMedia) open(_ string, src io.ReaderAt, size int64) (media, error) {
	m.src, m.size = src, size
	return m, nil
}

func (m *fakeMedia) KIDs() ([]key.KID, error)                          { return m.kids, nil }
func (m *fakeMedia) CheckKey(key.KID, key.ContentKey) evidence.Verdict { return m.check }

func (m *fakeMedia) Rekey(out io.Writer, ivs uint64, _ key.Changes, progress func(int64)) (mediaResult, error) {
	m.ivs = append(m.ivs, ivs)
	for off := int64(0); off < m.size; off += fakeWindow {
		b := make([]byte, min(fakeWindow, m.size-off))
		if _, err := m.src.ReadAt(b, off); err != nil {
			return mediaResult{}, err
		}
		if m.window != nil {
			m.window(int(off / fakeWindow))
		}
		if m.err != nil && off+fakeWindow >= m.size {
			return mediaResult{}, m.err
		}
		if _, err := out.Write(turned(b)); err != nil {
			return mediaResult{}, errors.New("a writer's error, not wrapped")
		}
		progress(off + int64(len(b)))
	}
	return m.result, nil
}

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

// fileBench is a run of rekey file over a fake.
type fileBench struct {
	*fakeMedia
	app            app
	dir            string
	stdout, stderr bytes.Buffer
	o              fileOptions
	content        []byte
}

func newFileBench(t *testing.T) *fileBench {
	t.Helper()
	kid, err := key.ParseKID(oldPair[:32])
	if err != nil {
		t.Fatal(err)
	}
	b := &fileBench{dir: t.TempDir(), content: bytes.Repeat([]byte("sixteen bytes or"), 300)}
	b.fakeMedia = &fakeMedia{kids: []key.KID{kid}, result: mediaResult{
		Samples: 7, Protected: 4000, Evidence: evidence.Evidence{ForLog10: -40, Bytes: 3000},
	}}
	b.app = app{stdin: strings.NewReader(""), stdout: &b.stdout, stderr: &b.stderr}
	b.o = fileOptions{in: b.path("in.mp4"), out: b.path("out.mp4"), keys: b.path("keys")}
	b.put(t, "in.mp4", string(b.content))
	b.put(t, "keys", oldPair+" "+newPair+"\n")
	return b
}

func (b *fileBench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *fileBench) put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (b *fileBench) run(ctx context.Context) error { return b.app.file(ctx, b.open, b.o) }

// wantFiles says what must be in the directory, and nothing else.
func (b *fileBench) wantFiles(t *testing.T, names ...string) {
	t.Helper()
	list, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("files %v, want %v", got, names)
	}
}

func (b *fileBench) wantOut(t *testing.T, name string) {
	t.Helper()
	got, err := os.ReadFile(b.path(name))
	if err != nil || !bytes.Equal(got, turned(b.content)) {
		t.Errorf("%s: %v, or other bytes", name, err)
	}
}

func TestFile(t *testing.T) {
	b := newFileBench(t)
	b.result.Kept = []key.KID{{15: 9}}
	b.result.NotUpdated = []string{"Marlin"}
	b.result.Findings = []cenc.Finding{{Code: cenc.FindingIVReuse, Sample: 3, Count: 2, Reason: "twice"}}
	b.put(t, "keys", oldPair+" "+newPair+"\n00000000000000000000000000000003:ff0102030405060708090a0b0c0d0e0f "+newPair)
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantFiles(t, "in.mp4", "keys", "out.mp4")
	b.wantOut(t, "out.mp4")
	if s, err := os.Stat(b.o.out); err != nil || s.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want IN's 0640", s.Mode(), err)
	}
	for _, want := range []string{
		"7 samples, 4000 bytes rekeyed; old key right (miss probability 1e-40 over 3000 bytes)",
		"KID 00000000000000000000000000000001 is now 00000000000000000000000000000002",
		"under KID 00000000000000000000000000000009 stay", "no sample is under KID 00000000000000000000000000000003",
		"Marlin stays", "iv-reuse from sample 3, 2 samples: twice",
	} {
		if !strings.Contains(b.stdout.String(), want) {
			t.Errorf("no %q in:\n%s", want, &b.stdout)
		}
	}
	if b.stderr.Len() > 0 {
		t.Errorf("stderr: %s", &b.stderr)
	}
}

func TestFileJSON(t *testing.T) {
	for _, out := range []string{"out.mp4", "-"} {
		b := newFileBench(t)
		b.app.flags.json, b.o.progress = true, true
		if b.o.out = out; out != "-" {
			b.o.out = b.path(out)
		}
		if err := b.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		said := b.stdout.String()
		if out == "-" {
			said = b.stderr.String()
			if !bytes.Equal(b.stdout.Bytes(), turned(b.content)) {
				t.Error("stdout is not the media")
			}
		}
		want := `{"in":"` + b.o.in + `","out":"` + b.o.out + `","samples":7,"protected":4000,"verdict":"right","evidence_log10":-40,"looked_at":3000,` +
			`"kids":[{"old":"00000000000000000000000000000001","new":"00000000000000000000000000000002"}],"kept":[],"not_updated":[],"findings":[],"unused":[]}` + "\n"
		if said != want {
			t.Errorf("OUT %s: got  %swant %s", out, said, want)
		}
	}
}

func TestFileQuiet(t *testing.T) {
	b := newFileBench(t)
	b.o.quiet, b.o.progress = true, true
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.stdout.Len()+b.stderr.Len() > 0 {
		t.Errorf("said %s%s", &b.stdout, &b.stderr)
	}
}

// Whatever fails leaves neither OUT nor new keys, and an OUT that stood stands.
func TestFileFailures(t *testing.T) {
	malformed := &cenc.Error{Object: "in.mp4", Box: "moof", Offset: 7, Reason: "short", Class: cenc.ErrMalformed}
	for name, tc := range map[string]struct {
		set   func(*fileBench)
		class error
		code  int
		word  string
	}{
		"rekey":        {func(b *fileBench) { b.err = malformed }, cenc.ErrMalformed, exitFailed, "malformed"},
		"unproved":     {func(b *fileBench) { b.result.Evidence.ForLog10 = -3 }, errUnproved, exitFailed, "unproved"},
		"wrong":        {func(b *fileBench) { b.result.Evidence.Against = 1 }, cenc.ErrWrongKey, exitFailed, "wrong-key"},
		"check value":  {func(b *fileBench) { b.check = evidence.Wrong }, cenc.ErrWrongKey, exitFailed, "wrong-key"},
		"no such KID":  {func(b *fileBench) { b.kids = []key.KID{{1}} }, errNoUse, exitNothing, "nothing"},
		"no sample":    {func(b *fileBench) { b.result.Samples = 0 }, errNoUse, exitNothing, "nothing"},
		"short":        {func(b *fileBench) { b.window = func(at int) { b.size = 2 * fakeWindow } }, nil, exitFailed, "failed"},
		"IN rewritten": {func(b *fileBench) { b.window = func(int) { _ = os.Chtimes(b.o.in, time.Time{}, time.Unix(1, 0)) } }, nil, exitFailed, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFileBench(t)
			b.put(t, "keys", oldPair)
			b.put(t, "out.mp4", "what stood")
			b.o.newKeys, b.o.force = b.path("new"), true
			tc.set(b)
			err := b.run(t.Context())
			if err == nil || tc.class != nil && !errors.Is(err, tc.class) {
				t.Fatalf("%v, want %v", err, tc.class)
			}
			if exitCode(err) != tc.code || className(err) != tc.word {
				t.Errorf("exit %d, class %q; want %d, %q", exitCode(err), className(err), tc.code, tc.word)
			}
			b.wantFiles(t, "in.mp4", "keys", "out.mp4")
			if got, err := os.ReadFile(b.o.out); err != nil || string(got) != "what stood" {
				t.Errorf("OUT is %q, %v", got, err)
			}
		})
	}
}

// New keys outlive a failure where bytes under them are out.
func TestFileStreamFailure(t *testing.T) {
	b := newFileBench(t)
	b.put(t, "keys", oldPair)
	b.o.out, b.o.newKeys = "-", b.path("new")
	b.result.Evidence.ForLog10 = 0
	err := b.run(t.Context())
	if !errors.Is(err, errUnproved) || !strings.Contains(err.Error(), "out already") {
		t.Fatalf("%v, want errUnproved that says so", err)
	}
	b.wantFiles(t, "in.mp4", "keys", "new")
}

func TestFileAccepted(t *testing.T) {
	for name, set := range map[string]func(*fileBench){
		"undecided": func(b *fileBench) { b.o.acceptUnproved = true },
		"right":     func(b *fileBench) { b.check = evidence.Right },
	} {
		b := newFileBench(t)
		b.result.Evidence.ForLog10 = -2
		set(b)
		if err := b.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.stdout.String(), "old key "+name+" (miss probability 0.01 over 3000 bytes") {
			t.Errorf("%s: %s", name, &b.stdout)
		}
	}
}

func TestFileMintsKeys(t *testing.T) {
	b := newFileBench(t)
	b.put(t, "keys", "# one given, one made, one made for nothing\n"+oldPair+"\n00000000000000000000000000000003:ff0102030405060708090a0b0c0d0e0f\n"+
		"00000000000000000000000000000004:ff0102030405060708090a0b0c0d0e0f "+newPair)
	b.o.newKeys = b.path("new")
	b.window = func(at int) {
		// The keys are there before a byte is.
		if got, err := os.ReadFile(b.path("new")); err != nil || bytes.Count(got, []byte("\n")) != 3 {
			t.Errorf("window %d: new keys %q, %v", at, got, err)
		}
	}
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(b.path("new"))
	if err != nil || !regexp.MustCompile(`^([0-9a-f]{32}:[0-9a-f]{32}\n){2}`+newPair+"\n$").Match(got) {
		t.Errorf("new keys %q, %v", got, err)
	}
	if s, err := os.Stat(b.path("new")); err != nil || s.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", s.Mode(), err)
	}
	if strings.Contains(b.stdout.String(), string(got[33:65])) {
		t.Error("a new key is printed")
	}
	b.wantFiles(t, "in.mp4", "keys", "new", "out.mp4")
}

// A new KID that the media has already would use its key with two sets of IVs.
func TestFileNewKIDThere(t *testing.T) {
	b := newFileBench(t)
	b.kids = append(b.kids, key.KID{15: 2})
	if err := b.run(t.Context()); err == nil || className(err) != "syntax" || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("%v, want a syntax error of line 1", err)
	}
	b.wantFiles(t, "in.mp4", "keys")
}

func TestFileIVs(t *testing.T) {
	b := newFileBench(t)
	b.o.force = true
	for _, ivs := range []string{"", "", "5/7"} {
		b.o.ivs = ivs
		if err := b.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.fakeMedia.ivs; got[0] == got[1] || got[2] != 5<<48|7<<24 {
		t.Errorf("IVs begin at %x", got)
	}
}

// In place of itself, with --force.
func TestFileOverIN(t *testing.T) {
	b := newFileBench(t)
	b.o.out = b.path("./in.mp4")
	if err := b.run(t.Context()); !errors.Is(err, errUsage) {
		t.Fatalf("%v, want errUsage", err)
	}
	b.o.force = true
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantFiles(t, "in.mp4", "keys")
	b.wantOut(t, "in.mp4")
}

// The name that was free when we looked is taken when we are done.
func TestFileTakenMeanwhile(t *testing.T) {
	b := newFileBench(t)
	b.window = func(int) { b.put(t, "out.mp4", "another's") }
	if err := b.run(t.Context()); !errors.Is(err, fs.ErrExist) || className(err) != "exists" {
		t.Fatalf("%v, want fs.ErrExist", err)
	}
	if got, err := os.ReadFile(b.o.out); err != nil || string(got) != "another's" {
		t.Errorf("OUT is %q, %v", got, err)
	}
	b.wantFiles(t, "in.mp4", "keys", "out.mp4")
}

// A chance too small for a float is still said.
func TestFileOdds(t *testing.T) {
	b := newFileBench(t)
	b.result.Evidence.ForLog10 = -1234
	if err := b.run(t.Context()); err != nil || !strings.Contains(b.stdout.String(), "miss probability 10^-1234 ") {
		t.Errorf("%v: %s", err, &b.stdout)
	}
}
