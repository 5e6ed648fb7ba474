package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// vector is a backup of testdata and the holders' keys.
func vector(t testing.TB, name string) *bench {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ReadHeader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join("testdata", "test-only-holder-*.pem"))
	if err != nil || len(names) != len(h.Shares) {
		t.Fatalf("%d holder keys for %d shares, %v", len(names), len(h.Shares), err)
	}
	slices.Sort(names)
	b := &bench{file: file, made: Made{Header: h}}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParsePrivateKey(text) // a checkout does not keep mode 0600
		if err != nil {
			t.Fatal(err)
		}
		b.private = append(b.private, k)
	}
	return b
}

func (b *bench) unlockedVector(t testing.TB) *Unlocked {
	t.Helper()
	u, err := b.master(t).Unlock("46119246", time.Unix(59, 0), never)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestVector: a backup that was written once, by another implementation, must
// open for ever (testdata/README.md says how it was made).
func TestVector(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Fingerprint string
		Entries     []struct {
			KID    string `json:"kid"`
			Key    string `json:"key"`
			Record string `json:"record_sha256"`
		}
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	b := vector(t, "v2.backup")
	if b.made.Header.Fingerprint() != want.Fingerprint {
		t.Errorf("fingerprint %s", b.made.Header.Fingerprint())
	}
	got, err := collect(b.unlockedVector(t).Entries(bytes.NewReader(b.file)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want.Entries) || len(got) < 200 {
		t.Fatalf("%d entries, want %d", len(got), len(want.Entries))
	}
	for i, e := range got {
		record := sha256.Sum256(e.Record)
		k := ""
		if !e.Key.IsZero() {
			raw := e.Key.RevealSecretBytes()
			k = hex.EncodeToString(raw[:])
		}
		if w := want.Entries[i]; e.KID.String() != w.KID || k != w.Key || hex.EncodeToString(record[:]) != w.Record {
			t.Fatalf("entry %d, KID %s, is another", i+1, e.KID)
		}
	}
}
