package hls

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

func TestRekeySpelledKIDs(t *testing.T) {
	old, now, other := shapeKID(5), shapeKID(6), shapeKID(7)
	ch := key.Changes{
		old: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now},
		now: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: other},
	}
	up := strings.ToUpper
	guid := func(k key.KID) key.KID { return key.KID(k.GUID()) }
	tests := []struct{ name, uri, want string }{
		{"digits", "skd://" + old.String(), "skd://" + now.String()},
		{"upper digits", "skd://X/" + up(old.String()) + "?v=1", "skd://X/" + up(now.String()) + "?v=1"},
		{"dashed", "skd://key-" + old.UUID() + "-v1", "skd://key-" + now.UUID() + "-v1"},
		{"upper dashed in braces", "skd://x/{" + up(old.UUID()) + "}", "skd://x/{" + up(now.UUID()) + "}"},
		{"with 0x", "skd://0x" + old.String(), "skd://0x" + now.String()},
		{"each once", "skd://" + old.String() + "/" + now.UUID(), "skd://" + now.String() + "/" + other.UUID()},
		{"PlayReady order", "skd://" + up(guid(old).UUID()), "skd://" + up(guid(now).UUID())},
		{"PlayReady digits", "skd://" + guid(old).String() + "/" + old.UUID(), "skd://" + guid(now).String() + "/" + now.UUID()},
		{"another KID", "skd://" + shapeKID(1).String(), ""},
		{"literal braces", "skd://x/{}", ""},
		{"no KID", "skd://heldout/fp", ""},
		{"dashes elsewhere", "skd://" + old.String()[:31] + "-" + old.String()[31:], ""},
		{"key server", "https://k.example/" + old.String() + "/key", "https://k.example/" + now.String() + "/key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, format := range []string{"com.apple.streamingkeydelivery", FormatIdentity} {
				k := KeyTag{Method: MethodSampleAES, KeyFormat: format, URI: tt.uri}
				r, updated, err := RekeyKeyTag(&k, ch)
				if err != nil || r != (Replacement{URI: tt.want}) || updated != (tt.want != "") {
					t.Errorf("%s: got %+v, %v, %v; want %q", format, r, updated, err, tt.want)
				}
			}
		})
	}
}

func TestRekeyKeyTagRefusesWhatWouldNameTheOldKey(t *testing.T) {
	held, old := key.NewContentKey(), key.KID{0xfb, 0xff, 0xfe, 1, 2, 3, 4, 5}
	raw := held.RevealSecretBytes()
	ch := key.Changes{old: {Old: held, New: key.NewContentKey(), NewKID: key.NewKID()}}
	swapped := key.KID(old.GUID())
	url64, std64 := base64.RawURLEncoding.EncodeToString, base64.StdEncoding.EncodeToString
	doc := func(s string) string { return "data:application/json;base64," + std64([]byte(s)) }
	id := "0x" + old.String()
	tests := []struct{ name, format, id, uri, want string }{
		{"among digits", "x", "", "skd://" + old.String() + "00", "spelling"},
		{"PlayReady order among digits", "x", "", "skd://" + strings.ToUpper(swapped.UUID()) + "0", "spelling"},
		{"PlayReady base64", "x", "", "skd://" + std64(swapped[:]), "in base64"},
		{"percent", "x", "", "skd://" + strings.ReplaceAll(old.UUID(), "-", "%2D"), "spelling"},
		{"base64url", "x", "", "skd://?k=" + url64(old[:]), "in base64"},
		{"base64", "x", "", "skd://" + std64(old[:]), "in base64"},
		{"percent base64", "x", "", "skd://" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(std64(old[:])), "in base64"},
		{"ClearKey KID", "org.w3.clearkey", "", doc(`{"kids":["` + url64(old[:]) + `"]}`), "ClearKey document names"},
		{"ClearKey key", "urn:uuid:E2719D58-A985-B3C9-781A-B030AF78D30E", "", doc(`{"keys":[{"k":"` + url64(raw[:]) + `"}]}`), "the content key itself"},
		{"key in common", "urn:uuid:1077efec-c0b2-4d02-ace3-3c1e52e2fb4b", "", "data:;base64," + std64(raw[:]), "the content key itself"},
		{"key object", FormatIdentity, "", "key.bin", "may be any key"},
		{"key server", FormatIdentity, "", "https://k.example/key", "may be any key"},
		{"key object with KEYID", FormatIdentity, id, "key.bin", "old key"},
		{"key server with KEYID", FormatIdentity, id, "https://k.example/key", "old key"},
		{"key object named by the KID", FormatIdentity, id, "keys/" + old.String() + ".bin", "has to move first"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := KeyTag{Line: 7, Method: MethodSampleAES, KeyFormat: tt.format, KeyID: tt.id, URI: tt.uri}
			_, updated, err := RekeyKeyTag(&k, ch)
			var e *Error
			if !errors.Is(err, ErrUnsupported) || !errors.As(err, &e) || e.Line != 7 || !strings.Contains(err.Error(), tt.want) || updated {
				t.Fatalf("error %v, want ErrUnsupported with line 7 and %q", err, tt.want)
			}
			if strings.Contains(err.Error(), tt.uri) {
				t.Error("error quotes the URI")
			}
			if tt.want == "the content key itself" {
				return
			}
			if err := CheckKeyTag(&k, []key.KID{shapeKID(1), old}); !errors.Is(err, ErrUnsupported) {
				t.Errorf("CheckKeyTag: %v", err)
			}
		})
	}
}

func TestKeyObjectTags(t *testing.T) {
	old, now := shapeKID(5), shapeKID(6)
	ch := key.Changes{old: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now}}
	// Named by KEYID, and not the one that changes: it stays.
	k := KeyTag{Method: MethodSampleAESCTR, KeyFormat: FormatIdentity, KeyID: "0x" + now.String(), URI: "key.bin"}
	if _, updated, err := RekeyKeyTag(&k, ch); updated || err != nil {
		t.Errorf("another key's tag: %v, %v", updated, err)
	}
	k.KeyID = "0X" + strings.ToUpper(old.String())
	if id, err := RekeyKeyID(&k, ch); err != nil || id != "0X"+strings.ToUpper(now.String()) {
		t.Errorf("KEYID %q, %v", id, err)
	}
	if err := CheckKeyTag(&k, []key.KID{now}); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		k    KeyTag
		want bool
	}{
		{KeyTag{Method: MethodSampleAES, KeyFormat: FormatIdentity, URI: "k"}, true},
		{KeyTag{Method: MethodAES128, KeyFormat: FormatIdentity, URI: "https://k.example/k"}, true},
		{KeyTag{Method: MethodSampleAES, KeyFormat: FormatIdentity, URI: "SKD://k"}, false},
		{KeyTag{Method: MethodSampleAES, KeyFormat: FormatIdentity, URI: "DATA:;base64,"}, false},
		{KeyTag{Method: MethodSampleAES, KeyFormat: "com.example", URI: "k"}, false},
		{KeyTag{Method: MethodNone, KeyFormat: FormatIdentity}, false},
	} {
		if tt.k.LeadsToKey() != tt.want {
			t.Errorf("%+v: LeadsToKey %v", tt.k, !tt.want)
		}
	}
	p := mustParse(t, "#EXTM3U\n#EXT-X-MAP:URI=\"i\"\n#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI=\"k.bin\"\n#EXTINF:1,\na.m4s\n#EXT-X-ENDLIST\n")
	if err := p.Unsupported(); err != nil {
		t.Errorf("key object over fMP4: %v", err)
	}
}

// FuzzSpelledKID: a URI that is rewritten names the new KIDs in the places of the
// old ones, and the way back gives the URI again.
func FuzzSpelledKID(f *testing.F) {
	old, now := shapeKID(5), shapeKID(6)
	for _, p := range shapes(f) {
		for _, k := range mustParse(f, string(p)).Keys {
			f.Add(k.URI)
		}
	}
	f.Add("skd://" + old.String() + "/{" + strings.ToUpper(old.UUID()) + "}")
	f.Add(old.String() + "-" + now.String() + "0")
	f.Fuzz(func(t *testing.T, uri string) {
		k := KeyTag{Method: MethodSampleAES, KeyFormat: "com.apple.streamingkeydelivery", URI: uri}
		there := key.Changes{old: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now}}
		back := key.Changes{now: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: old}}
		swapped := key.KID(now.GUID())
		if isDataURI(uri) || slices.ContainsFunc([]string{now.String(), now.UUID(), swapped.String(), swapped.UUID()}, func(s string) bool {
			return strings.Contains(strings.ToLower(uri), s)
		}) {
			return
		}
		r, updated, err := RekeyKeyTag(&k, there)
		if err != nil || !updated {
			return
		}
		low := strings.ToLower(r.URI)
		if slices.ContainsFunc([]string{old.String(), old.UUID()}, func(s string) bool { return strings.Contains(low, s) }) {
			t.Fatalf("%q still names the old KID", r.URI)
		}
		k.URI = r.URI
		if r, _, err = RekeyKeyTag(&k, back); err != nil || !strings.EqualFold(r.URI, uri) {
			t.Fatalf("%q came back as %q (%v)", uri, r.URI, err)
		}
	})
}
