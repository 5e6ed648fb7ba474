package watch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// unwrap puts an opened key on record and looks.
func (b *bench) unwrap(t *testing.T, w *Watcher, actor, origin string) {
	t.Helper()
	b.add(time.Second)
	b.append(t, audit.Record{Action: audit.KeyUnwrap, Actor: actor, Origin: origin})
	look(t, w)
}

func TestNewOrigin(t *testing.T) {
	b := newBench(t)
	b.append(t, audit.Record{Action: audit.KeyUnwrap, Actor: "old", Origin: "192.0.2.1"})
	b.add(time.Minute)
	w := b.watcher(t, nil)
	w.round(t.Context())
	b.unwrap(t, w, "alice", "192.0.2.2")
	want(t, w, map[string]float64{`rekey_events_total{event="new-origin"}`: 0, "rekey_origins_known": 2, "rekey_origins_learning": 1})
	b.add(time.Hour)
	w.round(t.Context())
	want(t, w, map[string]float64{"rekey_origins_learning": 0})
	for i, c := range []struct {
		actor, origin string
		told          bool
	}{
		{"alice", "192.0.2.2", false},         // learnt
		{"old", "192.0.2.1", false},           // learnt from what stood before
		{"alice", "192.0.2.3", true},          // from elsewhere
		{"alice", "192.0.2.3", false},         // known now
		{"bob", "192.0.2.2", true},            // somebody else
		{"alice", "2001:db8:1:2::3", true},    //
		{"alice", "2001:db8:1:2:9::4", false}, // the same network
		{"alice", "2001:db8:1:3::3", true},    // another
		{"alice", "::ffff:192.0.2.2", false},  // the same address
		{"alice", "", true},                   // the host itself
		{"alice", "not an address", true},     //
		{"alice", "not an address", false},    //
		{"alice", "not an address\nx", true},  //
	} {
		before := count(t, w, NewOrigin)
		b.unwrap(t, w, c.actor, c.origin)
		if told := count(t, w, NewOrigin) > before; told != c.told {
			t.Errorf("case %d, %s from %q: told %v, want %v", i, c.actor, c.origin, told, c.told)
		}
	}
	// Nothing but an opened key counts.
	before := count(t, w, NewOrigin)
	for _, r := range []audit.Record{
		{Action: audit.KeyImport, Actor: "zed"}, {Action: audit.KeyUnwrap, Actor: "zed", Outcome: audit.Failed}, {Action: audit.KeyRefuse, Actor: "zed", Outcome: audit.Refused},
	} {
		b.append(t, r)
	}
	w.round(t.Context())
	if count(t, w, NewOrigin) != before {
		t.Error("what opens no key made an origin")
	}
	// What was not seen for longer than is remembered is new again.
	b.add(31 * 24 * time.Hour)
	b.unwrap(t, w, "alice", "192.0.2.2")
	if count(t, w, NewOrigin) != before+1 {
		t.Error("an origin is remembered for ever")
	}
}

// TestOriginsOfARing: what a ring puts on record is what is looked at.
func TestOriginsOfARing(t *testing.T) {
	b := newBench(t)
	kid := b.newKey(t)
	w := b.watcher(t, nil)
	w.round(t.Context())
	b.add(2 * time.Hour)
	r := b.ring.For(keyring.Asker{Person: "carol", Role: "operator", Origin: "192.0.2.9"})
	for _, use := range []keyring.Use{keyring.Deliver, keyring.Export} {
		if _, err := r.Unwrap(t.Context(), kid, use, ""); err != nil {
			t.Fatal(err)
		}
		b.add(time.Second)
	}
	look(t, w)
	if n := count(t, w, NewOrigin); n != 1 {
		t.Errorf("%v new origins, want 1", n)
	}
}

// TestOriginsSurvive: a second watcher, and one after a restart, know what the
// first has learnt; the object names nobody.
func TestOriginsSurvive(t *testing.T) {
	b := newBench(t)
	a, c := b.watcher(t, nil), b.watcher(t, nil)
	a.round(t.Context())
	c.round(t.Context())
	b.add(2 * time.Hour)
	// Each finds the other's write in the way.
	b.unwrap(t, a, "alice", "192.0.2.2")
	b.unwrap(t, c, "bob", "192.0.2.3")
	look(t, a)
	for name, w := range map[string]*Watcher{"first": a, "second": c} {
		want(t, w, map[string]float64{`rekey_watch_errors_total{part="origins"}`: 0, "rekey_origins_known": 2})
		if n := count(t, w, NewOrigin); n != 2 {
			t.Errorf("%s: %v new origins, want 2", name, n)
		}
	}
	body, err := os.ReadFile(filepath.Join(b.root, originsName))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(body, []byte("alice")) || bytes.Contains(body, []byte("192.0")) {
		t.Errorf("the object names who it is about: %s", body)
	}
	b.add(time.Hour)
	again := b.watcher(t, nil)
	again.round(t.Context())
	b.unwrap(t, again, "alice", "192.0.2.2")
	b.unwrap(t, again, "bob", "192.0.2.3")
	if n := count(t, again, NewOrigin); n != 0 {
		t.Errorf("after a restart %v known origins are new", n)
	}
}

// TestOriginsMerge: what another watcher has saved meanwhile stays.
func TestOriginsMerge(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, nil)
	w.round(t.Context())
	theirs, err := w.readOrigins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	theirs.since = theirs.since.Add(-time.Hour)
	theirs.seen("00112233445566778899aabbccddeeff", b.Now(), time.Hour)
	body, err := theirs.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Put(t.Context(), originsName, body, store.PutOptions{IfMatch: theirs.etag}); err != nil {
		t.Fatal(err)
	}
	b.unwrap(t, w, "alice", "192.0.2.2")
	both, err := w.readOrigins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(both.last) != 2 || !both.since.Equal(theirs.since) {
		t.Errorf("saved %v since %s, want both origins since %s", both.last, both.since, theirs.since)
	}
}

// TestOldIsNoNews: an origin that was forgotten is not told of for records that
// were read before.
func TestOldIsNoNews(t *testing.T) {
	b := newBench(t)
	saved := &origins{since: b.Now(), last: map[string]time.Time{}}
	b.add(90 * time.Minute) // longer than is learnt
	b.append(t, audit.Record{Action: audit.KeyUnwrap})
	b.add(30 * time.Minute)
	saved.through = b.Now()
	body, err := saved.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Put(t.Context(), originsName, body, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w := b.watcher(t, nil)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_events_total{event="new-origin"}`: 0, "rekey_origins_known": 1, "rekey_origins_learning": 0})
}

// TestOriginsLost: an object that does not read makes every origin new, at once.
func TestOriginsLost(t *testing.T) {
	for name, body := range map[string][]byte{"damaged": []byte("{"), "huge": bytes.Repeat([]byte(" "), maxSaved+1)} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			path := filepath.Join(b.root, originsName)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, body, 0o600)); err != nil {
				t.Fatal(err)
			}
			b.append(t, audit.Record{Action: audit.KeyUnwrap, Actor: "old"}) // no news
			b.add(time.Second)
			w := b.watcher(t, nil)
			w.round(t.Context())
			b.unwrap(t, w, "alice", "192.0.2.2")
			want(t, w, map[string]float64{`rekey_events_total{event="new-origin"}`: 1, `rekey_watch_errors_total{part="origins"}`: 1})
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeOrigins(after); err != nil {
				t.Errorf("it was not written anew: %v", err)
			}
		})
	}
}

// TestOriginsUnwritable: a store that may not be written to is no reason to stop
// watching.
func TestOriginsUnwritable(t *testing.T) {
	b := newBench(t)
	b.store.on(func(op, name string) error {
		if op == "put" && name == originsName {
			return &store.Error{Op: op, Key: name, Err: store.ErrDenied}
		}
		return nil
	})
	w := b.watcher(t, func(o *Options) { o.Learn = time.Nanosecond })
	w.round(t.Context())
	b.unwrap(t, w, "alice", "192.0.2.2")
	b.unwrap(t, w, "alice", "192.0.2.2")
	want(t, w, map[string]float64{`rekey_events_total{event="new-origin"}`: 1, `rekey_watch_errors_total{part="origins"}`: 35})
}

// TestOriginsContended: when others write every time, the round ends.
func TestOriginsContended(t *testing.T) {
	b := newBench(t)
	puts := 0
	b.store.on(func(op, name string) error {
		if op == "put" && name == originsName {
			puts++
			return &store.Error{Op: op, Key: name, Err: store.ErrPrecondition}
		}
		return nil
	})
	w := b.watcher(t, nil)
	w.round(t.Context())
	if puts != saveTries {
		t.Errorf("%d writes, want %d", puts, saveTries)
	}
	b.store.on(nil)
	w.round(t.Context())
	if _, err := os.Stat(filepath.Join(b.root, originsName)); err != nil {
		t.Error(err)
	}
}

func TestOriginsBounded(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := &origins{since: at, last: map[string]time.Time{}}
	for i := range 3 * maxOrigins {
		at = at.Add(time.Second)
		o.seen(originID("a", fmt.Sprint(i)), at, time.Hour)
		if len(o.last) > maxOrigins {
			t.Fatalf("%d origins", len(o.last))
		}
	}
	if o.seen(originID("a", fmt.Sprint(3*maxOrigins-1)), at, time.Hour) {
		t.Error("the newest was forgotten")
	}
	body, err := o.encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > maxSaved/2 {
		t.Errorf("a full set has %d bytes", len(body))
	}
}

func TestDecodeOrigins(t *testing.T) {
	const id1, id2 = "00112233445566778899aabbccddeeff", "01112233445566778899aabbccddeeff"
	entry := func(id string) string { return `{"id":"` + id + `","last":"2026-01-01T00:00:00Z"}` }
	object := func(version, entries string) string {
		return `{"version":` + version + `,"since":"2026-01-01T00:00:00Z","through":"2026-01-01T00:00:00Z","origins":[` + entries + `]}`
	}
	for name, c := range map[string]struct {
		body string
		good bool
	}{
		"good":           {object("1", entry(id1)+","+entry(id2)), true},
		"empty":          {object("1", ""), true},
		"nothing":        {"", false},
		"cut":            {object("1", entry(id1))[:40], false},
		"other version":  {object("2", ""), false},
		"no since":       {`{"version":1,"origins":[]}`, false},
		"unknown member": {`{"version":1,"since":"2026-01-01T00:00:00Z","more":1}`, false},
		"short id":       {object("1", entry("00")), false},
		"upper case":     {object("1", entry(strings.ToUpper(id1))), false},
		"twice":          {object("1", entry(id1)+","+entry(id1)), false},
		"out of order":   {object("1", entry(id2)+","+entry(id1)), false},
		"too many":       {object("1", strings.Repeat(entry(id1)+",", maxOrigins)+entry(id1)), false},
	} {
		_, err := decodeOrigins([]byte(c.body))
		e, typed := errors.AsType[*Error](err)
		if (err == nil) != c.good || err != nil && (!errors.Is(err, ErrCorrupt) || !typed || e.Object != originsName || e.Reason == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOrigins(f *testing.F) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := &origins{since: at, through: at.Add(time.Hour), last: map[string]time.Time{}}
	for i := range 3 {
		o.seen(originID("alice", fmt.Sprint(i)), at.Add(time.Duration(i)), time.Hour)
	}
	body, err := o.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"version":1,"since":"2026-01-01T00:00:00+02:00","through":"0001-01-01T00:00:00Z","origins":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOrigins(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("class of %v", err)
			}
			return
		}
		once, err := o.encode()
		if err != nil { // in UTC the year may be one that JSON has no form for
			return
		}
		again, err := decodeOrigins(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("written again it is another (%v)", err)
		}
	})
}

// TestOriginsLoadFails: while the set cannot be read, nothing is judged, and later
// all of it is.
func TestOriginsLoadFails(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, func(o *Options) { o.Learn = time.Nanosecond })
	w.round(t.Context())
	b.unwrap(t, w, "alice", "192.0.2.2")
	b.add(saveEvery)
	w.round(t.Context())
	again := b.watcher(t, func(o *Options) { o.Learn = time.Nanosecond })
	b.store.on(func(op, name string) error {
		if op == "get" && name == originsName {
			return &store.Error{Op: op, Key: name, Err: store.ErrUnavailable}
		}
		return nil
	})
	b.unwrap(t, again, "bob", "192.0.2.2")
	want(t, again, map[string]float64{`rekey_events_total{event="new-origin"}`: 0, `rekey_watch_errors_total{part="audit"}`: 17})
	b.store.on(nil)
	again.round(t.Context())
	want(t, again, map[string]float64{`rekey_events_total{event="new-origin"}`: 1})
}
