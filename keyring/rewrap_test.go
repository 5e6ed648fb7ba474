package keyring

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// filled is a bench with keys in every state that has a key, a destroyed one, and
// secrets; keys and secrets are by KID what they hold.
func filled(t *testing.T) (b *bench, keys, secrets map[key.KID]key.ContentKey) {
	t.Helper()
	b = newBench(t)
	keys, secrets = map[key.KID]key.ContentKey{}, map[key.KID]key.ContentKey{}
	for _, s := range States() {
		kid, k := key.NewKID(), key.NewContentKey()
		b.mustImport(t, kid, k)
		b.mustReach(t, kid, s)
		keys[kid] = k
	}
	for _, of := range []string{"r1", "r2"} {
		kid := key.KIDFromURI("rotation:" + of)
		if err := b.CreateSecret(t.Context(), kid, of); err != nil {
			t.Fatal(err)
		}
		k, err := b.OpenSecret(t.Context(), kid, of)
		if err != nil {
			t.Fatal(err)
		}
		secrets[kid] = k
	}
	return b, keys, secrets
}

// wantUnder: every key and secret is under kek, and opens to what it was.
func (b *bench) wantUnder(t *testing.T, kek string, keys, secrets map[key.KID]key.ContentKey) {
	t.Helper()
	for kid, k := range keys {
		rec, err := b.Get(t.Context(), kid)
		if err != nil {
			t.Errorf("Get: %v", err)
			continue
		}
		if rec.State == Destroyed {
			continue
		}
		if got, err := b.Ring.open(t.Context(), rec); err != nil || !got.Equal(k) || rec.KEK != kek {
			t.Errorf("%s %s is under %s (%v), want the same key under %s", rec.State, kid, rec.KEK, err, kek)
		}
	}
	for kid, k := range secrets {
		s, _, err := b.readSecret(t.Context(), secretName(kid))
		if err != nil || s.KEK != kek {
			t.Errorf("secret %s is under %s, %v; want %s", kid, s.KEK, err, kek)
		}
		if got, err := b.OpenSecret(t.Context(), kid, "test"); err != nil || !got.Equal(k) {
			t.Errorf("OpenSecret: another, or %v", err)
		}
	}
}

// wantUnused: nothing is under a KEK any more.
func (b *bench) wantUnused(t *testing.T, kek string) {
	t.Helper()
	if n, err := b.UnderKEK(t.Context(), kek); err != nil || n != 0 {
		t.Errorf("%d under %s, %v; want none", n, kek, err)
	}
}

// TestRewrap: every key and secret moves, states and history stay, the old KEK can
// then be switched off, and a second run has nothing to do.
func TestRewrap(t *testing.T) {
	b, keys, secrets := filled(t)
	before := map[key.KID]Record{}
	for rec, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		before[rec.KID] = rec
	}
	to := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), to, "yearly"); err != nil {
		t.Fatal(err)
	}
	if err := b.DisableKEK(t.Context(), b.kms, b.kek, ""); !errors.Is(err, ErrKEKInUse) {
		t.Errorf("DisableKEK with keys under it: %v, want ErrKEKInUse", err)
	}
	settled := 0
	n, err := b.RewrapAll(t.Context(), "yearly", func() { settled++ })
	// All but the destroyed one, and a secret for the fingerprints.
	if err != nil || fmt.Sprint(n) != fmt.Sprint(Rewrapped{KEK: to, Keys: 5, Moved: 8, Secrets: 3}) || settled != 2*8 {
		t.Errorf("RewrapAll: %+v, %v; settled %d", n, err, settled)
	}
	b.wantUnder(t, to, keys, secrets)
	b.wantUnused(t, b.kek)
	for kid, was := range before {
		rec, err := b.Get(t.Context(), kid)
		if err != nil || rec.State != was.State || len(rec.History) != len(was.History) || rec.Fingerprint != was.Fingerprint {
			t.Errorf("%+v, %v; it was %+v", rec, err, was)
		}
	}
	b.wantFound(t, keys, b.kek, to)
	if err := b.DisableKEK(t.Context(), b.kms, b.kek, "yearly"); err != nil {
		t.Errorf("DisableKEK: %v", err)
	}
	b.wantUnder(t, to, keys, secrets)
	if n, err := b.RewrapAll(t.Context(), "yearly", nil); err != nil || n.Moved != 0 || n.Keys != 5 {
		t.Errorf("again: %+v, %v; want none moved", n, err)
	}
	if due, err := b.DestroyKEK(t.Context(), b.kms, b.kek, "yearly"); err != nil || due.IsZero() {
		t.Errorf("DestroyKEK: %v, %v", due, err)
	}
}

// wantFound: every key that has a value is found by each KEK that it is, or was,
// under, and by no other.
func (b *bench) wantFound(t *testing.T, keys map[key.KID]key.ContentKey, keks ...string) {
	t.Helper()
	for kid := range keys {
		rec, err := b.Get(t.Context(), kid)
		if err != nil {
			t.Errorf("Get: %v", err)
			continue
		}
		if rec.State == Destroyed {
			continue
		}
		for _, kek := range keks {
			if !rec.UnderKEK(kek) {
				t.Errorf("%s %s is not found by %s: it is under %s, and was under %q", rec.State, kid, kek, rec.KEK, rec.KEKs)
			}
		}
		if want := len(keks) - 1; len(rec.KEKs) != want || rec.UnderKEK("local:00000000") {
			t.Errorf("%s was under %q, want %d of them", kid, rec.KEKs, want)
		}
	}
}

// TestRewrapRemembers: each KEK that a key was under finds it, once, however often
// it moves, back and forth too.
func TestRewrapRemembers(t *testing.T) {
	b, keys, _ := filled(t)
	one, two := b.kek, b.anotherKEK(t)
	three := b.anotherKEK(t)
	for _, to := range []string{two, one, two, three} {
		if err := b.UseKEK(t.Context(), to, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
			t.Fatal(err)
		}
	}
	b.wantFound(t, keys, one, two, three)
}

// TestRewrapResumes: a run whose key service fails goes past what failed, says so,
// leaves it as it was, and the next run moves that and nothing else.
func TestRewrapResumes(t *testing.T) {
	b, keys, secrets := filled(t)
	to := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), to, ""); err != nil {
		t.Fatal(err)
	}
	bad := key.NewKID()
	for kid := range keys {
		if rec, err := b.Get(t.Context(), kid); err == nil && rec.State == Active {
			bad = kid
		}
	}
	r := b.ring(b.store, &failing{Wrapper: b.kms, kid: bad})
	n, err := r.RewrapAll(t.Context(), "", nil)
	if !errors.Is(err, kms.ErrThrottled) || !strings.Contains(err.Error(), bad.String()) || n.Moved != 7 {
		t.Errorf("RewrapAll: %+v, %v; want 7 moved, and ErrThrottled of %s", n, err, bad)
	}
	if n, err := b.UnderKEK(t.Context(), b.kek); err != nil || n != 1 {
		t.Errorf("%d are left, %v; want 1", n, err)
	}
	if n, err := b.RewrapAll(t.Context(), "", nil); err != nil || n.Moved != 1 {
		t.Errorf("again: %+v, %v; want 1 moved", n, err)
	}
	b.wantUnder(t, to, keys, secrets)
}

// failing fails for one key.
type failing struct {
	Wrapper
	kid key.KID
}

func (f *failing) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	if kid == f.kid {
		return nil, kms.ErrThrottled
	}
	return f.Wrapper.Wrap(ctx, kek, kid, k)
}

// lying hands out another key than was wrapped.
type lying struct{ Wrapper }

func (l lying) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	if _, err := l.Wrapper.Unwrap(ctx, kek, kid, wrapped); err != nil {
		return key.ContentKey{}, err
	}
	return key.NewContentKey(), nil
}

// TestRewrapVerifies: nothing is written that does not open to the same key.
func TestRewrapVerifies(t *testing.T) {
	b, keys, secrets := filled(t)
	to := b.anotherKEK(t)
	liar := b.ring(b.store, lying{b.kms})
	if err := liar.UseKEK(t.Context(), to, ""); !errors.Is(err, errOtherKey) {
		t.Errorf("UseKEK: %v, want errOtherKey", err)
	}
	if err := b.UseKEK(t.Context(), to, ""); err != nil {
		t.Fatal(err)
	}
	if n, err := liar.RewrapAll(t.Context(), "", nil); !errors.Is(err, errOtherKey) || n.Moved != 0 {
		t.Errorf("RewrapAll: %+v, %v; want errOtherKey and none moved", n, err)
	}
	b.wantUnder(t, b.kek, keys, secrets)
}

// TestRewrapGoesPastCorrupt: one record that does not read keeps no other under
// the old KEK, which then stays on.
func TestRewrapGoesPastCorrupt(t *testing.T) {
	b, keys, secrets := filled(t)
	b.putBack(t, prefix+strings.Repeat("0", 32)+suffix, []byte("{"))
	b.putBack(t, secretPrefix+strings.Repeat("0", 32)+suffix, []byte("{"))
	to := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), to, ""); err != nil {
		t.Fatal(err)
	}
	if n, err := b.RewrapAll(t.Context(), "", nil); !errors.Is(err, ErrCorrupt) || n.Moved != 8 {
		t.Errorf("RewrapAll: %+v, %v; want 8 moved and ErrCorrupt", n, err)
	}
	b.wantUnder(t, to, keys, secrets)
	if err := b.DisableKEK(t.Context(), b.kms, b.kek, ""); !errors.Is(err, ErrKEKInUse) {
		t.Errorf("DisableKEK: %v, want ErrKEKInUse", err)
	}
}

// TestRewrapGivesUp: where all fails, a run ends soon.
func TestRewrapGivesUp(t *testing.T) {
	b := newBench(t)
	for range maxFailed + 5 {
		b.mustImport(t, key.NewKID(), key.NewContentKey())
	}
	if err := b.UseKEK(t.Context(), b.anotherKEK(t), ""); err != nil {
		t.Fatal(err)
	}
	var calls []string
	r := b.ring(b.store, &spy{Wrapper: b.kms, calls: &calls, err: kms.ErrUnavailable})
	if _, err := r.RewrapAll(t.Context(), "", nil); !errors.Is(err, kms.ErrUnavailable) || len(calls) != maxFailed {
		t.Errorf("RewrapAll: %v after %d calls, want kms.ErrUnavailable after %d", err, len(calls), maxFailed)
	}
}

// TestRewrapRace: keys and secrets that are made while the KEK is rotated and the
// old one switched off come out under the new one, and open.
func TestRewrapRace(t *testing.T) {
	b := newBench(t)
	keys, secrets := map[key.KID]key.ContentKey{}, map[key.KID]key.ContentKey{}
	var mu sync.Mutex
	var making sync.WaitGroup
	begun := make(chan struct{}, 4*8)
	for range 4 {
		making.Go(func() {
			r := b.rival()
			for range 8 {
				kid, k := key.NewKID(), key.NewContentKey()
				if _, err := r.Import(t.Context(), kid, k, ImportOptions{}); err != nil {
					t.Errorf("Import: %v", err)
				}
				id := key.KIDFromURI("rotation:" + kid.String())
				if err := r.CreateSecret(t.Context(), id, ""); err != nil {
					t.Errorf("CreateSecret: %v", err)
				}
				s, err := r.OpenSecret(t.Context(), id, "")
				if err != nil {
					t.Errorf("OpenSecret: %v", err)
				}
				mu.Lock()
				keys[kid], secrets[id] = k, s
				mu.Unlock()
				begun <- struct{}{}
			}
		})
	}
	<-begun
	to := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), to, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
		t.Errorf("RewrapAll: %v", err)
	}
	off := b.DisableKEK(t.Context(), b.kms, b.kek, "")
	making.Wait()
	if errors.Is(off, ErrKEKInUse) { // something came in: so it says to do
		if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
			t.Errorf("RewrapAll: %v", err)
		}
		off = b.DisableKEK(t.Context(), b.kms, b.kek, "")
	}
	if off != nil {
		t.Errorf("DisableKEK: %v", off)
	}
	b.wantUnder(t, to, keys, secrets)
	b.wantUnused(t, b.kek)
}

// TestCreateOutlivesDisable: the KEK is rotated and the old one switched off
// between the wrap of a key and the writing of its record.
func TestCreateOutlivesDisable(t *testing.T) {
	b := newBench(t)
	to := b.anotherKEK(t)
	kid, k, id := key.NewKID(), key.NewContentKey(), key.KIDFromURI("rotation:r1")
	rotate := func(name, to string) {
		from, err := b.KEK(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		b.store.on(func(op, at string) (err error) {
			if op == "put" && at == name {
				once.Do(func() {
					rival := b.rival()
					_, rewrapErr := rival.RewrapAll(t.Context(), "", nil)
					err = errors.Join(rewrapErr, rival.UseKEK(t.Context(), to, ""))
					_, rewrapErr = rival.RewrapAll(t.Context(), "", nil)
					err = errors.Join(err, rewrapErr, rival.DisableKEK(t.Context(), b.kms, from, ""))
				})
			}
			return err
		})
	}
	rotate(objectName(kid), to)
	b.mustImport(t, kid, k)
	third := b.anotherKEK(t)
	rotate(secretName(id), third)
	if err := b.CreateSecret(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	b.store.on(nil)
	if _, err := b.OpenSecret(t.Context(), id, ""); err != nil {
		t.Errorf("OpenSecret: %v", err)
	}
	b.wantUnder(t, third, map[key.KID]key.ContentKey{kid: k}, nil)
	b.wantUnused(t, b.kek)
	b.wantUnused(t, to)
}

// TestUnwrapOutlivesDisable: the same between the reading of a record and the
// opening of its key.
func TestUnwrapOutlivesDisable(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	to := b.anotherKEK(t)
	b.store.on(func(op, name string) error {
		if op != "put" || !strings.HasPrefix(name, "audit/") {
			return nil
		}
		b.store.on(nil) // this is the record of the unwrapping
		o := b.o        // with a log of its own: this one is writing
		o.Store, o.Log = b.store.Store, b.logOver(b.store.Store)
		rival := New(o)
		err := rival.UseKEK(t.Context(), to, "")
		_, rewrapErr := rival.RewrapAll(t.Context(), "", nil)
		return errors.Join(err, rewrapErr, rival.DisableKEK(t.Context(), b.kms, b.kek, ""))
	})
	if got, err := b.Unwrap(t.Context(), kid, Verify, ""); err != nil || !got.Equal(k) {
		t.Errorf("Unwrap: %v, or another key", err)
	}
}

// TestTwoRotationsOfKEK: of two at once both end, and everything is under the KEK
// that was chosen last.
func TestTwoRotationsOfKEK(t *testing.T) {
	b, keys, secrets := filled(t)
	var running sync.WaitGroup
	for range 3 {
		to, r := b.anotherKEK(t), b.rival()
		running.Go(func() {
			if err := r.UseKEK(t.Context(), to, ""); err != nil {
				return // another was chosen at the same moment
			}
			if _, err := r.RewrapAll(t.Context(), "", nil); err != nil && !errors.Is(err, ErrContended) {
				t.Errorf("RewrapAll: %v", err)
			}
			if err := r.DisableKEK(t.Context(), b.kms, b.kek, ""); err != nil && !errors.Is(err, ErrKEKInUse) {
				t.Errorf("DisableKEK: %v", err)
			}
		})
	}
	running.Wait()
	last, err := b.KEK(t.Context())
	if err != nil || last == b.kek {
		t.Fatalf("the KEK in use is %s, %v", last, err)
	}
	if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
		t.Errorf("RewrapAll: %v", err)
	}
	b.wantUnder(t, last, keys, secrets)
}

// TestRewrapOfMovedMaster: what is under a KEK that is gone cannot be moved, and
// says under which it is.
func TestRewrapOfMovedMaster(t *testing.T) {
	b, _, _ := filled(t)
	other := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master")})
	kek, err := other.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := b.ring(b.store, other)
	if err := r.UseKEK(t.Context(), kek, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.RewrapAll(ctx, "", nil); !errors.Is(err, kms.ErrNotFound) || !strings.Contains(err.Error(), b.kek) {
		t.Errorf("RewrapAll: %v, want kms.ErrNotFound of %s", err, b.kek)
	}
}
