//go:build conformance

package conformance_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/internal/judge"
)

// segments decrypts every rotated AES-128 segment with OpenSSL, under the key
// and IV that its playlist names, and compares it with clear.sha256 byte for
// byte. It returns how many there were.
func (c *corpusCase) segments(t *testing.T, tree string) int {
	want := c.clearDigests(t)
	n := 0
	err := filepath.WalkDir(tree, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".m3u8") {
			return err
		}
		n += aesSegments(t, tree, name, want)
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return n
}

func (c *corpusCase) clearDigests(t *testing.T) map[string]string {
	b, err := os.ReadFile(filepath.Join(c.folder, "clear.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	return want
}

func aesSegments(t *testing.T, tree, playlist string, want map[string]string) int {
	b, err := os.ReadFile(playlist)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hls.Parse(playlist, b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range p.Segments {
		for _, kt := range s.Keys {
			if kt.Method != "AES-128" {
				continue
			}
			dir := filepath.Dir(playlist)
			k, err := os.ReadFile(filepath.Join(dir, kt.URI))
			if err != nil {
				t.Fatal(err)
			}
			segment := filepath.Join(dir, s.URI)
			rel, err := filepath.Rel(tree, segment)
			if err != nil {
				t.Fatal(err)
			}
			first := catalog.Logical(filepath.ToSlash(rel))
			iv := s.IV(kt)
			if got := judge.AES128(t, segment, hex.EncodeToString(k), hex.EncodeToString(iv[:])); got != want[first] {
				t.Errorf("%s decrypts to %s, want %s", rel, got, want[first])
			}
			n++
		}
	}
	return n
}
