package keyring

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

const day = 24 * time.Hour

// aging is a bench whose new keys expire, on a clock that the test moves.
func aging(t *testing.T, lifetimes ...Lifetime) (b *bench, now *time.Time) {
	t.Helper()
	b = newBench(t)
	at := start
	now = &at
	o := b.o
	o.Clock = func() time.Time { return *now }
	o.Lifetimes = lifetimes
	b.Ring = New(o).AsWorker()
	return b, now
}

// TestExpiry: from the moment its time is up an active key encrypts nothing,
// whether that was written down or not, and does not become active again.
func TestExpiry(t *testing.T) {
	b, now := aging(t, Lifetime{After: 90 * day})
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	for _, c := range []struct {
		at      time.Duration
		state   State
		encrypt error
	}{
		{0, Active, nil},
		{90*day - 1, Active, nil},
		{90 * day, Deactivated, ErrForbidden},
		{91 * day, Deactivated, ErrForbidden},
	} {
		*now = start.Add(c.at)
		rec, err := b.Get(t.Context(), kid)
		if err != nil || rec.State != Active || rec.StateAt(*now) != c.state || rec.Expired(*now) != (c.state == Deactivated) {
			t.Errorf("after %v: %s, which counts as %s, %v; want %s", c.at, rec.State, rec.StateAt(*now), err, c.state)
		}
		if _, err := b.Unwrap(t.Context(), kid, Encrypt, "r1"); !errors.Is(err, c.encrypt) {
			t.Errorf("after %v: Encrypt: %v, want %v", c.at, err, c.encrypt)
		}
		for _, u := range []Use{DecryptRekey, Deliver, Export, Verify} {
			if _, err := b.Unwrap(t.Context(), kid, u, ""); err != nil {
				t.Errorf("after %v: %s: %v", c.at, u, err)
			}
		}
	}
	for _, to := range []State{Suspended, Active, PreActivation} {
		if err := b.SetState(t.Context(), kid, to, "on"); !errors.Is(err, ErrTransition) {
			t.Errorf("expired to %s: %v, want ErrTransition", to, err)
		}
	}
	b.wantState(t, kid, Active, 1)
	b.mustSet(t, kid, Deactivated)
	b.wantState(t, kid, Deactivated, 2)
	compromised, suspended := key.NewKID(), key.NewKID()
	b.mustImport(t, compromised, key.NewContentKey())
	b.mustImport(t, suspended, key.NewContentKey())
	b.mustSet(t, suspended, Suspended)
	*now = now.Add(91 * day)
	b.mustSet(t, compromised, Compromised)
	if err := b.SetState(t.Context(), suspended, Active, "on"); !errors.Is(err, ErrTransition) {
		t.Errorf("back to active: %v, want ErrTransition", err)
	}
}

// TestExpiryEndsNoRotation: the rotation that made a key ends what it began, while
// it is open; nothing else encrypts under the key, and what
// somebody stopped stays stopped.
func TestExpiryEndsNoRotation(t *testing.T) {
	b, now := aging(t, Lifetime{After: day})
	made := func() key.KID {
		kid := key.NewKID()
		if _, err := b.Create(t.Context(), kid, CreateOptions{Rotation: "r1"}); err != nil {
			t.Fatal(err)
		}
		return kid
	}
	kid, imported := made(), key.NewKID()
	b.mustImport(t, imported, key.NewContentKey())
	stopped := map[State]key.KID{Deactivated: made(), Suspended: made(), Compromised: made()}
	for s, kid := range stopped {
		b.mustSet(t, kid, s)
	}
	unknown := b.o
	unknown.Rotations = nil
	*now = start.Add(2 * day)
	for _, written := range []bool{false, true} {
		if written {
			if err := b.Expire(t.Context(), kid); err != nil {
				t.Fatal(err)
			}
			b.wantState(t, kid, Deactivated, 2)
		}
		if _, err := b.Unwrap(t.Context(), kid, Encrypt, "r1"); err != nil {
			t.Errorf("Encrypt for the rotation that made it: %v", err)
		}
		for name, c := range map[string]struct {
			r        *Ring
			kid      key.KID
			rotation string
		}{
			"another rotation": {b.Ring, kid, "r2"}, "none": {b.Ring, kid, ""},
			"no rotations": {New(unknown).AsWorker(), kid, "r1"}, "imported": {b.Ring, imported, "r1"},
			"deactivated": {b.Ring, stopped[Deactivated], "r1"}, "suspended": {b.Ring, stopped[Suspended], "r1"},
			"compromised": {b.Ring, stopped[Compromised], "r1"},
		} {
			if _, err := c.r.Unwrap(t.Context(), c.kid, Encrypt, c.rotation); !errors.Is(err, ErrForbidden) {
				t.Errorf("%s, written down %v: %v, want ErrForbidden", name, written, err)
			}
		}
	}
	delete(b.open, "r1")
	if _, err := b.Unwrap(t.Context(), kid, Encrypt, "r1"); !errors.Is(err, ErrForbidden) {
		t.Errorf("Encrypt when the rotation is over: %v, want ErrForbidden", err)
	}
}

// TestDestroyExpired: that the key's time was up is in its history before its end.
func TestDestroyExpired(t *testing.T) {
	b, now := aging(t, Lifetime{After: day})
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	if err := b.Destroy(t.Context(), kid, "over"); !errors.Is(err, ErrTransition) {
		t.Errorf("Destroy of an active key: %v, want ErrTransition", err)
	}
	*now = start.Add(day)
	if err := b.Destroy(t.Context(), kid, "over"); err != nil {
		t.Fatal(err)
	}
	b.wantState(t, kid, Destroyed, 3)
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.History[1].State != Deactivated || rec.History[1].Reason != "expired" {
		t.Errorf("%+v, %v", rec.History, err)
	}
}

// TestExpire writes down what counts already, once; every other key stays as it
// is.
func TestExpire(t *testing.T) {
	b, now := aging(t, Lifetime{After: day})
	young, compromised := key.NewKID(), key.NewKID()
	b.mustImport(t, young, key.NewContentKey())
	b.mustImport(t, compromised, key.NewContentKey())
	b.mustSet(t, compromised, Compromised)
	if err := b.Expire(t.Context(), young); err != nil {
		t.Fatal(err)
	}
	b.wantState(t, young, Active, 1)
	*now = start.Add(day)
	for range 2 {
		for _, kid := range []key.KID{young, compromised} {
			if err := b.Expire(t.Context(), kid); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.wantState(t, young, Deactivated, 2)
	b.wantState(t, compromised, Compromised, 2)
	rec, err := b.Get(t.Context(), young)
	if err != nil || rec.History[1].Reason != "expired" || !rec.History[1].Time.Equal(*now) {
		t.Errorf("%+v, %v", rec.History, err)
	}
	if err := b.Expire(t.Context(), key.NewKID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("Expire of no key: %v, want ErrNotFound", err)
	}
}

// TestLifetimes: the shortest that applies counts; keys that none applies to, and
// keys that were there before, do not expire.
func TestLifetimes(t *testing.T) {
	b, _ := aging(t, Lifetime{Tag: "uhd", After: 30 * day}, Lifetime{Tag: "live", After: day}, Lifetime{Tag: "uhd", After: 60 * day})
	for _, c := range []struct {
		tags []string
		want time.Time
	}{
		{nil, time.Time{}},
		{[]string{"sd"}, time.Time{}},
		{[]string{"uhd"}, start.Add(30 * day)},
		{[]string{"uhd", "sd", "live"}, start.Add(day)},
	} {
		imported, made := key.NewKID(), key.NewKID()
		if _, err := b.Import(t.Context(), imported, key.NewContentKey(), ImportOptions{Tags: c.tags}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Create(t.Context(), made, CreateOptions{Tags: c.tags}); err != nil {
			t.Fatal(err)
		}
		for _, kid := range []key.KID{imported, made} {
			if rec, err := b.Get(t.Context(), kid); err != nil || !rec.Expires.Equal(c.want) {
				t.Errorf("%v: expires %v, %v; want %v", c.tags, rec.Expires, err, c.want)
			}
		}
	}
	for _, bad := range [][]string{{""}, {"a b"}, {"a,b"}, {"é"}, make([]string, 17)} {
		if _, err := b.Create(t.Context(), key.NewKID(), CreateOptions{Tags: bad}); !errors.Is(err, ErrSyntax) {
			t.Errorf("tags %q: %v, want ErrSyntax", bad, err)
		}
	}
}
