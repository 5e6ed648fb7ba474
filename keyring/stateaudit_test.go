package keyring

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// stateFindings holds the bench's store against its log.
func (b *bench) stateFindings(t *testing.T, more ...audit.Record) []string {
	t.Helper()
	a, err := BeginStateAudit(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	a.settle = time.Millisecond
	for r, err := range audit.Read(t.Context(), b.store) {
		if err != nil {
			t.Fatal(err)
		}
		a.Add(r)
	}
	for _, r := range more {
		a.Add(r)
	}
	found, err := a.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range found {
		out = append(out, fmt.Sprintf("%s %s", f.Kind, f.Object))
	}
	return out
}

// TestStateAudit: the store's states are held against the log: each anchor that
// was taken away, changed or made up is found, alone or with the key's object.
func TestStateAudit(t *testing.T) {
	b := newBench(t)
	kid, other := key.NewKID(), key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	b.mustImport(t, other, key.NewContentKey())
	old := b.object(t, objectName(kid))
	for _, s := range []State{Suspended, Deactivated, Compromised} {
		b.mustSet(t, kid, s)
	}
	if got := b.stateFindings(t); len(got) != 0 {
		t.Fatalf("nothing was touched: %q", got)
	}
	whole := map[int][]byte{}
	for n := 2; n <= 4; n++ {
		whole[n] = b.object(t, anchorName(kid, n))
	}
	for n := 2; n <= 4; n++ {
		b.forget(t, anchorName(kid, n))
		if got, want := b.stateFindings(t), []string{"removed " + anchorName(kid, n)}; !slices.Equal(got, want) {
			t.Errorf("without event %d: %q, want %q", n, got, want)
		}
		for m, body := range whole {
			want := []string{"changed " + anchorName(kid, n), "changed " + objectName(kid)}
			if b.putBack(t, anchorName(kid, n), body); m == n {
				want = []string{}
			}
			if got := b.stateFindings(t); !slices.Equal(got, want) {
				t.Errorf("event %d in the place of %d: %q, want %q", m, n, got, want)
			}
		}
		b.putBack(t, anchorName(kid, n), whole[n])
	}
	// All of it set back: the key is active again, and only the log tells.
	b.putBack(t, objectName(kid), old)
	want := []string{}
	for n := range whole {
		b.forget(t, anchorName(kid, n))
		want = append(want, "removed "+anchorName(kid, n))
	}
	b.wantState(t, kid, Active, 1)
	slices.Sort(want)
	if got := b.stateFindings(t); !slices.Equal(got, want) {
		t.Errorf("all set back: %q, want %q", got, want)
	}
	// Set again, it is as the log says.
	b.mustSet(t, kid, Suspended)
	if got := b.stateFindings(t); !slices.Equal(got, want[1:]) {
		t.Errorf("after the first change was made again: %q, want %q", got, want[1:])
	}
	b.putBack(t, anchorName(other, 2), whole[2])
	if got := b.stateFindings(t); !slices.Contains(got, "inserted "+anchorName(other, 2)) {
		t.Errorf("an event that nobody made: %q", got)
	}
}

// TestStateAuditOfWhatFailed: a change that the log says went wrong is not missed;
// of two at once the one that stands is enough.
func TestStateAuditOfWhatFailed(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	tried := audit.Record{Action: audit.KeyState, KID: kid.String(), StateVersion: 2, State: string(Suspended), Outcome: audit.Allowed}
	if got := b.stateFindings(t, tried); len(got) != 1 {
		t.Errorf("a change that is on the log alone: %q, want one finding", got)
	}
	failed := tried
	failed.Outcome = audit.Failed
	if got := b.stateFindings(t, tried, failed); len(got) != 0 {
		t.Errorf("a change that failed: %q", got)
	}
	b.mustSet(t, kid, Deactivated)
	if got := b.stateFindings(t, tried); len(got) != 0 {
		t.Errorf("of two at once one stands: %q", got)
	}
}

// TestStateAuditOfRaces: writers at once leave nothing to find.
func TestStateAuditOfRaces(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	var wg sync.WaitGroup
	for _, s := range []State{Suspended, Deactivated, Compromised, Suspended, Deactivated} {
		wg.Go(func() { _ = b.SetState(t.Context(), kid, s, "race") })
	}
	wg.Wait()
	if got := b.stateFindings(t); len(got) != 0 {
		t.Errorf("after a race: %q", got)
	}
}

// TestStateAuditOfRestores: a restore into an empty store puts its events on the
// log.
func TestStateAuditOfRestores(t *testing.T) {
	b, fresh := newBench(t), newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	b.mustSet(t, kid, Suspended)
	b.mustSet(t, kid, Deactivated)
	fresh.mustRestore(t, b.copyOf(t, kid), true)
	fresh.wantState(t, kid, Deactivated, 3)
	if got := fresh.stateFindings(t); len(got) != 0 {
		t.Errorf("after a restore: %q", got)
	}
	fresh.forget(t, anchorName(kid, 3))
	if got := fresh.stateFindings(t); !slices.Contains(got, "removed "+anchorName(kid, 3)) {
		t.Errorf("an event of a restore taken away: %q", got)
	}
}

// TestStateAuditOfLostRecord: where an event was anchored and writing the record
// failed, taking the event away is found all the same.
func TestStateAuditOfLostRecord(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	once := true
	b.store.on(func(op, name string) error {
		if once && op == "put" && name == objectName(kid) {
			once = false
			return store.ErrPrecondition
		}
		return nil
	})
	b.mustSet(t, kid, Compromised)
	b.store.on(nil)
	old := b.object(t, anchorName(kid, 2))
	b.forget(t, anchorName(kid, 2))
	if got := b.stateFindings(t); !slices.Contains(got, "removed "+anchorName(kid, 2)) {
		t.Errorf("set back: %q", got)
	}
	b.putBack(t, anchorName(kid, 2), old)
	if got := b.stateFindings(t); len(got) != 0 {
		t.Errorf("as it was: %q", got)
	}
}

// TestStateWrittenIntoRecord: a state that somebody writes into a record, and into
// its history, is not believed, and is found.
func TestStateWrittenIntoRecord(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	b.mustSet(t, kid, Compromised)
	whole := b.object(t, objectName(kid))
	rec, _, err := b.read(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(state State, history ...Event) []byte {
		forged := rec
		forged.State, forged.History = state, history
		body, err := encodeRecord(forged)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	active := rec.History[1]
	active.State = Active
	for name, body := range map[string][]byte{
		"another event":     edit(Active, rec.History[0], active),
		"one event more":    edit(Suspended, rec.History[0], active, b.event(Suspended, "forged", "")),
		"another last":      edit(Deactivated, rec.History[0], b.event(Deactivated, "forged", "")),
		"a reason reworded": edit(Compromised, rec.History[0], func(e Event) Event { e.Reason = "x"; return e }(rec.History[1])),
	} {
		b.putBack(t, objectName(kid), body)
		if k, err := b.Unwrap(t.Context(), kid, Export, ""); !errors.Is(err, ErrCorrupt) || !k.IsZero() {
			t.Errorf("%s: Unwrap: %v, want ErrCorrupt and no key", name, err)
		}
		for _, err := range b.List(t.Context()) {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: List: %v, want ErrCorrupt", name, err)
			}
		}
		if got := b.stateFindings(t); !slices.Contains(got, "changed "+objectName(kid)) {
			t.Errorf("%s: found %q", name, got)
		}
	}
	b.putBack(t, objectName(kid), whole)
	b.wantState(t, kid, Compromised, 2)
}
