package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// TestOldCopyRevivesNothing: each older version of a key's object, put back after
// each later state, changes no state, opens no destroyed key, and loses no event.
func TestOldCopyRevivesNothing(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	versions := [][]byte{b.object(t, objectName(kid))}
	for n, s := range []State{Suspended, Active, Deactivated, Compromised, Destroyed} {
		b.mustSet(t, kid, s)
		versions = append(versions, b.object(t, objectName(kid)))
		for i, old := range versions {
			t.Run(fmt.Sprintf("%s/version %d", s, i+1), func(t *testing.T) {
				b.putBack(t, objectName(kid), old)
				b.wantState(t, kid, s, n+2)
				if s == Destroyed {
					for _, u := range Uses() {
						if k, err := b.Unwrap(t.Context(), kid, u, "r1"); !errors.Is(err, ErrForbidden) || !k.IsZero() {
							t.Errorf("%s: %v, want ErrForbidden and no key", u, err)
						}
					}
				}
				// What is made anew writes the record down again.
				b.mustSet(t, kid, s)
				if got := b.object(t, objectName(kid)); !bytes.Equal(got, versions[n+1]) {
					t.Errorf("the record was not written down again:\n%s", got)
				}
			})
		}
	}
	if err := b.SetState(t.Context(), kid, Active, "back"); !errors.Is(err, ErrTransition) {
		t.Errorf("SetState: %v, want ErrTransition", err)
	}
}

// wantState: Get and List say the same of a key.
func (b *bench) wantState(t *testing.T, kid key.KID, s State, events int) {
	t.Helper()
	rec, err := b.Get(t.Context(), kid)
	if err != nil || rec.State != s || len(rec.History) != events {
		t.Errorf("Get: %s with %d events, %v; want %s with %d", rec.State, len(rec.History), err, s, events)
	}
	for listed, err := range b.List(t.Context()) {
		if err != nil || listed.KID == kid && fmt.Sprint(listed) != fmt.Sprint(rec) {
			t.Errorf("List: %+v, %v; Get says %+v", listed, err, rec)
		}
	}
}

// TestOldCopyGoesOn: a change on top of a record that was put back builds on all
// events.
func TestOldCopyGoesOn(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	old := b.object(t, objectName(kid))
	b.mustSet(t, kid, Deactivated)
	b.putBack(t, objectName(kid), old)
	b.mustSet(t, kid, Compromised)
	b.wantState(t, kid, Compromised, 3)
}

// TestReimportTakesStateBack: a key whose record was lost, imported again, is in
// the state that it was in; only the same value gets that far.
func TestReimportTakesStateBack(t *testing.T) {
	for _, s := range []State{Active, Suspended, Deactivated, Compromised, Destroyed} {
		t.Run(string(s), func(t *testing.T) {
			b := newBench(t)
			kid, k := key.NewKID(), key.NewContentKey()
			b.mustImport(t, kid, k)
			for _, to := range ways[s] {
				b.mustSet(t, kid, to)
			}
			b.forget(t, objectName(kid))
			if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created != (s != Destroyed) {
				t.Errorf("Import: %v, %v; want %v, nil", created, err, s != Destroyed)
			}
			b.wantState(t, kid, s, 1+len(ways[s]))
			rec, err := b.Get(t.Context(), kid)
			if err != nil || (len(rec.Wrapped) == 0) != (s == Destroyed) {
				t.Errorf("%d wrapped bytes, %v", len(rec.Wrapped), err)
			}
			if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created {
				t.Errorf("and again: %v, %v", created, err)
			}
			if _, err := b.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{}); !errors.Is(err, ErrExists) {
				t.Errorf("another value: %v, want ErrExists", err)
			}
		})
	}
}

// TestCreateIsNoReimport: a new value does not go under the KID of a key whose
// record was lost: media is under the old one.
func TestCreateIsNoReimport(t *testing.T) {
	b := newBench(t)
	rec, err := b.Create(t.Context(), key.NewKID(), CreateOptions{Rotation: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	b.mustSet(t, rec.KID, Suspended)
	b.forget(t, objectName(rec.KID))
	if _, err := b.Create(t.Context(), rec.KID, CreateOptions{Rotation: "r1"}); !errors.Is(err, ErrExists) {
		t.Errorf("Create: %v, want ErrExists", err)
	}
}

// TestCorruptAnchor: an event that does not read, or that cannot follow, shuts
// its key and is named; other keys go on.
func TestCorruptAnchor(t *testing.T) {
	event := func(s State) string {
		body, err := encodeEvent(Event{Time: start, Actor: "mallory", State: s})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for name, body := range map[string]string{
		"empty": "", "no JSON": "x", "null": "null", "cut": event(Active)[:20], "no state": `{"time":"2026-01-01T00:00:00Z","actor":"a"}`,
		"no time": `{"actor":"a","state":"active"}`, "no actor": `{"time":"2026-01-01T00:00:00Z","state":"active"}`,
		"twice": event(Compromised) + event(Compromised), "back to active": event(Active), "too large": strings.Repeat(" ", maxAnchor+1),
		"member twice": strings.Replace(event(Destroyed), "{", `{"state":"destroyed",`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			kid, other := key.NewKID(), key.NewKID()
			b.mustImport(t, kid, key.NewContentKey())
			b.mustImport(t, other, key.NewContentKey())
			b.mustSet(t, kid, Deactivated)
			b.putBack(t, anchorName(kid, 3), []byte(body))
			if _, err := b.Get(t.Context(), kid); !errors.Is(err, ErrCorrupt) && !errors.Is(err, store.ErrTooLarge) || !strings.Contains(err.Error(), anchorName(kid, 3)) {
				t.Errorf("Get: %v, want an error that names %s", err, anchorName(kid, 3))
			}
			for _, f := range []func() error{
				func() error { return b.SetState(t.Context(), kid, Compromised, "") },
				func() error { _, err := b.Unwrap(t.Context(), kid, Deliver, ""); return err },
			} {
				if err := f(); err == nil {
					t.Error("the key is in use still")
				}
			}
			good, bad := 0, 0
			for rec, err := range b.List(t.Context()) {
				if err != nil {
					bad++
				} else if rec.KID == other {
					good++
				}
			}
			if good != 1 || bad != 1 {
				t.Errorf("List: %d good and %d bad, want 1 and 1", good, bad)
			}
		})
	}
}

// TestListMergesAnchors: events are found wherever they fall among the records,
// and what is no event is named without ending the walk.
func TestListMergesAnchors(t *testing.T) {
	b := newBench(t)
	states := map[key.KID]State{}
	var kids []key.KID
	for i := range 30 {
		kid := key.NewKID()
		kids = append(kids, kid)
		b.mustImport(t, kid, key.NewContentKey())
		states[kid] = Active
		if i%3 > 0 {
			old := b.object(t, objectName(kid))
			b.mustSet(t, kid, Compromised)
			states[kid] = Compromised
			if i%3 == 2 {
				b.putBack(t, objectName(kid), old)
			}
		}
	}
	b.forget(t, objectName(kids[1])) // events of no record
	delete(states, kids[1])
	strange := []string{anchorPrefix + "0", anchorPrefix + kids[4].String() + "/2.json", anchorPrefix + "zzz/00000002.json", anchorPrefix + kids[7].String() + "/00000001.json"}
	for _, name := range strange {
		b.putBack(t, name, []byte("{}"))
	}
	named := map[string]bool{}
	for rec, err := range b.List(t.Context()) {
		var e *Error
		switch {
		case errors.As(err, &e):
			named[e.Object] = true
		case err != nil:
			t.Fatal(err)
		case states[rec.KID] != rec.State:
			t.Errorf("%s is %s, want %s", rec.KID, rec.State, states[rec.KID])
		default:
			delete(states, rec.KID)
		}
	}
	if len(states) != 0 || len(named) != len(strange) {
		t.Errorf("not listed: %v; named: %v", states, named)
	}
}

// TestMissingAnchor: a hole in the events of a record that was put back is seen
// where all are listed.
func TestMissingAnchor(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	old := b.object(t, objectName(kid))
	b.mustSet(t, kid, Deactivated)
	b.mustSet(t, kid, Compromised)
	b.putBack(t, objectName(kid), old)
	b.forget(t, anchorName(kid, 2))
	for _, err := range b.List(t.Context()) {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), anchorName(kid, 2)) {
			t.Errorf("List: %v, want ErrCorrupt that names %s", err, anchorName(kid, 2))
		}
	}
}

// TestFullHistory: a key whose record is full takes no more events, but those
// that lead to its end; nothing is anchored that the record cannot hold.
func TestFullHistory(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	rec, at, err := b.read(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 55<<10) // as much as an audit record takes
	for {
		ev := b.event(Active, long, "")
		rec.History = append(rec.History, ev)
		if _, err := encodeLiving(rec); err != nil {
			rec.History = rec.History[:len(rec.History)-1]
			break
		}
		if err := b.anchor(t.Context(), kid, len(rec.History), ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.replace(t.Context(), rec, at.etag); err != nil {
		t.Fatal(err)
	}
	n := len(rec.History)
	if err := b.SetState(t.Context(), kid, Suspended, long); !errors.Is(err, ErrSyntax) {
		t.Errorf("SetState: %v, want ErrSyntax", err)
	}
	if _, err := b.store.Stat(t.Context(), anchorName(kid, n+1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an event was anchored that the record cannot hold (%v)", err)
	}
	kek := b.anotherKEK(t)
	if err := b.UseKEK(t.Context(), kek, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RewrapAll(t.Context(), "", nil); err != nil {
		t.Errorf("RewrapAll: %v", err)
	}
	for _, s := range []State{Deactivated, Compromised} {
		if err := b.SetState(t.Context(), kid, s, long); err != nil {
			t.Errorf("to %s: %v", s, err)
		}
	}
	if err := b.Destroy(t.Context(), kid, long); err != nil {
		t.Errorf("Destroy: %v", err)
	}
	b.wantState(t, kid, Destroyed, n+3)
}

// TestCostPerCall: a read is three GETs, and a walk two for each record that
// lacks no event: the record, and the event that its state comes from.
func TestCostPerCall(t *testing.T) {
	b := newBench(t)
	const keys = 10
	var kid key.KID
	for range keys {
		kid = key.NewKID()
		b.mustImport(t, kid, key.NewContentKey())
		for _, s := range []State{Suspended, Active, Suspended, Active, Deactivated} {
			b.mustSet(t, kid, s)
		}
	}
	gets := &counting{Store: b.store.Store}
	r := b.ring(gets, b.kms)
	if _, err := r.Get(t.Context(), kid); err != nil {
		t.Fatal(err)
	}
	if n := gets.n.Swap(0); n != 3 {
		t.Errorf("Get: %d GETs, want 3", n)
	}
	for _, err := range r.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := gets.n.Swap(0); n != 2*keys {
		t.Errorf("List: %d GETs, want %d", n, 2*keys)
	}
	if _, err := r.RewrapAll(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	if n := gets.n.Swap(0); n > 2*keys+4 { // kek.json twice, and a secret
		t.Errorf("RewrapAll with nothing to move: %d GETs, want about %d", n, 2*keys)
	}
}

type counting struct {
	store.Store
	n atomic.Int64
}

func (c *counting) Get(ctx context.Context, name string, o store.GetOptions) (store.Info, io.ReadCloser, error) {
	c.n.Add(1)
	return c.Store.Get(ctx, name, o)
}

func FuzzEvent(f *testing.F) {
	name := anchorName(key.KIDFromURI("a"), 2)
	for _, ev := range []Event{
		{Time: start, Actor: "alice", State: Compromised, Reason: "leaked", Rotation: "r1"},
		{Time: start, Actor: "bob", State: Active, Reason: reasonURI, URI: "keys/a.key?x=1&y=<2>"},
		{Time: start.Local(), Actor: "é\u2028", State: Destroyed},
	} {
		body, err := encodeEvent(ev)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := decodeEvent(name, b)
		if err != nil {
			wantCorrupt(t, err, name)
			return
		}
		again, err := encodeEvent(ev)
		if err != nil {
			return // escapes may make it longer than an event may be
		}
		if back, err := decodeEvent(name, again); err != nil || !back.same(ev) {
			t.Fatalf("reads as %+v, then as %+v, %v", ev, back, err)
		}
	})
}

// wantCorrupt: what a decoder says is an *Error that names the object.
func wantCorrupt(t *testing.T, err error, name string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrCorrupt) || e.Object != name {
		t.Fatalf("%v is no *Error of class ErrCorrupt that names %s", err, name)
	}
}

func FuzzSecret(f *testing.F) {
	kid := key.KIDFromURI("rotation:r1")
	body, err := json.Marshal(secret{kid, "local:0123", []byte{1, 2, 3, 4}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:20])
	f.Add(bytes.Replace(body, []byte("local:0123"), nil, 1))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSecret(secretName(kid), b)
		if err != nil {
			wantCorrupt(t, err, secretName(kid))
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeSecret(secretName(kid), again)
		if err != nil || back.KID != s.KID || back.KEK != s.KEK || !bytes.Equal(back.Wrapped, s.Wrapped) {
			t.Fatalf("reads as %+v, then as %+v, %v", s, back, err)
		}
	})
}
