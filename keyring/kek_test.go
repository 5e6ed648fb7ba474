package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// TestKEKHistory: every KEK that was in use is kept, with who chose it and why;
// the store's choice counts, not the configured one.
func TestKEKHistory(t *testing.T) {
	b := newBench(t)
	second := b.anotherKEK(t)
	for range 2 { // the second time it is so already
		if err := b.UseKEK(t.Context(), second, "yearly"); err != nil {
			t.Fatal(err)
		}
	}
	r := b.For(Asker{Person: "bob", Role: "custodian"})
	if err := r.UseKEK(t.Context(), b.kek, "back"); err != nil {
		t.Fatal(err)
	}
	keks, err := b.rival().KEKs(t.Context())
	if err != nil || len(keks) != 3 {
		t.Fatalf("KEKs: %+v, %v; want 3", keks, err)
	}
	var last time.Time
	for i, want := range []Choice{{KEK: b.kek, Actor: "alice", Reason: "first"}, {KEK: second, Actor: "alice", Reason: "yearly"}, {KEK: b.kek, Actor: "bob", Reason: "back"}} {
		got := keks[i]
		if !got.Since.After(last) {
			t.Errorf("%d: since %v, after %v", i, got.Since, last)
		}
		last, got.Since = got.Since, time.Time{}
		if got != want {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
	}
	wantSame(t, "audit", b.entries(t), []string{"kek.rotate allowed", "kek.rotate unchanged", "kek.rotate allowed"})
	b.mustImport(t, key.NewKID(), key.NewContentKey())
	o := b.o
	o.KEK = second
	if kek, err := New(o).KEK(t.Context()); err != nil || kek != b.kek {
		t.Errorf("a ring that is configured otherwise: %s, %v; want %s", kek, err, b.kek)
	}
}

// TestUseKEKRefuses: a KEK that does not work, and a history that grows without
// bounds.
func TestUseKEKRefuses(t *testing.T) {
	b := newBench(t)
	off := b.anotherKEK(t)
	if err := b.kms.Disable(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	if err := b.UseKEK(t.Context(), off, ""); !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("a KEK that is off: %v, want kms.ErrDisabled", err)
	}
	if err := b.UseKEK(t.Context(), b.anotherKEK(t), strings.Repeat("x", maxReason+1)); !errors.Is(err, ErrSyntax) {
		t.Errorf("a long reason: %v, want ErrSyntax", err)
	}
	if keks, err := b.KEKs(t.Context()); err != nil || len(keks) != 1 {
		t.Errorf("KEKs: %+v, %v; want the first", keks, err)
	}
}

// TestUseKEKRace: of two who choose at once one is told.
func TestUseKEKRace(t *testing.T) {
	b := newBench(t)
	mine, theirs := b.anotherKEK(t), b.anotherKEK(t)
	rival := b.rival()
	b.store.on(func(op, name string) error {
		if op == "put" && name == kekName {
			return rival.UseKEK(t.Context(), theirs, "")
		}
		return nil
	})
	if err := b.UseKEK(t.Context(), mine, ""); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("UseKEK: %v, want store.ErrPrecondition", err)
	}
	if kek, err := b.KEK(t.Context()); err != nil || kek != theirs {
		t.Errorf("KEK: %s, %v; want %s", kek, err, theirs)
	}
}

// TestUseKEKSameRace: of two who choose the same at once both have it, once.
func TestUseKEKSameRace(t *testing.T) {
	b := newBench(t)
	to := b.anotherKEK(t)
	rival := b.rival()
	b.store.on(func(op, name string) error {
		if op == "put" && name == kekName {
			return rival.UseKEK(t.Context(), to, "")
		}
		return nil
	})
	if err := b.UseKEK(t.Context(), to, ""); err != nil {
		t.Errorf("UseKEK: %v", err)
	}
	if keks, err := b.KEKs(t.Context()); err != nil || len(keks) != 2 || keks[1].KEK != to {
		t.Errorf("KEKs: %+v, %v; want %s once", keks, err, to)
	}
	wantSame(t, "audit", b.entries(t), []string{"kek.rotate allowed", "kek.rotate allowed", "kek.rotate unchanged"})
}

// TestNoKEK: a store that names none, with none configured, makes nothing up.
func TestNoKEK(t *testing.T) {
	b := newBench(t)
	b.forget(t, kekName)
	o := b.o
	o.KEK = ""
	if kek, err := New(o).KEK(t.Context()); !errors.Is(err, ErrNotFound) || kek != "" {
		t.Errorf("KEK: %q, %v; want ErrNotFound", kek, err)
	}
	for _, body := range []string{"", "{}", `{"keks":[]}`, `{"keks":[{"kek":""}]}`, `{"keks":[{"kek":"local:a","since":"x"}]}`} {
		b.putBack(t, kekName, []byte(body))
		if _, err := b.KEK(t.Context()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, want ErrCorrupt", body, err)
		}
		if _, err := b.Import(t.Context(), key.NewKID(), key.NewContentKey(), ImportOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Import under %q: %v, want ErrCorrupt", body, err)
		}
	}
}

// TestFirstKEK is asked for once, where the store names no KEK, and never where
// it does.
func TestFirstKEK(t *testing.T) {
	b := newBench(t)
	o, asked := b.o, 0
	o.KEK = ""
	o.FirstKEK = func(context.Context) (string, error) { asked++; return b.kek, nil }
	for i, want := range []int{0, 1, 1} {
		if i == 1 {
			b.forget(t, kekName)
		}
		if kek, err := New(o).KEK(t.Context()); err != nil || kek != b.kek || asked != want {
			t.Errorf("KEK: %q, %v, asked %d times, want %d", kek, err, asked, want)
		}
	}
	b.forget(t, kekName)
	o.FirstKEK = func(context.Context) (string, error) { return "", kms.ErrMasterFile }
	if _, err := New(o).KEK(t.Context()); !errors.Is(err, kms.ErrMasterFile) {
		t.Errorf("KEK: %v, want what kept it from being made", err)
	}
}

// switches watches a KEK being switched.
type switches struct {
	*kms.Local
	calls      []string
	meanwhile  func() // after Disable
	disableErr error
	enableErr  error
}

func (s *switches) Disable(ctx context.Context, kek string) error {
	s.calls = append(s.calls, "disable")
	if s.disableErr != nil {
		return s.disableErr
	}
	err := s.Local.Disable(ctx, kek)
	if s.meanwhile != nil {
		s.meanwhile()
	}
	return err
}

func (s *switches) Enable(ctx context.Context, kek string) error {
	s.calls = append(s.calls, "enable")
	if s.enableErr != nil {
		return s.enableErr
	}
	return s.Local.Enable(ctx, kek)
}

// TestDisableFirstIsRefused: a KEK that is in use, that a key or a secret is
// under, or that something may be under that does not read, stays on.
func TestDisableFirstIsRefused(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	s := &switches{Local: b.kms}
	refused := func(what string) {
		t.Helper()
		for _, f := range []func() error{
			func() error { return b.DisableKEK(t.Context(), s, b.kek, "test") },
			func() error { _, err := b.DestroyKEK(t.Context(), s, b.kek, "test"); return err },
		} {
			if err := f(); !errors.Is(err, ErrKEKInUse) || !strings.Contains(err.Error(), b.kek) {
				t.Errorf("%s: %v, want ErrKEKInUse of %s", what, err, b.kek)
			}
			if e := b.lastEntry(t); e.Outcome != "refused" || e.Object != b.kek {
				t.Errorf("%s: audit record %+v", what, e)
			}
		}
	}
	refused("the KEK in use")
	if err := b.UseKEK(t.Context(), b.anotherKEK(t), ""); err != nil {
		t.Fatal(err)
	}
	refused("with keys under it")
	if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	body := b.object(t, objectName(kid))
	b.putBack(t, objectName(kid), []byte("{"))
	refused("with a record that does not read")
	b.putBack(t, objectName(kid), body)
	b.putBack(t, anchorPrefix+"strange", nil)
	refused("with an event that is none")
	b.forget(t, anchorPrefix+"strange")
	b.putBack(t, secretPrefix+"strange", nil)
	refused("with a secret that does not read")
	b.forget(t, secretPrefix+"strange")
	if len(s.calls) != 0 {
		t.Errorf("switched: %v", s.calls)
	}
	if d, err := b.kms.Describe(t.Context(), b.kek); err != nil || d.State != kms.KEKEnabled {
		t.Errorf("the KEK is %s, %v; want enabled", d.State, err)
	}
	if err := b.DisableKEK(t.Context(), s, b.kek, ""); err != nil || strings.Join(s.calls, " ") != "disable" {
		t.Errorf("DisableKEK: %v, switched %v", err, s.calls)
	}
}

// TestDisableTurnsBack: what comes in while a KEK is switched off turns it on
// again, also when the caller has gone.
func TestDisableTurnsBack(t *testing.T) {
	for name, gone := range map[string]bool{"caller waits": false, "caller has gone": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			kid, k := key.NewKID(), key.NewContentKey()
			b.mustImport(t, kid, k)
			old := b.object(t, objectName(kid))
			if err := b.UseKEK(t.Context(), b.anotherKEK(t), ""); err != nil {
				t.Fatal(err)
			}
			if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := &switches{Local: b.kms, meanwhile: func() {
				b.putBack(t, objectName(kid), old)
				if gone {
					cancel()
				}
			}}
			err := b.DisableKEK(ctx, s, b.kek, "")
			if want := map[bool]error{false: ErrKEKInUse, true: context.Canceled}[gone]; !errors.Is(err, want) || !strings.Contains(err.Error(), "enabled again") {
				t.Errorf("DisableKEK: %v, want %v and that it is enabled again", err, want)
			}
			if got, err := b.Unwrap(t.Context(), kid, Verify, ""); err != nil || !got.Equal(k) {
				t.Errorf("Unwrap: %v, or another key", err)
			}
			if e := b.lastEntry(t); e.Action != "key.unwrap" {
				t.Errorf("audit record %+v", e)
			}
		})
	}
}

// TestDisableSaysWhatFailed: a switch that fails, and one that does not go back.
func TestDisableSaysWhatFailed(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	old := b.object(t, objectName(kid))
	if err := b.UseKEK(t.Context(), b.anotherKEK(t), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.DisableKEK(t.Context(), &switches{Local: b.kms, disableErr: kms.ErrDenied}, b.kek, ""); !errors.Is(err, kms.ErrDenied) {
		t.Errorf("DisableKEK: %v, want kms.ErrDenied", err)
	}
	stuck := &switches{Local: b.kms, enableErr: kms.ErrDenied, meanwhile: func() { b.putBack(t, objectName(kid), old) }}
	if err := b.DisableKEK(t.Context(), stuck, b.kek, ""); !errors.Is(err, kms.ErrDenied) || !errors.Is(err, ErrKEKInUse) {
		t.Errorf("DisableKEK: %v, want ErrKEKInUse and kms.ErrDenied", err)
	}
	wantSame(t, "audit", b.entries(t)[len(b.entries(t))-4:], []string{
		"kek.disable allowed", "kek.disable failed", "kek.disable allowed", "kek.disable failed",
	})
}

func FuzzChoices(f *testing.F) {
	body, err := json.MarshalIndent(choices{[]Choice{
		{KEK: "local:0123456789abcdef", Since: start, Actor: "alice", Reason: "first"},
		{KEK: "aws-kms:arn:aws:kms:eu-west-1:111122223333:key/a", Since: start.Add(time.Hour), Actor: "bob"},
	}}, "", "  ")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:50])
	f.Add(bytes.ReplaceAll(body, []byte("2026"), []byte("0001")))
	f.Add([]byte(`{"keks":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeChoices(b)
		if err != nil {
			wantCorrupt(t, err, kekName)
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeChoices(again); err != nil || len(back.KEKs) != len(c.KEKs) || back.current() != c.current() || c.current() == "" {
			t.Fatalf("reads as %+v, then as %+v, %v", c, back, err)
		}
	})
}
