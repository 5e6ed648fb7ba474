//go:build !fipsonly

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// TestMasked: a command that echoes what it was handed puts no key in the log,
// however it spells it and however its output comes in pieces.
func TestMasked(t *testing.T) {
	kid := key.NewKID()
	raw := key.NewContentKey().RevealSecretBytes()
	h := hex.EncodeToString(raw[:])
	std, url := base64.StdEncoding.EncodeToString(raw[:]), base64.RawURLEncoding.EncodeToString(raw[:])
	for in, want := range map[string]string{
		kid.String() + ":" + h:                      kid.String() + ":[masked]",
		kid.UUID() + " " + strings.ToUpper(h):       kid.UUID() + " [masked]",
		"0x" + h + h:                                "0x[masked]",
		key.KID(raw).UUID():                         "[masked]",
		`{"k":"` + url + `","kid":"` + std + `"}`:   `{"k":"[masked]","kid":"[masked]"}`,
		std + " " + std + "," + url:                 "[masked] [masked],[masked]",
		"key server answered 503 in /usr/lib/x: no": "key server answered 503 in /usr/lib/x: no",
		strings.Repeat("x", maxMaskedLine) + h:      "[a line too long to be passed on]",
	} {
		for _, piece := range []int{1, 7, len(in) + 1} {
			var out bytes.Buffer
			m := &masked{to: &out, kids: map[key.KID]bool{kid: true}}
			for b := []byte(in + "\n\nend"); len(b) > 0; b = b[min(piece, len(b)):] {
				if n, err := m.Write(b[:min(piece, len(b))]); err != nil || n != min(piece, len(b)) {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			m.flush()
			if got := out.String(); got != want+"\nend\n" {
				t.Errorf("in pieces of %d: %.80q, want %.80q", piece, got, want+"\nend\n")
			}
		}
	}
}
