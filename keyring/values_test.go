package keyring

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// TestTwins: keys of one value find each other, whatever their states, and no
// others; no key is opened for it.
func TestTwins(t *testing.T) {
	b := newBench(t)
	k := key.NewContentKey()
	var same []key.KID
	for i, s := range []State{Active, Compromised, Destroyed} {
		kid := key.NewKID()
		if _, err := b.Import(t.Context(), kid, k, ImportOptions{AllowWeak: i > 0}); err != nil {
			t.Fatal(err)
		}
		b.mustReach(t, kid, s)
		same = append(same, kid)
	}
	single := key.NewKID()
	b.mustImport(t, single, key.NewContentKey())
	var calls []string
	r := b.ring(b.store, &spy{Wrapper: b.kms, calls: &calls})
	for i, kid := range same {
		want := slices.Delete(slices.Clone(same), i, i+1)
		slices.SortFunc(want, func(x, y key.KID) int { return bytes.Compare(x[:], y[:]) })
		if got, err := r.Twins(t.Context(), kid); err != nil || !slices.Equal(got, want) {
			t.Errorf("Twins: %v, %v; want %v", got, err, want)
		}
	}
	if got, err := r.Twins(t.Context(), single); err != nil || len(got) != 0 {
		t.Errorf("Twins of a single key: %v, %v", got, err)
	}
	if _, err := r.Twins(t.Context(), key.NewKID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("Twins of no key: %v, want ErrNotFound", err)
	}
	if len(calls) != 0 {
		t.Errorf("the key service was asked: %v", calls)
	}
}

// TestSameValueRefused: a value that stands under another KID is not taken again
// unless that is asked for, and never for a new key, though a key service gives
// it: the one who holds the value would hold the new key.
func TestSameValueRefused(t *testing.T) {
	b := newBench(t)
	kid, k, second := key.NewKID(), key.NewContentKey(), key.NewKID()
	b.mustImport(t, kid, k)
	b.mustSet(t, kid, Compromised)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrWeak) || !strings.Contains(err.Error(), kid.String()) {
			t.Errorf("%s: %v, want ErrWeak and the KID", what, err)
		}
		wantHidden(t, "the error", []byte(err.Error()), k)
		if e := b.lastEntry(t); e.Outcome != "refused" || e.KID != second.String() {
			t.Errorf("%s: audit record %+v", what, e)
		}
		if _, err := b.Get(t.Context(), second); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: a record stands (%v)", what, err)
		}
	}
	_, err := b.Import(t.Context(), second, k, ImportOptions{})
	refused("Import", err)
	_, err = b.Create(t.Context(), second, CreateOptions{Rotation: "r1", Key: k})
	refused("Create", err)
	if created, err := b.Import(t.Context(), second, k, ImportOptions{AllowWeak: true}); err != nil || !created {
		t.Fatalf("with AllowWeak: %v, %v", created, err)
	}
	if e := b.lastEntry(t); e.Outcome != "allowed" || !strings.Contains(e.Reason, kid.String()) {
		t.Errorf("audit record %+v", e)
	}
}

// TestCreateGivenValue: a rotation that starts again finds the key that a service
// made, and is told when the service gives another one now.
func TestCreateGivenValue(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	for range 2 {
		if _, err := b.Create(t.Context(), kid, CreateOptions{Rotation: "r1", Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Create(t.Context(), kid, CreateOptions{Rotation: "r1"}); err != nil {
		t.Errorf("none given: %v", err)
	}
	if _, err := b.Create(t.Context(), kid, CreateOptions{Rotation: "r1", Key: key.NewContentKey()}); !errors.Is(err, ErrExists) {
		t.Errorf("another value: %v, want ErrExists", err)
	}
	if got, err := b.Unwrap(t.Context(), kid, Encrypt, ""); err != nil || !got.Equal(k) {
		t.Errorf("Unwrap: %v, or another key", err)
	}
}

// TestValueOfNoKey: the name of a value whose key was never written, or written
// later with another value, makes no twin; what cannot be read may be one.
func TestValueOfNoKey(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	down := errors.New("down")
	b.store.on(func(op, name string) error {
		if op == "put" && name == objectName(kid) {
			return down
		}
		return nil
	})
	if _, err := b.Import(t.Context(), kid, k, ImportOptions{}); !errors.Is(err, down) {
		t.Fatal(err)
	}
	b.store.on(nil)
	print, err := b.fingerprint(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Stat(t.Context(), valueName(print, kid)); err != nil {
		t.Fatalf("the name does not stand: %v", err)
	}
	b.mustImport(t, key.NewKID(), k)
	other := key.NewContentKey()
	b.mustImport(t, kid, other)
	k2 := key.NewContentKey()
	if twins, err := b.Twins(t.Context(), kid); err != nil || len(twins) != 0 {
		t.Errorf("Twins: %v, %v; want none", twins, err)
	}
	third := key.NewKID()
	b.mustImport(t, third, k2)
	b.putBack(t, objectName(third), []byte("{"))
	if _, err := b.Import(t.Context(), key.NewKID(), k2, ImportOptions{}); !errors.Is(err, ErrWeak) {
		t.Errorf("a value of a record that does not read: %v, want ErrWeak", err)
	}
	b.putBack(t, valuePrefix+print+"/strange", nil)
	if _, err := b.Import(t.Context(), key.NewKID(), k, ImportOptions{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a name that is none: %v, want ErrCorrupt", err)
	}
}

// TestNoNameWithoutLog: with the log down a URI is not named either.
func TestNoNameWithoutLog(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	b.store.on(auditDown)
	if _, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"}); !errors.Is(err, errAudit) {
		t.Errorf("Import: %v, want the log's error", err)
	}
	if err := b.AddURI(t.Context(), kid, "a.key"); !errors.Is(err, errAudit) {
		t.Errorf("AddURI: %v, want the log's error", err)
	}
	b.store.on(nil)
	if _, err := b.store.Stat(t.Context(), uriName("a.key")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the URI is named (%v)", err)
	}
}

// TestAddURI: each URI is put down once, beside those that are there.
func TestAddURI(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	if _, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"}); err != nil {
		t.Fatal(err)
	}
	b.mustSet(t, kid, Compromised)
	for range 2 {
		for _, uri := range []string{"a.key", "b.key", "c.key"} {
			if err := b.AddURI(t.Context(), kid, uri); err != nil {
				t.Fatal(err)
			}
			b.wantKID(t, uri, kid, true)
		}
	}
	rec, err := b.Get(t.Context(), kid)
	if err != nil || rec.URI != "a.key" || !slices.Equal(rec.uris(), []string{"a.key", "b.key", "c.key"}) || len(rec.History) != 4 || rec.State != Compromised {
		t.Errorf("%+v, %v; want three URIs and four events", rec, err)
	}
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "c.key"}); err != nil || created {
		t.Errorf("Import with a later URI: %v, %v", created, err)
	}
	if err := b.AddURI(t.Context(), kid, ""); !errors.Is(err, ErrSyntax) {
		t.Errorf("AddURI of none: %v, want ErrSyntax", err)
	}
	if err := b.AddURI(t.Context(), key.NewKID(), "d.key"); !errors.Is(err, ErrNotFound) {
		t.Errorf("AddURI to no key: %v, want ErrNotFound", err)
	}
}
