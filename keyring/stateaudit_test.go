package keyring

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// stateFindings holds the bench's store against its log.
func (b *bench) stateFindings(t *testing.T, more ...audit.Record) []string {
	t.Helper()
	a := NewStateAudit()
	for r, err := range audit.Read(t.Context(), b.store) {
		if err != nil {
			t.Fatal(err)
		}
		a.Add(r)
	}
	for _, r := range more {
		a.Add(r)
	}
	found, err := a.Check(t.Context(), b.store)
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
			want := []string{"changed " + anchorName(kid, n)}
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
