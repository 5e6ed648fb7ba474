package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

func (b *bench) copies(t *testing.T) []Copy {
	t.Helper()
	var out []Copy
	for c, err := range b.Copies(t.Context(), "backup") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func (b *bench) mustRestore(t *testing.T, c Copy, created bool) {
	t.Helper()
	if got, err := b.Restore(t.Context(), c, "test"); err != nil || got != created {
		t.Errorf("Restore of %s: %v, %v; want %v, nil", c.KID, got, err, created)
	}
}

// TestCopies: each key of each state and each secret once, records in the order of
// KIDs before secrets in theirs, each on the log before it is opened; no key in
// what is not the key.
func TestCopies(t *testing.T) {
	b, keys, secrets := filled(t)
	logged := len(b.entries(t))
	all := b.copies(t)
	if len(all) != len(keys)+len(secrets) {
		t.Fatalf("%d copies, want %d", len(all), len(keys)+len(secrets))
	}
	for i, c := range all {
		want, isKey := keys[c.KID]
		if !isKey {
			want = secrets[c.KID]
		}
		if isKey != (i < len(keys)) || isKey == (string(c.Record) == "null") {
			t.Errorf("copy %d is out of order, or has the wrong record: %s", i, c.Record)
		}
		if i > 0 && i != len(keys) && all[i-1].KID.String() >= c.KID.String() {
			t.Errorf("%s after %s", c.KID, all[i-1].KID)
		}
		var rec Record
		if isKey {
			if err := json.Unmarshal(c.Record, &rec); err != nil {
				t.Fatal(err)
			}
		}
		if gone := rec.State == Destroyed; gone != c.Key.IsZero() || !gone && !c.Key.Equal(want) {
			t.Errorf("copy of %s %s holds another key", rec.State, c.KID)
		}
		wantHidden(t, "the record", c.Record, want)
		if strings.Contains(string(c.Record), "fingerprint") || strings.Contains(string(c.Record), "wrapped") {
			t.Errorf("the record says too much: %s", c.Record)
		}
	}
	wantSame(t, "audit", b.entries(t)[logged:], slices.Repeat([]string{"key.backup allowed"}, len(all)))
}

// TestCopiesStop: half a backup is none.
func TestCopiesStop(t *testing.T) {
	b, keys, _ := filled(t)
	ends := func(what string, r *Ring, want error) {
		t.Helper()
		var last error
		for c, err := range r.Copies(t.Context(), "backup") {
			if last != nil {
				t.Errorf("%s: it went on after %v", what, last)
			}
			if err != nil && !c.Key.IsZero() {
				t.Errorf("%s: a key with an error", what)
			}
			last = err
		}
		if !errors.Is(last, want) {
			t.Errorf("%s: %v, want %v", what, last, want)
		}
	}
	b.store.on(auditDown)
	ends("no log", b.Ring, errAudit)
	b.store.on(nil)
	ends("no key service", b.ring(b.store, &spy{Wrapper: b.kms, calls: new([]string), err: kms.ErrDenied}), kms.ErrDenied)
	b.putBack(t, secretPrefix+"strange", nil)
	ends("a strange secret", b.Ring, ErrCorrupt)
	for kid := range keys {
		b.putBack(t, objectName(kid), []byte("{"))
	}
	ends("corrupt records", b.Ring, ErrCorrupt)
}

// TestRestore: into an empty store, and again; every key is in its state with its
// history and its URIs, found by URI and by value, and the events are anchored.
func TestRestore(t *testing.T) {
	from, keys, secrets := filled(t)
	uris := key.NewKID()
	keys[uris] = key.NewContentKey()
	from.mustImport(t, uris, keys[uris])
	for _, uri := range []string{"a.key", "b.key"} {
		if err := from.AddURI(t.Context(), uris, uri); err != nil {
			t.Fatal(err)
		}
	}
	all := from.copies(t)
	to := newBench(t)
	for _, created := range []bool{true, false} {
		for _, c := range all {
			to.mustRestore(t, c, created)
		}
	}
	to.wantUnder(t, to.kek, keys, secrets)
	to.wantFound(t, keys, from.kek, to.kek)
	to.wantKID(t, "a.key", uris, true)
	to.wantKID(t, "b.key", uris, true)
	for kid, k := range keys {
		was, err := from.Get(t.Context(), kid)
		if err != nil {
			t.Fatal(err)
		}
		is, err := to.Get(t.Context(), kid)
		if err != nil {
			t.Fatal(err)
		}
		if is.State != was.State || fmt.Sprint(is.History) != fmt.Sprint(was.History) || !is.Created.Equal(was.Created) {
			t.Errorf("restored as %+v, it was %+v", is, was)
		}
		if _, err := to.store.Stat(t.Context(), anchorName(kid, len(is.History))); len(is.History) > 1 && err != nil {
			t.Errorf("%s: its last event is not anchored: %v", is.State, err)
		}
		if _, err := to.Import(t.Context(), key.NewKID(), k, ImportOptions{}); !errors.Is(err, ErrWeak) && is.State != Destroyed {
			t.Errorf("%s: its value is not known: %v", is.State, err)
		}
	}
}

// TestRestoreRevivesNothing: neither a copy that is older than the events that
// stand, nor an older copy after a newer one, nor the key itself.
func TestRestoreRevivesNothing(t *testing.T) {
	from := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	from.mustImport(t, kid, k)
	copies := []Copy{from.copyOf(t, kid)}
	for _, s := range []State{Suspended, Deactivated, Compromised, Destroyed} {
		from.mustSet(t, kid, s)
		copies = append(copies, from.copyOf(t, kid))
	}
	for i, old := range copies {
		from.forget(t, objectName(kid))
		from.mustRestore(t, old, true)
		from.wantState(t, kid, Destroyed, 5)
		to := newBench(t)
		to.mustRestore(t, copies[4], true)
		to.mustRestore(t, old, false)
		to.forget(t, objectName(kid))
		to.mustRestore(t, old, true)
		to.wantState(t, kid, Destroyed, 5)
		to.forget(t, objectName(kid))
		if created, err := to.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created {
			t.Errorf("Import: %v, %v; want false, nil", created, err)
		}
		to.wantState(t, kid, Destroyed, 5)
		if t.Failed() {
			t.Fatalf("copy %d", i)
		}
	}
}

// TestRestoreOfOtherStory: where the events that stand and those of the copy
// differ, the key ends in the state from which less comes back.
func TestRestoreOfOtherStory(t *testing.T) {
	for _, c := range []struct {
		copied, stands []State
		want           State
		events         int
	}{
		{[]State{Compromised}, []State{Suspended}, Compromised, 3},
		{[]State{Suspended, Active}, []State{Deactivated}, Deactivated, 2},
		{[]State{Deactivated}, []State{Compromised}, Compromised, 2},
		{[]State{Suspended}, []State{Suspended, Active}, Active, 3},
		{[]State{Deactivated, Destroyed}, []State{Suspended}, Destroyed, 4},
		{[]State{Deactivated}, []State{Compromised, Destroyed}, Destroyed, 3},
	} {
		t.Run(fmt.Sprint(c.copied, c.stands), func(t *testing.T) {
			b, from := newBench(t), newBench(t)
			kid, k := key.NewKID(), key.NewContentKey()
			for _, of := range []*bench{from, b} {
				of.mustImport(t, kid, k)
				way := c.copied
				if of == b {
					way = c.stands
				}
				for _, s := range way {
					of.mustSet(t, kid, s)
				}
			}
			b.forget(t, objectName(kid))
			b.mustRestore(t, from.copyOf(t, kid), true)
			b.wantState(t, kid, c.want, c.events)
			b.mustRestore(t, from.copyOf(t, kid), false)
		})
	}
}

// TestRestoreLeavesWhatStands: the same key stays as it is, another one is
// refused; for secrets as well.
func TestRestoreLeavesWhatStands(t *testing.T) {
	b, keys, secrets := filled(t)
	all := b.copies(t)
	for _, c := range all {
		b.mustRestore(t, c, false)
	}
	b.wantUnder(t, b.kek, keys, secrets)
	for _, c := range all {
		if c.Key.IsZero() {
			continue
		}
		c.Key = key.NewContentKey()
		if created, err := b.Restore(t.Context(), c, "test"); !errors.Is(err, ErrExists) || created {
			t.Errorf("another key: %v, %v; want ErrExists", created, err)
		}
	}
	b.mustRestore(t, Copy{KID: valuesKID(), Key: key.NewContentKey(), Record: json.RawMessage(noRecord)}, false)
}

// TestRestoreRace: of many who restore one key at once one makes it, and the
// others find it.
func TestRestoreRace(t *testing.T) {
	from, keys, secrets := filled(t)
	all := from.copies(t)
	to := newBench(t)
	var mu sync.Mutex
	made := 0
	var running sync.WaitGroup
	for range 4 {
		r := to.rival()
		running.Go(func() {
			for _, c := range all {
				created, err := r.Restore(t.Context(), c, "test")
				if err != nil {
					t.Errorf("Restore: %v", err)
				}
				mu.Lock()
				// The record of a destroyed key is the same bytes, whoever writes it,
				// and the secret of fingerprints stays the store's own.
				if created && !c.Key.IsZero() {
					made++
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	want := 0
	for _, c := range all {
		if !c.Key.IsZero() && c.KID != valuesKID() {
			want++
		}
	}
	if made != want {
		t.Errorf("%d were made, want %d", made, want)
	}
	to.wantUnder(t, to.kek, keys, secrets)
}

// TestRestoreRefusesNonsense: what is no copy.
func TestRestoreRefusesNonsense(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	good := b.copyOf(t, kid)
	to := newBench(t)
	record := func(from, into string) json.RawMessage {
		if !strings.Contains(string(good.Record), from) {
			t.Fatalf("there is no %s in %s", from, good.Record)
		}
		return json.RawMessage(strings.ReplaceAll(string(good.Record), from, into))
	}
	for name, c := range map[string]Copy{
		"no record":          {kid, k, nil},
		"no JSON":            {kid, k, json.RawMessage("{")},
		"another's record":   {key.NewKID(), k, good.Record},
		"no key":             {kid, key.ContentKey{}, good.Record},
		"key of a destroyed": {kid, k, record(`"active"`, `"destroyed"`)},
		"unknown state":      {kid, k, record(`"active"`, `"fresh"`)},
		"no history":         {kid, k, record(`"history":[`, `"history":[],"drm":[`)},
		"no actor":           {kid, k, record(`"alice"`, `""`)},
		"zero KID":           {key.KID{}, k, record(kid.String(), strings.Repeat("0", 32))},
		"secret of no name":  {key.KID{}, k, json.RawMessage(noRecord)},
		"secret of nothing":  {kid, key.ContentKey{}, json.RawMessage(noRecord)},
	} {
		created, err := to.Restore(t.Context(), c, "test")
		if !errors.Is(err, ErrCorrupt) || created {
			t.Errorf("%s: %v, %v; want ErrCorrupt", name, created, err)
			continue
		}
		wantHidden(t, name, []byte(err.Error()), k)
		if e := to.lastEntry(t); e.Action != "key.restore" || e.Outcome != "refused" {
			t.Errorf("%s: audit record %+v", name, e)
		}
	}
	for _, err := range to.List(t.Context()) {
		t.Errorf("something stands (%v)", err)
	}
	to.store.on(auditDown)
	if _, err := to.Restore(t.Context(), good, "test"); !errors.Is(err, errAudit) {
		t.Errorf("no log: %v, want the log's error", err)
	}
	to.store.on(nil)
	if _, err := to.store.Stat(t.Context(), objectName(kid)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a record stands (%v)", err)
	}
}
