package keyring

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

func TestCreateRace(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	var wg sync.WaitGroup
	wrapped := make([]string, 8)
	for i := range wrapped {
		wg.Go(func() {
			rec, err := b.Create(t.Context(), kid, CreateOptions{Rotation: "r1"})
			if err != nil {
				t.Errorf("Create: %v", err)
			}
			wrapped[i] = string(rec.Wrapped)
		})
	}
	wg.Wait()
	for _, w := range wrapped {
		if w != wrapped[0] {
			t.Fatal("two keys for one KID")
		}
	}
}

func TestImportRace(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		wg.Go(func() {
			created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"})
			if err != nil {
				t.Errorf("Import: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("created %d times", made)
	}
}

// TestUncertainWrite: the write lands, and the store says it may not have. The
// ring looks again, and does not do it twice.
func TestUncertainWrite(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	rival := b.rival()
	landed := false
	b.store.on(func(op, name string) error {
		if op != "put" || name != objectName(kid) || landed {
			return nil
		}
		landed = true
		if err := rival.SetState(t.Context(), kid, Compromised, "test"); err != nil {
			t.Error(err)
		}
		return store.ErrUnavailable
	})
	b.mustSet(t, kid, Compromised)
	if rec, err := b.Get(t.Context(), kid); err != nil || len(rec.History) != 2 {
		t.Errorf("%d events, %v; want 2", len(rec.History), err)
	}
}

// TestImportURIRace: while an import adds a URI, the state changes; both stay.
func TestImportURIRace(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	rival := b.rival()
	var once sync.Once
	b.store.on(func(op, name string) error {
		if op == "put" && name == objectName(kid) {
			once.Do(func() {
				if err := rival.SetState(t.Context(), kid, Compromised, "rival"); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	})
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"}); err != nil || created {
		t.Fatalf("Import: %v, %v; want false, nil", created, err)
	}
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.State != Compromised || rec.URI != "a.key" || len(rec.History) != 3 {
		t.Errorf("record %+v, %v; want compromised, with the URI", rec, err)
	}
}

// TestRivalCreates: another makes the record between the look and the write.
func TestRivalCreates(t *testing.T) {
	for name, same := range map[string]bool{"same": true, "other": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			kid, k := key.NewKID(), key.NewContentKey()
			rival := b.rival()
			var once sync.Once
			b.store.on(func(op, name string) error {
				if op != "put" || name != objectName(kid) {
					return nil
				}
				once.Do(func() {
					theirs := k
					if !same {
						theirs = key.NewContentKey()
					}
					if _, err := rival.Import(t.Context(), kid, theirs, ImportOptions{}); err != nil {
						t.Error(err)
					}
				})
				return nil
			})
			created, err := b.Import(t.Context(), kid, k, ImportOptions{})
			if created || same && err != nil || !same && !errors.Is(err, ErrExists) {
				t.Errorf("Import: %v, %v", created, err)
			}
		})
	}
}

// TestSetStateRace: whoever is second decides again on what the first left.
// Deactivating after compromising is refused; all other orders work out.
func TestSetStateRace(t *testing.T) {
	for range 20 {
		b := newBench(t)
		kid := key.NewKID()
		b.mustImport(t, kid, key.NewContentKey())
		calls := []State{Compromised, Deactivated, Compromised, Deactivated}
		errs := make([]error, len(calls))
		var wg sync.WaitGroup
		for i, to := range calls {
			wg.Go(func() { errs[i] = b.SetState(t.Context(), kid, to, "race") })
		}
		wg.Wait()
		for i, to := range calls {
			if errs[i] != nil && (to == Compromised || !errors.Is(errs[i], ErrTransition)) {
				t.Errorf("to %s: %v", to, errs[i])
			}
		}
		rec, err := b.Get(t.Context(), kid)
		if err != nil || rec.State != Compromised {
			t.Fatalf("state %s, %v; want compromised", rec.State, err)
		}
		if n := len(rec.History); n != 2 && n != 3 {
			t.Errorf("%d events, want 2 or 3: %+v", n, rec.History)
		}
	}
}

// TestSetStateLosesTheWrite: a rival lands between the read and the write.
func TestSetStateLosesTheWrite(t *testing.T) {
	tests := []struct {
		rival, to State
		want      error
	}{
		{Compromised, Compromised, nil},
		{Compromised, Deactivated, ErrTransition},
		{Deactivated, Compromised, nil},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s-first-%s", tt.rival, tt.to), func(t *testing.T) {
			b := newBench(t)
			kid := key.NewKID()
			b.mustImport(t, kid, key.NewContentKey())
			rival := b.rival()
			var once sync.Once
			b.store.on(func(op, name string) (err error) {
				if op == "put" && name == anchorName(kid, 2) {
					once.Do(func() { err = rival.SetState(t.Context(), kid, tt.rival, "rival") })
				}
				return err
			})
			if err := b.SetState(t.Context(), kid, tt.to, "second"); !errors.Is(err, tt.want) {
				t.Errorf("SetState: %v, want %v", err, tt.want)
			}
		})
	}
}

// TestSetStateGivesUp: a write that always loses ends.
func TestSetStateGivesUp(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	tries := 0
	b.store.on(func(op, name string) error {
		if op == "put" && name == anchorName(kid, 2) {
			tries++
			return store.ErrConflict
		}
		return nil
	})
	err := b.SetState(t.Context(), kid, Compromised, "")
	if !errors.Is(err, ErrContended) || !errors.Is(err, store.ErrConflict) {
		t.Errorf("SetState: %v, want ErrContended and the store's error", err)
	}
	if tries != maxTries+1 {
		t.Errorf("%d tries, want %d", tries, maxTries+1)
	}
	b.store.on(nil)
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.State != Active {
		t.Errorf("state %s, %v; want active", rec.State, err)
	}
}
