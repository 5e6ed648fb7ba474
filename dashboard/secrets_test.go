package dashboard_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// spellings are what a key looks like in text or bytes: as it is, in hex, and in
// base64 wherever in a longer text it begins.
func spellings(raw [16]byte) []string {
	low := hex.EncodeToString(raw[:])
	out := []string{string(raw[:]), low, strings.ToUpper(low)}
	for before := range 3 {
		padded := append(bytes.Repeat([]byte{0}, before), raw[:]...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(padded)
			// What begins or ends in a neighbour's bits is left out.
			out = append(out, text[(before*8+5)/6:len(padded)*8/6])
		}
	}
	return out
}

// tellsNoKey looks for every key that is or was in the ring in everything that the
// server answered. An export that was let through may tell its own.
func (w *world) tellsNoKey(exported map[string][16]byte) {
	w.t.Helper()
	all := w.keys
	for c, err := range w.engine.Ring.Copies(w.t.Context(), "test") {
		w.must(err)
		if !c.Key.IsZero() {
			all = append(all, c.Key.RevealSecretBytes())
		}
	}
	if len(all) < 5 || len(w.said) < 20 {
		w.t.Fatalf("%d keys and %d answers to look at", len(all), len(w.said))
	}
	for _, s := range w.said {
		for _, k := range all {
			if own, ok := exported[s.what]; ok && own == k {
				continue
			}
			for _, form := range spellings(k) {
				if strings.Contains(s.answer, form) {
					w.t.Errorf("%s answers with a key", s.what)
				}
			}
		}
	}
}

// tellsNoToken looks for the tokens of everybody; a new one is told once, to whom
// it is granted by.
func (w *world) tellsNoToken() {
	w.t.Helper()
	for _, s := range w.said {
		for name, h := range w.people {
			parts := strings.SplitN(h.token, "_", 3) // the id between is no secret
			if secret := parts[len(parts)-1]; secret != "" && strings.Contains(s.answer, secret) {
				w.t.Errorf("%s answers with the token of %s", s.what, name)
			}
		}
	}
}

// TestSpellings: the search finds what it is to find.
func TestSpellings(t *testing.T) {
	raw := key.NewContentKey().RevealSecretBytes()
	for before := range 5 {
		for after := range 5 {
			body := append(append(bytes.Repeat([]byte{0xa5}, before), raw[:]...), bytes.Repeat([]byte{0x5a}, after)...)
			for name, text := range map[string]string{
				"raw": string(body), "hex": hex.EncodeToString(body), "HEX": strings.ToUpper(hex.EncodeToString(body)),
				"base64": base64.StdEncoding.EncodeToString(body), "base64url": base64.URLEncoding.EncodeToString(body),
			} {
				found := false
				for _, form := range spellings(raw) {
					found = found || strings.Contains(text, form)
				}
				if !found {
					t.Errorf("%s with %d bytes before and %d after: not found", name, before, after)
				}
			}
		}
	}
}
