package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// stored writes a record file and returns its bytes.
func stored(t *testing.T, b *bench) (key.KID, []byte) {
	t.Helper()
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	b.mustSet(t, kid, Deactivated)
	body, err := os.ReadFile(b.path(kid))
	if err != nil {
		t.Fatal(err)
	}
	return kid, body
}

func TestCorruptRecord(t *testing.T) {
	swap := func(from, to string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(from)) {
				return nil
			}
			return bytes.Replace(b, []byte(from), []byte(to), 1)
		}
	}
	tests := []struct {
		name   string
		change func([]byte) []byte
		offset int64 // -1: none can be told
		reason string
	}{
		{"empty", func([]byte) []byte { return []byte{} }, 0, "unexpected end"},
		{"cut", func(b []byte) []byte { return b[:40] }, 40, "unexpected end"},
		{"no JSON", func([]byte) []byte { return []byte("key") }, 1, "invalid character"},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }, 1, "invalid character"},
		{"unknown member", swap(`"state"`, `"status"`), -1, "unknown field"},
		{"member twice", swap(`"version": 1`, `"version": 1, "version": 1`), 27, "twice"},
		{"other case", swap(`"version"`, `"Version"`), 13, "unknown member name"},
		{"newer version", swap(`"version": 1`, `"version": 2`), -1, "version 2"},
		{"no version", swap(`"version": 1,`, ``), -1, "version 0"},
		{"something after", func(b []byte) []byte { return append(bytes.TrimSpace(b), "{}"...) }, -2, "after top-level value"},
		{"unknown state", swap(`"state": "deactivated"`, `"state": "retired"`), -1, "unknown state"},
		{"state against history", swap(`"state": "deactivated"`, `"state": "active"`), -1, "history ends in deactivated"},
		{"no KEK", swap(`"kek": "local:`, `"kek": "","rotation": "`), -1, "no KEK"},
		{"wrapped not base64", swap(`"wrapped": "`, `"wrapped": "*`), -1, "base64"},
		{"history backwards", swap(`"state": "active"`, `"state": "compromised"`), -1, "deactivated after compromised"},
		{"no actor", swap(`"actor": "alice"`, `"actor": ""`), -1, "no actor"},
		{"KID too short", swap(`"kid": "`, `"kid": "0`), -1, "bad key syntax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			kid, body := stored(t, b)
			bad := tt.change(bytes.Clone(body))
			if bad == nil || bytes.Equal(bad, body) {
				t.Fatal("the test changes nothing")
			}
			if err := os.WriteFile(b.path(kid), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := b.Get(t.Context(), kid)
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrCorrupt) {
				t.Fatalf("Get: %v, want an *Error of class ErrCorrupt", err)
			}
			if e.Object != objectName(kid) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("Get: %v; want %s and …%s…", err, objectName(kid), tt.reason)
			}
			if tt.offset != -2 && e.Offset != tt.offset {
				t.Errorf("offset %d, want %d (%v)", e.Offset, tt.offset, err)
			}
			checkUntouched(t, b, kid, bad)
		})
	}
}

// checkUntouched: no operation gets past a corrupt record or writes over it.
func checkUntouched(t *testing.T, b *bench, kid key.KID, body []byte) {
	t.Helper()
	for name, f := range map[string]func() error{
		"SetState": func() error { return b.SetState(t.Context(), kid, Compromised, "") },
		"Unwrap":   func() error { _, err := b.Unwrap(t.Context(), kid, Verify, ""); return err },
		"Create":   func() error { _, err := b.Create(t.Context(), kid, CreateOptions{Rotation: "r1"}); return err },
		"Import": func() error {
			_, err := b.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{})
			return err
		},
	} {
		if err := f(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if after, err := os.ReadFile(b.path(kid)); err != nil || !bytes.Equal(after, body) {
		t.Errorf("the corrupt record was written over (%v)", err)
	}
}

// TestMovedRecord: a record copied to another name is refused by name, and its
// key stays shut even when the KID inside is made to fit.
func TestMovedRecord(t *testing.T) {
	b := newBench(t)
	kid, body := stored(t, b)
	to := key.NewKID()
	if err := os.WriteFile(b.path(to), body, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := b.Get(t.Context(), to)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), objectName(to)) || !strings.Contains(err.Error(), kid.String()) {
		t.Errorf("Get: %v, want ErrCorrupt, the name and the KID inside", err)
	}
	b.putBack(t, anchorName(to, 2), b.object(t, anchorName(kid, 2)))
	forged := bytes.Replace(body, []byte(kid.String()), []byte(to.String()), 1)
	if err := os.WriteFile(b.path(to), forged, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unwrap(t.Context(), to, Verify, ""); !errors.Is(err, kms.ErrMismatch) || !got.IsZero() {
		t.Errorf("Unwrap of a forged record: %v, want ErrMismatch and no key", err)
	}
}

// TestList: KID order, and errors for what is no record without stopping.
func TestList(t *testing.T) {
	b := newBench(t)
	const keys = 50
	for range keys {
		b.mustImport(t, key.NewKID(), key.NewContentKey())
	}
	bad, _ := stored(t, b)
	if err := os.WriteFile(b.path(bad), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	strange := []string{"keys/README.json", "keys/ABCDEF0123456789ABCDEF0123456789.json", "keys/0123456789abcdef0123456789abcdef"}
	for _, name := range strange {
		if err := os.WriteFile(filepath.Join(b.root, filepath.FromSlash(name)), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var last string
	good, wrong := 0, map[string]bool{}
	for rec, err := range b.List(t.Context()) {
		var e *Error
		switch {
		case errors.As(err, &e) && errors.Is(err, ErrCorrupt):
			wrong[e.Object] = true
		case err != nil:
			t.Fatal(err)
		case rec.KID.String() <= last:
			t.Errorf("%s after %s", rec.KID, last)
		default:
			good++
			last = rec.KID.String()
		}
	}
	if good != keys || len(wrong) != len(strange)+1 || !wrong[objectName(bad)] {
		t.Errorf("%d records and errors for %v; want %d and %d", good, wrong, keys, len(strange)+1)
	}
}

func TestListStopsEarly(t *testing.T) {
	b := newBench(t)
	for range 40 {
		b.mustImport(t, key.NewKID(), key.NewContentKey())
	}
	n := 0
	for _, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	// A walk that is cancelled must not look like a short ring.
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	n = 0
	for _, err = range b.List(ctx) {
		if n++; n == 3 {
			cancel()
		}
	}
	cancel()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled after 3: the last of %d is %v, want context.Canceled", n, err)
	}
}

func TestListEmpty(t *testing.T) {
	for rec, err := range newBench(t).List(t.Context()) {
		t.Errorf("an empty ring yields %+v, %v", rec, err)
	}
}

// TestRecordJSON pins the shape: records of today must be read for ever.
func TestRecordJSON(t *testing.T) {
	body, err := os.ReadFile(filepath.Join("testdata", "0123456789abcdef0123456789abcdef.json"))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := decodeRecord("keys/0123456789abcdef0123456789abcdef.json", body)
	if err != nil {
		t.Fatal(err)
	}
	if rec.State != Compromised || rec.URI != "keys/a.key?x=1&y=2" || rec.Rotation != "r1" || len(rec.Wrapped) != 45 || len(rec.History) != 2 || rec.History[1].Reason != "leaked" {
		t.Errorf("record %+v", rec)
	}
	again, err := encodeRecord(rec)
	if err != nil || !bytes.Equal(again, body) {
		t.Errorf("written again it differs (%v):\n%s", err, again)
	}
}

func TestRecordTooLarge(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	if err := b.SetState(t.Context(), kid, Compromised, strings.Repeat("x", maxRecord)); err == nil {
		t.Error("took a reason of 1 MiB")
	}
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.State != Active {
		t.Errorf("state %s, %v; want active", rec.State, err)
	}
	if err := os.WriteFile(b.path(kid), bytes.Repeat([]byte(" "), maxRecord+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), kid); err == nil {
		t.Error("read a record larger than 1 MiB")
	}
}

// TestStoreErrorsKeepTheirClass: what the store says is not taken for a missing
// or a corrupt key.
func TestStoreErrorsKeepTheirClass(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.store.on(func(op, name string) error {
		if op == "put" && strings.HasPrefix(name, prefix) {
			return store.ErrDenied
		}
		return nil
	})
	if _, err := b.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{}); !errors.Is(err, store.ErrDenied) {
		t.Errorf("Import: %v, want ErrDenied", err)
	}
	wantSame(t, "audit", b.entries(t), []string{"key.import allowed", "key.import failed"})
}

func FuzzRecord(f *testing.F) {
	const name = "keys/0123456789abcdef0123456789abcdef.json"
	body, err := os.ReadFile(filepath.Join("testdata", "0123456789abcdef0123456789abcdef.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:100])
	f.Add(bytes.ReplaceAll(body, []byte("compromised"), []byte("active")))
	f.Add(bytes.ReplaceAll(body, []byte("2026"), []byte("0001")))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord(name, b)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrCorrupt) || e.Object != name {
				t.Fatalf("%v is no *Error of class ErrCorrupt", err)
			}
			return
		}
		again, err := encodeRecord(rec)
		if err != nil {
			return // escapes may make it longer than a record may be
		}
		back, err := decodeRecord(name, again)
		if err != nil {
			t.Fatalf("does not read again: %v", err)
		}
		x, _ := json.Marshal(rec)
		y, _ := json.Marshal(back)
		if !bytes.Equal(x, y) {
			t.Fatalf("reads as %s, then as %s", x, y)
		}
	})
}
