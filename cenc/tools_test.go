package cenc

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// needFFmpeg gives the path of ffmpeg, the independent judge of these tests.
func needFFmpeg(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("this test needs ffmpeg: install the package ffmpeg")
	}
	return path
}

// streamhash is what FFmpeg reads with a key from an init section and its
// segments; "" if it reads nothing. It reads a pipe: FFmpeg 5.1 loses its place
// in the sample information of several segments when it may seek.
func streamhash(t testing.TB, file []byte, k key.ContentKey) string {
	t.Helper()
	raw := k.RevealSecretBytes() // the fixtures' keys protect a test pattern
	cmd := exec.Command(needFFmpeg(t), "-v", "error", "-decryption_key", hex.EncodeToString(raw[:]),
		"-i", "pipe:", "-map", "0", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-")
	cmd.Stdin = bytes.NewReader(file)
	out, _ := cmd.Output() // with a wrong key it may fail; what it read decides
	return strings.TrimSpace(string(out))
}

func fixtureKeys(t testing.TB) map[key.KID]key.ContentKey {
	t.Helper()
	keys := make(map[key.KID]key.ContentKey)
	for line := range strings.Lines(string(fixtures.Keys())) {
		kid, k, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		id, err := key.ParseKID(kid)
		if err != nil {
			t.Fatal(err)
		}
		if keys[id], err = key.ParseContentKey(k); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) == 0 {
		t.Fatal("no keys in the fixtures")
	}
	return keys
}

func newChanges(keys map[key.KID]key.ContentKey) key.Changes {
	ch := make(key.Changes)
	for kid, k := range keys {
		ch[kid] = key.Change{Old: k, New: key.NewContentKey(), NewKID: key.NewKID()}
	}
	return ch
}

func newKeys(ch key.Changes) map[key.KID]key.ContentKey {
	out := make(map[key.KID]key.ContentKey)
	for _, c := range ch {
		out[c.NewKID] = c.New
	}
	return out
}

// rendition is an init section and its segments, from the fixtures.
type rendition struct {
	name     string
	init     []byte
	segments [][]byte
}

func renditions(t testing.TB, tree fs.FS) (out []rendition) {
	t.Helper()
	inits, err := fs.Glob(tree, "*/*/init.mp4")
	if err != nil || len(inits) == 0 {
		t.Fatalf("no init sections in the fixtures (%v)", err)
	}
	for _, name := range inits {
		r := rendition{name: path.Dir(name), init: read(t, tree, name)}
		files, err := fs.Glob(tree, path.Dir(name)+"/*.m4s")
		if err != nil || len(files) == 0 {
			t.Fatalf("no segments beside %s (%v)", name, err)
		}
		for _, f := range files {
			r.segments = append(r.segments, read(t, tree, f))
		}
		out = append(out, r)
	}
	return out
}

func (r rendition) file() []byte { return join(append([][]byte{r.init}, r.segments...)...) }

func read(t testing.TB, tree fs.FS, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func placeOf(t testing.TB, object string, track uint16, number uint32) Place {
	t.Helper()
	ivs, err := StructuredIVs(track, number)
	if err != nil {
		t.Fatal(err)
	}
	return Place{Object: object, IVs: ivs}
}
