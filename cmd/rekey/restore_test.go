package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/kms"
)

// TestScratchOpensForNobody: what a check leaves when it is killed is under a
// passphrase that died with it; what one that ends leaves is nothing.
func TestScratchOpensForNobody(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ring, end, err := scratchRing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kid := key.NewKID()
	if _, err := ring.Import(t.Context(), kid, key.NewContentKey(), keyring.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	masters, err := filepath.Glob(filepath.Join(dir, "*", ".kek", "master.key"))
	records, err2 := filepath.Glob(filepath.Join(dir, "*", "keys", kid.String()+".json"))
	if errors.Join(err, err2) != nil || len(masters) != 1 || len(records) != 1 {
		t.Fatalf("master key files %v, records %v", masters, records)
	}
	if _, err := kms.NewLocal(kms.LocalOptions{Path: masters[0]}).Primary(t.Context()); !errors.Is(err, kms.ErrMasterFile) {
		t.Errorf("the KEK opens without a passphrase: %v", err)
	}
	end()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func entriesOf(list []backup.Entry) iter.Seq2[backup.Entry, error] {
	return func(yield func(backup.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestCompareAll: a check fails where a key is missing, is another, is in another
// state, or was never in the backup.
func TestCompareAll(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ring, end, err := scratchRing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for range 3 {
		if _, err := ring.Import(t.Context(), key.NewKID(), key.NewContentKey(), keyring.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var all []backup.Entry
	for c, err := range ring.Copies(t.Context(), "test") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, backup.Entry(c))
	}
	if err := compareAll(t.Context(), ring, entriesOf(all)); err != nil || len(all) != 3 {
		t.Fatalf("%d entries: %v", len(all), err)
	}
	changed := func(edit func(e *backup.Entry)) []backup.Entry {
		list := slices.Clone(all)
		edit(&list[1])
		return list
	}
	for name, list := range map[string][]backup.Entry{
		"one is missing": append(slices.Clone(all), backup.Entry{KID: key.NewKID(), Key: key.NewContentKey(), Record: all[0].Record}),
		"one is extra":   all[:2],
		"all are extra":  nil,
		"another key":    changed(func(e *backup.Entry) { e.Key = key.NewContentKey() }),
		"no key":         changed(func(e *backup.Entry) { e.Key = key.ContentKey{} }),
		"another KID":    changed(func(e *backup.Entry) { e.KID = key.NewKID() }),
		"another state": changed(func(e *backup.Entry) {
			e.Record = json.RawMessage(strings.ReplaceAll(string(e.Record), `"active"`, `"compromised"`))
		}),
		"no record":           changed(func(e *backup.Entry) { e.Record = nil }),
		"in another order":    {all[1], all[0], all[2]},
		"one of them is here": all[1:2],
	} {
		if err := compareAll(t.Context(), ring, entriesOf(list)); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	broken := func(yield func(backup.Entry, error) bool) { yield(backup.Entry{}, io.ErrUnexpectedEOF) }
	if err := compareAll(t.Context(), ring, broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a backup that does not read: %v", err)
	}
}

// TestWriteBoth: neither file is left where one cannot be made.
func TestWriteBoth(t *testing.T) {
	dir := t.TempDir()
	name, enrol := filepath.Join(dir, "keys.backup"), filepath.Join(dir, "otp.txt")
	broken := func(yield func(backup.Entry, error) bool) { yield(backup.Entry{}, io.ErrUnexpectedEOF) }
	o := backup.Options{Threshold: 2, Created: fixedTime()}
	for _, file := range []string{"anna", "ben"} {
		o.Holders = append(o.Holders, backup.Holder{Name: file, Key: newHolder(t).PublicKey()})
	}
	if _, err := writeBoth(name, enrol, broken, o); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("entries that fail: %v", err)
	}
	opened := false
	watched := func(func(backup.Entry, error) bool) { opened = true }
	for _, c := range [][2]string{{name, filepath.Join(dir, "no", "otp.txt")}, {filepath.Join(dir, "no", "keys.backup"), enrol}} {
		if _, err := writeBoth(c[0], c[1], watched, o); !errors.Is(err, os.ErrNotExist) || opened {
			t.Errorf("%v: %v, keys opened %v", c, err, opened)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := writeBoth(name, enrol, entriesOf(nil), o); err != nil {
		t.Error(err)
	}
}

func fixedTime() time.Time { return time.Date(2026, 5, 4, 11, 50, 1, 0, time.UTC) }

func newHolder(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
