package keyring

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

func TestImport(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "keys/a.key"})
	if err != nil || !created {
		t.Fatalf("Import: %v, %v", created, err)
	}
	rec, err := b.Get(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	if rec.KID != kid || rec.State != Active || rec.URI != "keys/a.key" || rec.KEK != b.kek || rec.Rotation != "" {
		t.Errorf("record %+v", rec)
	}
	if len(rec.History) != 1 || rec.History[0].Actor != "alice" || rec.History[0].Reason != "imported" || !rec.Created.Equal(rec.History[0].Time) {
		t.Errorf("history %+v", rec.History)
	}
	for _, uri := range []string{"", "keys/a.key"} {
		if created, err = b.Import(t.Context(), kid, k, ImportOptions{URI: uri}); err != nil || created {
			t.Errorf("again with URI %q: %v, %v; want false, nil", uri, created, err)
		}
	}
	if _, err = b.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("another key: %v, want ErrExists", err)
	}
	if _, err = b.Import(t.Context(), kid, k, ImportOptions{URI: "keys/b.key"}); !errors.Is(err, ErrExists) {
		t.Errorf("another URI: %v, want ErrExists", err)
	}
	wantSame(t, "audit", b.entries(t), []string{
		"key.import allowed", "key.import exists", "key.import exists", "key.import refused", "key.import refused",
	})
}

func TestImportKeepsState(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	b.mustSet(t, kid, Compromised)
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created {
		t.Fatalf("Import: %v, %v; want false, nil", created, err)
	}
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.State != Compromised {
		t.Errorf("state %s, %v; want compromised", rec.State, err)
	}
}

func TestImportAddsURI(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "keys/a.key"}); err != nil || created {
		t.Fatalf("Import: %v, %v; want false, nil", created, err)
	}
	rec, err := b.Get(t.Context(), kid)
	if err != nil || rec.URI != "keys/a.key" || len(rec.History) != 2 {
		t.Errorf("record %+v, %v; want the URI and two events", rec, err)
	}
}

func TestImportWeak(t *testing.T) {
	kid := key.NewKID()
	same := func(c byte) []byte { return bytes.Repeat([]byte{c}, 16) }
	for name, raw := range map[string][]byte{"zeros": same(0), "ones": same(0xff), "one byte": same('a'), "the KID": kid[:]} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k, err := key.ContentKeyFromBytes(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Import(t.Context(), kid, k, ImportOptions{}); !errors.Is(err, ErrWeak) {
				t.Fatalf("Import: %v, want ErrWeak", err)
			}
			if _, err := b.Get(t.Context(), kid); !errors.Is(err, ErrNotFound) {
				t.Fatalf("Get: %v, want ErrNotFound", err)
			}
			if created, err := b.Import(t.Context(), kid, k, ImportOptions{AllowWeak: true}); err != nil || !created {
				t.Fatalf("Import with AllowWeak: %v, %v", created, err)
			}
			if got, err := b.Unwrap(t.Context(), kid, Verify, ""); err != nil || !got.Equal(k) {
				t.Errorf("Unwrap: %v, or another key", err)
			}
			wantSame(t, "audit", b.entries(t), []string{"key.import refused", "key.import allowed", "key.unwrap allowed"})
		})
	}
}

func TestImportRefusesNonsense(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	for name, f := range map[string]func() error{
		"zero KID":   func() error { _, err := b.Import(t.Context(), key.KID{}, k, ImportOptions{}); return err },
		"no key":     func() error { _, err := b.Import(t.Context(), kid, key.ContentKey{}, ImportOptions{}); return err },
		"URI":        func() error { _, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a\tb"}); return err },
		"create KID": func() error { _, err := b.Create(t.Context(), key.KID{}, CreateOptions{Rotation: "r"}); return err },
		"create URI": func() error {
			_, err := b.Create(t.Context(), kid, CreateOptions{URI: "a\nb", Rotation: "r"})
			return err
		},
		"secret zero KID": func() error { return b.CreateSecret(t.Context(), key.KID{}, "r") },
	} {
		if err := f(); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v, want ErrSyntax", name, err)
		}
	}
	for _, err := range b.List(t.Context()) {
		t.Errorf("something stands in the ring (%v)", err)
	}
}
