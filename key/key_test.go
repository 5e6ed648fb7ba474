package key_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

func TestParseKID(t *testing.T) {
	const want = "00112233445566778899aabbccddeeff"
	for _, in := range []string{want, strings.ToUpper(want), "00112233-4455-6677-8899-AABBCCDDEEFF"} {
		k, err := key.ParseKID(in)
		if err != nil || k.String() != want {
			t.Errorf("ParseKID(%q) = %s, %v", in, k, err)
		}
	}
	for _, in := range []string{"", "0011", want + "00", strings.Replace(want, "0", "g", 1)} {
		if _, err := key.ParseKID(in); !errors.Is(err, key.ErrSyntax) {
			t.Errorf("ParseKID(%q): %v, want ErrSyntax", in, err)
		}
	}
	k, _ := key.ParseKID(want)
	if got := k.UUID(); got != "00112233-4455-6677-8899-aabbccddeeff" {
		t.Errorf("UUID: %s", got)
	}
	if g := k.GUID(); hex.EncodeToString(g[:]) != "33221100554477668899aabbccddeeff" || key.KIDFromGUID(g) != k {
		t.Errorf("GUID: %x", g)
	}
}

// A key that must not be shown is shown to every printer the library has.
func TestContentKeyPrintsREDACTED(t *testing.T) {
	const secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	k, err := key.ParseContentKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(secret)
	wrapped := struct {
		K key.ContentKey
		P *key.ContentKey
		C key.Change
		k key.ContentKey // fmt does not ask the methods of unexported fields
	}{k, &k, key.Change{Old: k, New: k}, k}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", k, wrapped)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", k, "w", wrapped)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", k, "p", &k)
	if _, err := json.Marshal(wrapped); !errors.Is(err, key.ErrSecret) {
		t.Errorf("json.Marshal: %v, want ErrSecret", err)
	}
	if err := gob.NewEncoder(&out).Encode(k); err == nil {
		t.Error("gob takes a content key")
	}
	for _, shape := range []string{secret, string(raw), base64.StdEncoding.EncodeToString(raw), "15 30 45", "0xf, 0x1e"} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(shape)) {
			t.Errorf("printed as %q in:\n%s", shape, &out)
		}
	}
	if got := fmt.Sprint(k); got != "REDACTED" {
		t.Errorf("prints %q", got)
	}
	if got := k.RevealSecretBytes(); !bytes.Equal(got[:], raw) {
		t.Error("RevealSecretBytes gives other bytes")
	}
}

func TestKeyErrorsDoNotQuoteTheKey(t *testing.T) {
	const almost = "0f1e2d3c4b5a69788796a5b4c3d2e1fz"
	if _, err := key.ParseContentKey(almost); !errors.Is(err, key.ErrSyntax) || strings.Contains(err.Error(), almost[:8]) {
		t.Errorf("ParseContentKey: %v", err)
	}
	if _, err := key.ContentKeyFromBytes([]byte(almost)); !errors.Is(err, key.ErrSyntax) || strings.Contains(err.Error(), almost[:8]) {
		t.Errorf("ContentKeyFromBytes: %v", err)
	}
}

func TestNewKeysDiffer(t *testing.T) {
	if key.NewContentKey().Equal(key.NewContentKey()) {
		t.Error("two new content keys are equal")
	}
	a, b := key.NewKID(), key.NewKID()
	if a == b || a[6]>>4 != 4 || a[8]>>6 != 2 {
		t.Errorf("new KIDs %s %s", a, b)
	}
	// Pinned: records and indexes stand under this name.
	if got := key.KIDFromURI("clip/key.bin").String(); got != "9ca53155e11f8877a4ed0daa9c0aab9c" {
		t.Errorf("KIDFromURI is %s", got)
	}
	if !(key.ContentKey{}).IsZero() || key.NewContentKey().IsZero() {
		t.Error("IsZero")
	}
}

func TestIV(t *testing.T) {
	iv, err := key.ParseIV("0X0000000000000000000000000000000A")
	if err != nil || iv != key.SequenceIV(10) {
		t.Errorf("ParseIV = %s, %v", iv, err)
	}
	for _, in := range []string{"", "0x", "0x00", "00000000000000000000000000000000"} {
		if _, err := key.ParseIV(in); !errors.Is(err, key.ErrSyntax) {
			t.Errorf("ParseIV(%q): %v, want ErrSyntax", in, err)
		}
	}
	b, _ := json.Marshal(iv)
	var back key.IV
	if err := json.Unmarshal(b, &back); err != nil || back != iv {
		t.Errorf("JSON round trip: %s %v", b, err)
	}
}
