package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// damage turns the last byte of the wrapped key of a record.
func (b *bench) damage(t *testing.T, kid key.KID) {
	t.Helper()
	var w wire
	if err := json.Unmarshal(b.object(t, objectName(kid)), &w); err != nil {
		t.Fatal(err)
	}
	w.Wrapped[len(w.Wrapped)-1] ^= 1
	body, err := encodeRecord(w.Record)
	if err != nil {
		t.Fatal(err)
	}
	b.putBack(t, objectName(kid), body)
}

// TestWithoutUnreadable: records and secrets that do not read, and keys that do
// not open, keep their KEK on, by name; a ring that goes on without them leaves
// them as they are, each on record, and moves all else.
func TestWithoutUnreadable(t *testing.T) {
	b, keys, secrets := filled(t)
	broken, damaged := key.NewKID(), key.NewKID()
	for _, kid := range []key.KID{broken, damaged} {
		b.mustImport(t, kid, key.NewContentKey())
	}
	b.putBack(t, objectName(broken), []byte("{"))
	b.damage(t, damaged)
	b.putBack(t, secretPrefix+"strange", nil)
	bad := []string{objectName(broken), objectName(damaged), secretPrefix + "strange"}
	slices.Sort(bad)
	to := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), to, "leak"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RewrapAll(t.Context(), "leak", nil); !errors.Is(err, ErrCorrupt) || !errors.Is(err, kms.ErrMismatch) {
		t.Errorf("RewrapAll: %v, want ErrCorrupt and kms.ErrMismatch", err)
	}
	err := b.DisableKEK(t.Context(), b.kms, b.kek, "leak")
	if !errors.Is(err, ErrKEKInUse) || !strings.Contains(err.Error(), objectName(broken)) || !strings.Contains(err.Error(), secretPrefix+"strange") {
		t.Errorf("DisableKEK: %v, want ErrKEKInUse and what does not read", err)
	}
	left := b.object(t, objectName(damaged))
	r := b.WithoutUnreadable()
	n, err := r.RewrapAll(t.Context(), "leak", nil)
	slices.Sort(n.Left)
	if err != nil || !slices.Equal(n.Left, bad) {
		t.Errorf("RewrapAll: %+v, %v; want %q left", n, err, bad)
	}
	if names, err := b.Unreadable(t.Context(), b.kek); err != nil || len(names) != len(bad) {
		t.Errorf("Unreadable: %q, %v; want %q", names, err, bad)
	}
	b.wantUnder(t, to, keys, secrets)
	if err := r.DisableKEK(t.Context(), b.kms, b.kek, "leak"); err != nil {
		t.Errorf("DisableKEK: %v", err)
	}
	if got := b.object(t, objectName(damaged)); string(got) != string(left) {
		t.Error("a key that does not open was changed")
	}
	for _, action := range []string{audit.KeyRewrap, audit.KEKDisable} {
		var on []string
		for e, err := range audit.Read(t.Context(), b.store) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Action == action && e.Outcome == audit.Unchanged {
				on = append(on, e.Object)
			}
		}
		slices.Sort(on)
		if !slices.Equal(on, bad) {
			t.Errorf("on record as left by %s: %q, want %q", action, on, bad)
		}
	}
}

// TestWithoutUnreadableStays: what opens keeps its KEK on all the same, and so
// does a key service that is away.
func TestWithoutUnreadableStays(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	if err := b.UseKEK(t.Context(), b.anotherKEK(t), ""); err != nil {
		t.Fatal(err)
	}
	if err := b.WithoutUnreadable().DisableKEK(t.Context(), b.kms, b.kek, ""); !errors.Is(err, ErrKEKInUse) {
		t.Errorf("DisableKEK: %v, want ErrKEKInUse", err)
	}
	away := b.ring(b.store, &failing{Wrapper: b.kms, kid: kid}).WithoutUnreadable()
	if n, err := away.RewrapAll(t.Context(), "", nil); !errors.Is(err, kms.ErrThrottled) || len(n.Left) != 0 {
		t.Errorf("RewrapAll: %+v, %v; want ErrThrottled and nothing left", n, err)
	}
}

// TestWithoutUnreadableAgain: what one rotation left, more than a pass goes past,
// stands in the way of no later one, nor of the end of its KEK; a key that was
// never tried does.
func TestWithoutUnreadableAgain(t *testing.T) {
	b := newBench(t)
	good := map[key.KID]key.ContentKey{key.NewKID(): key.NewContentKey()}
	for kid, k := range good {
		b.mustImport(t, kid, k)
	}
	untried := b.object(t, objectName(slices.Collect(maps.Keys(good))[0]))
	var bad []string
	for range maxFailed + 1 {
		kid := key.NewKID()
		b.mustImport(t, kid, key.NewContentKey())
		b.damage(t, kid)
		bad = append(bad, objectName(kid))
	}
	slices.Sort(bad)
	r, first, from := b.WithoutUnreadable(), b.kek, b.kek
	for _, reason := range []string{"one", "two"} {
		to := b.anotherKEK(t)
		if err := b.UseKEK(t.Context(), to, reason); err != nil {
			t.Fatal(err)
		}
		n, err := r.RewrapAll(t.Context(), reason, nil)
		slices.Sort(n.Left)
		if err != nil || n.Moved == 0 || !slices.Equal(n.Left, bad) {
			t.Errorf("RewrapAll %s: %+v, %v; want %d left", reason, n, err, len(bad))
		}
		b.wantUnder(t, to, good, nil)
		if err := r.DisableKEK(t.Context(), b.kms, from, reason); err != nil {
			t.Errorf("DisableKEK %s: %v", reason, err)
		}
		from = to
	}
	for _, e := range slices.Backward(b.entries(t)) {
		if e == "kek.rotate allowed" { // the second one
			break
		}
		if e == "key.rewrap failed" {
			t.Error("what was left under a KEK that is off was opened again")
		}
	}
	if _, err := b.DestroyKEK(t.Context(), b.kms, first, "end"); !errors.Is(err, ErrKEKInUse) {
		t.Errorf("DestroyKEK: %v, want ErrKEKInUse", err)
	}
	stray := key.NewKID()
	b.putBack(t, objectName(stray), bytes.ReplaceAll(untried, []byte(slices.Collect(maps.Keys(good))[0].String()), []byte(stray.String())))
	if _, err := r.DestroyKEK(t.Context(), b.kms, first, "end"); !errors.Is(err, ErrKEKInUse) || !strings.Contains(err.Error(), "once it is enabled") {
		t.Errorf("DestroyKEK with a key that was never tried: %v, want ErrKEKInUse", err)
	}
	b.forget(t, objectName(stray))
	if _, err := r.DestroyKEK(t.Context(), b.kms, first, "end"); err != nil {
		t.Errorf("DestroyKEK: %v", err)
	}
}

// TestRewrapInUseIsOff: with the KEK in use off, nothing counts as left.
func TestRewrapInUseIsOff(t *testing.T) {
	b := newBench(t)
	b.mustImport(t, key.NewKID(), key.NewContentKey())
	to := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), to, ""); err != nil {
		t.Fatal(err)
	}
	if err := b.kms.Disable(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if n, err := b.WithoutUnreadable().RewrapAll(t.Context(), "", nil); !errors.Is(err, kms.ErrDisabled) || len(n.Left) != 0 {
		t.Errorf("RewrapAll: %+v, %v; want kms.ErrDisabled and nothing left", n, err)
	}
}

// TestKEKNamed: the last KEK of a name, with each service for itself.
func TestKEKNamed(t *testing.T) {
	b := newBench(t)
	named := func(want string, class error) {
		t.Helper()
		if kek, err := b.KEKNamed(t.Context(), "local", "two"); kek != want || !errors.Is(err, class) {
			t.Errorf("KEKNamed: %q, %v; want %q, %v", kek, err, want, class)
		}
	}
	named("", ErrNotFound)
	for _, kek := range []string{"vault:transit/two", "local:00000001", "local:00000002"} {
		if err := b.NameKEK(t.Context(), "two", kek); err != nil {
			t.Fatal(err)
		}
	}
	named("local:00000002", nil)
	for _, body := range []string{"", "{}", `{"kek":"vault:x"}`, `{"kek":"local:1"}x`} {
		b.putBack(t, nameOfKEK("local", "two"), []byte(body))
		named("", ErrCorrupt)
	}
	if _, err := b.KEKNamed(t.Context(), "local", "../x"); !errors.Is(err, kms.ErrDenied) {
		t.Errorf("KEKNamed of no name: %v, want kms.ErrDenied", err)
	}
}
