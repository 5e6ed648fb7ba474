package keyservices

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring"
)

// allSecrets are what opens the service or is in its files, and every content
// key, old and new.
func (l *lab) allSecrets(t *testing.T, ctx context.Context, kek string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, text := range l.secrets {
		all[name] = text
	}
	for _, m := range l.masters(t) {
		all["master key "+m[:4]+"…"] = m
	}
	ring := l.ring(kek)
	n := 0
	for rec, err := range ring.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		k, err := ring.Unwrap(ctx, rec.KID, keyring.Deliver, "")
		if err != nil {
			t.Fatal(err)
		}
		raw := k.RevealSecretBytes()
		all["key "+rec.KID.String()] = string(raw[:])
		n++
	}
	if n < 10 {
		t.Errorf("%d keys to look for: those of the rotations are not among them", n)
	}
	return all
}

// masters are the bytes of master keys that lie in files in the clear.
func (l *lab) masters(t *testing.T) (raw []string) {
	t.Helper()
	err := filepath.WalkDir(l.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(name, l.master) {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(string(b)) {
			if k, err := hex.DecodeString(field); err == nil && len(k) == 32 {
				raw = append(raw, string(k))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// leaks finds secrets in a text, in the forms in which bytes are shown.
func leaks(secrets map[string]string, text string) (found []string) {
	for name, s := range secrets {
		forms := []string{
			s, hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))), strings.Trim(fmt.Sprint([]byte(s)), "[]"),
		}
		// In the middle of something larger, base64 has three alignments; the
		// characters that the neighbours take part in are left out.
		for shift := range 3 {
			padded := append(make([]byte, shift), s...)
			first, last := (shift*8+5)/6, len(padded)*8/6
			forms = append(forms, base64.RawStdEncoding.EncodeToString(padded)[first:last], base64.RawURLEncoding.EncodeToString(padded)[first:last])
		}
		if slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(text, f) }) {
			found = append(found, name)
		}
	}
	return found
}

// TestLeaksAreFound: the search finds a secret in every form.
func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	s := "\xfb\xff\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\xfe\x3f"
	for name, text := range map[string]string{
		"raw": "x" + s, "hex": fmt.Sprintf("%x", s), "HEX": fmt.Sprintf("%X", s), "numbers": fmt.Sprint([]byte(s)),
		"base64":        base64.StdEncoding.EncodeToString([]byte(s)),
		"base64 inside": base64.StdEncoding.EncodeToString([]byte("ab" + s + "cdef")),
		"url inside":    base64.URLEncoding.EncodeToString([]byte("a" + s + "cdef")),
	} {
		if len(leaks(map[string]string{"k": s}, text)) != 1 {
			t.Errorf("%s: not found", name)
		}
	}
	if found := leaks(map[string]string{"k": s}, strings.Repeat("no key here ", 100)); len(found) > 0 {
		t.Error(found)
	}
}
