package hls

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// libraryKeys reads fixtures.Keys.
func libraryKeys(t testing.TB) map[key.KID]key.ContentKey {
	t.Helper()
	keys := map[key.KID]key.ContentKey{}
	for line := range strings.Lines(string(fixtures.Keys())) {
		id, hex, _ := strings.Cut(strings.TrimSpace(line), ":")
		kid, err := key.ParseKID(id)
		if err != nil {
			t.Fatal(err)
		}
		if keys[kid], err = key.ParseContentKey(hex); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) == 0 {
		t.Fatal("no keys in fixtures")
	}
	return keys
}

// TestRekeyShakaKeyTags moves every key of movie to a new one: identity, PlayReady
// and Widevine tags, as Shaka Packager writes them.
func TestRekeyShakaKeyTags(t *testing.T) {
	changes := key.Changes{}
	for kid, k := range libraryKeys(t) {
		changes[kid] = key.Change{Old: k, New: key.NewContentKey(), NewKID: key.NewKID()}
	}
	back := map[key.KID]key.KID{}
	for kid, c := range changes {
		back[c.NewKID] = kid
	}
	seen := 0
	for name, b := range library(t, "movie/*.m3u8") {
		p, err := Parse(name, b)
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Edit(func(r Ref) (Replacement, error) {
			if r.Key == nil {
				return Replacement{}, nil
			}
			rep, updated, err := RekeyKeyTag(r.Key, changes)
			if !updated {
				t.Errorf("%s line %d: not updated", name, r.Line)
			}
			return rep, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != len(b) {
			t.Errorf("%s: %d bytes, want %d", name, len(out), len(b))
		}
		q, err := Parse(name, out)
		if err != nil {
			t.Fatal(err)
		}
		for i := range q.Keys {
			compareKIDs(t, &p.Keys[i], &q.Keys[i], back)
			seen++
		}
	}
	if seen < 9 {
		t.Errorf("%d key tags seen, want 9 and more", seen)
	}
}

// compareKIDs checks that now names what was named, moved.
func compareKIDs(t *testing.T, was, now *KeyTag, back map[key.KID]key.KID) {
	t.Helper()
	before, err := KeyTagKIDs(was)
	if err != nil {
		t.Fatal(err)
	}
	after, err := KeyTagKIDs(now)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) == 0 || len(before) != len(after) {
		t.Fatalf("line %d: %d KIDs before, %d after", was.Line, len(before), len(after))
	}
	for i := range after {
		if back[after[i]] != before[i] {
			t.Errorf("line %d: KID %s became %s", was.Line, before[i], after[i])
		}
	}
}

func TestRekeyKeyTagSpellings(t *testing.T) {
	old, now := key.KID{0xab, 1: 1}, key.KID{0xcd, 1: 2}
	changes := key.Changes{old: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now}}
	std := base64.StdEncoding.EncodeToString
	tests := []struct {
		name string
		tag  KeyTag
		want Replacement
	}{
		{"upper KEYID", KeyTag{KeyID: "0X" + strings.ToUpper(old.String()), URI: "skd://a"}, Replacement{KeyID: "0X" + strings.ToUpper(now.String())}},
		{"identity", KeyTag{KeyFormat: FormatIdentity, URI: "data:text/plain;base64," + std(old[:])}, Replacement{URI: "data:text/plain;base64," + std(now[:])}},
		{"identity raw", KeyTag{KeyFormat: FormatIdentity, URI: "DATA:;BASE64," + strings.TrimRight(std(old[:]), "=")}, Replacement{URI: "DATA:;BASE64," + strings.TrimRight(std(now[:]), "=")}},
		{"identity percent", KeyTag{KeyFormat: FormatIdentity, URI: "data:;base64," + strings.ReplaceAll(std(old[:]), "=", "%3D")}, Replacement{URI: "data:;base64," + std(now[:])}},
		{"other KID", KeyTag{KeyFormat: FormatIdentity, URI: "data:;base64," + std(bytes.Repeat([]byte{7}, 16))}, Replacement{}},
		{"skd", KeyTag{URI: "skd://x/{}", KeyFormat: "com.apple.streamingkeydelivery"}, Replacement{}},
		{"unknown system", KeyTag{URI: "data:;base64," + std(old[:]), KeyFormat: "com.example"}, Replacement{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.tag.Method = MethodSampleAESCTR
			got, updated, err := RekeyKeyTag(&tt.tag, changes)
			if err != nil || got != tt.want || updated != (tt.want != Replacement{}) {
				t.Errorf("got %+v, %v, %v; want %+v", got, updated, err, tt.want)
			}
		})
	}
	if r, updated, err := RekeyKeyTag(&KeyTag{Method: MethodAES128, URI: "k"}, changes); updated || err != nil || r != (Replacement{}) {
		t.Error("an AES-128 tag was changed")
	}
}

// TestBarePlayReadyHeaders: what charset=UTF-16 promises is the header alone, which
// some write in place of the object around it.
func TestBarePlayReadyHeaders(t *testing.T) {
	seen := 0
	for _, b := range library(t, "movie/*.m3u8") {
		for _, k := range mustParse(t, string(b)).Keys {
			d, ok, err := parseDataURI(&k)
			if err != nil || !ok || d.kind != dataPRO {
				continue
			}
			seen++
			want, err := KeyTagKIDs(&k)
			if err != nil || len(want) == 0 {
				t.Fatal(want, err)
			}
			ch := key.Changes{}
			for _, kid := range want {
				ch[kid] = key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: key.NewKID()}
			}
			whole, _, err := RekeyKeyTag(&k, ch)
			if err != nil {
				t.Fatal(err)
			}
			moved, _, err := parseDataURI(&KeyTag{KeyFormat: k.KeyFormat, URI: whole.URI})
			if err != nil {
				t.Fatal(err)
			}
			for _, mark := range []string{"", "\xff\xfe"} {
				const head = "data:text/plain;charset=UTF-16;base64,"
				std := base64.StdEncoding.EncodeToString
				bare := KeyTag{Method: MethodSampleAES, KeyFormat: k.KeyFormat, URI: head + std(append([]byte(mark), d.data[objectStart:]...))}
				if kids, err := KeyTagKIDs(&bare); err != nil || !slices.Equal(kids, want) {
					t.Errorf("names %v, want %v (%v)", kids, want, err)
				}
				r, updated, err := RekeyKeyTag(&bare, ch)
				if err != nil || !updated || r.URI != head+std(append([]byte(mark), moved.data[objectStart:]...)) {
					t.Errorf("rekeyed to %q, %v", r.URI, err)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no PlayReady object in the library")
	}
	long := KeyTag{Method: MethodSampleAES, KeyFormat: formatPlayReady, URI: "data:;base64," + base64.StdEncoding.EncodeToString(append([]byte("<\x00"), make([]byte, 1<<16)...))}
	if _, err := KeyTagKIDs(&long); !errors.Is(err, ErrMalformed) {
		t.Errorf("header of 64 KiB: %v", err)
	}
}

func TestRekeyKeyTagRefuses(t *testing.T) {
	held := key.NewContentKey()
	raw := held.RevealSecretBytes()
	secret := base64.StdEncoding.EncodeToString(raw[:])
	old := key.NewKID()
	changes := key.Changes{old: {Old: held, New: key.NewContentKey(), NewKID: key.NewKID()}}
	tests := []struct {
		name  string
		tag   KeyTag
		class error
	}{
		{"the key itself", KeyTag{KeyFormat: FormatIdentity, URI: "data:;base64," + secret}, ErrUnsupported},
		{"KEYID", KeyTag{KeyID: "0x12", URI: "skd://"}, ErrMalformed},
		{"not base64", KeyTag{URI: "data:;base64,!!!!"}, ErrMalformed},
		{"percent", KeyTag{URI: "data:;base64,%zz"}, ErrMalformed},
		{"text", KeyTag{URI: "data:text/plain,hello"}, ErrMalformed},
		{"no comma", KeyTag{URI: "data:"}, ErrMalformed},
		{"PlayReady", KeyTag{KeyFormat: "com.microsoft.playready", URI: "data:;base64," + secret}, ErrMalformed},
		{"pssh", KeyTag{URI: "data:;base64," + base64.StdEncoding.EncodeToString([]byte("\x00\x00\x00\x09pssh!"))}, ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.tag.Method, tt.tag.Line = MethodSampleAES, 7
			_, _, err := RekeyKeyTag(&tt.tag, changes)
			var e *Error
			if !errors.Is(err, tt.class) || !errors.As(err, &e) || e.Line != 7 {
				t.Fatalf("error %v, want class %v with line 7", err, tt.class)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("error holds the key")
			}
		})
	}
}
