package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

// TestCompromisedUnwrap holds the reading of reasons to the ring's own: each use
// that a ring refuses of a compromised key is told, and no other.
func TestCompromisedUnwrap(t *testing.T) {
	b := newBench(t)
	bad, good := b.newKey(t), b.newKey(t)
	b.setState(t, bad, keyring.Compromised)
	b.setState(t, good, keyring.Suspended)
	b.open["r1"], b.open["old"] = b.Now(), b.Now().Add(-30*24*time.Hour)
	w := b.watcher(t, nil)
	w.round(t.Context())
	b.add(time.Second)

	worker := b.ring.AsWorker()
	for _, c := range []struct {
		ring     *keyring.Ring
		kid      key.KID
		use      keyring.Use
		rotation string
		told     bool
		refused  bool
	}{
		{worker, bad, keyring.DecryptRekey, "", true, true},
		{worker, bad, keyring.DecryptRekey, "none", true, true},
		{worker, bad, keyring.Verify, "old", true, true},
		{b.ring, bad, keyring.Verify, "r1", true, true},
		{b.ring, bad, keyring.Export, "", true, true},
		{worker, bad, keyring.Encrypt, "r1", true, true},
		{worker, bad, keyring.DecryptRekey, "r1", false, false},
		{worker, bad, keyring.Deliver, "", false, false},
		{b.ring, good, keyring.Export, "", false, true},
		{b.ring, good, keyring.Encrypt, "r-compromised", false, true},
	} {
		before, refusals := count(t, w, CompromisedUnwrap), scrape(t, w)[`rekey_refused_total{area="key"}`]
		_, err := c.ring.Unwrap(t.Context(), c.kid, c.use, c.rotation)
		if errors.Is(err, keyring.ErrForbidden) != c.refused {
			t.Fatalf("%s for %q: %v, refused %v", c.use, c.rotation, err, c.refused)
		}
		b.add(time.Second)
		w.round(t.Context())
		if told := count(t, w, CompromisedUnwrap) > before; told != c.told {
			t.Errorf("%s for %q: told %v, want %v", c.use, c.rotation, told, c.told)
		}
		if got := scrape(t, w)[`rekey_refused_total{area="key"}`] > refusals; got != c.refused {
			t.Errorf("%s for %q: refusal counted %v, want %v", c.use, c.rotation, got, c.refused)
		}
	}
	want(t, w, map[string]float64{
		`rekey_compromised_unwraps_total{use="decrypt-rekey"}`:             2,
		`rekey_compromised_unwraps_total{use="verify"}`:                    2,
		`rekey_compromised_unwraps_total{use="export"}`:                    1,
		`rekey_compromised_unwraps_total{use="encrypt"}`:                   1,
		`rekey_compromised_unwraps_total{use="deliver"}`:                   0,
		`rekey_compromised_unwraps_total{use="other"}`:                     0,
		`rekey_events_total{event="refused-burst"}`:                        0,
		`rekey_audit_records_total{action="key.unwrap",outcome="allowed"}`: 2,
		`rekey_audit_records_total{action="key.refuse",outcome="refused"}`: 8,
		`rekey_event_last_timestamp_seconds{event="refused-burst"}`:        0,
		`rekey_watch_errors_total{part="audit"}`:                           0,
		`rekey_watch_last_round_timestamp_seconds`:                         seconds(b.Now()),
	})
}

// TestBurst: twenty refusals within five minutes are one burst, whatever was
// refused, and slower ones are none.
func TestBurst(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, nil)
	w.round(t.Context())
	refuse := func(n int, pause time.Duration) {
		for i := range n {
			b.add(pause)
			action := []string{audit.RoleRefuse, audit.ApprovalGrant, audit.KeyRefuse, audit.KEKDestroy, "made.up"}[i%5]
			b.append(t, audit.Record{Action: action, Actor: "mallory", Outcome: audit.Refused, Reason: "use deliver: no"})
		}
		look(t, w)
	}
	refuse(30, 20*time.Second) // three a minute
	if n := count(t, w, RefusedBurst); n != 0 {
		t.Errorf("%v bursts in ten minutes of three a minute", n)
	}
	b.append(t, audit.Record{Action: audit.ApprovalRefuse, Actor: "bob"}) // a decision, and no refused access
	b.add(time.Hour)
	refuse(19, time.Second)
	if n := count(t, w, RefusedBurst); n != 0 {
		t.Errorf("%v bursts of nineteen", n)
	}
	refuse(1, time.Second)
	if n := count(t, w, RefusedBurst); n != 1 {
		t.Errorf("%v bursts of twenty, want 1", n)
	}
	refuse(20, time.Second)
	if n := count(t, w, RefusedBurst); n != 2 {
		t.Errorf("%v bursts of twice twenty, want 2", n)
	}
	want(t, w, map[string]float64{
		`rekey_refused_total{area="role"}`: 15, `rekey_refused_total{area="approval"}`: 14, `rekey_refused_total{area="key"}`: 14,
		`rekey_refused_total{area="kek"}`: 14, `rekey_refused_total{area="other"}`: 13,
		`rekey_audit_records_total{action="other",outcome="refused"}`:           13,
		`rekey_audit_records_total{action="approval.refuse",outcome="allowed"}`: 1,
	})
}

// TestBoundedSeries: whatever is on record, there are no more series than at the
// start, and none names a key, a person or an address.
func TestBoundedSeries(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, nil)
	w.round(t.Context())
	before := len(scrape(t, w))
	b.add(time.Second)
	for i := range 50 {
		b.append(t, audit.Record{
			Action: fmt.Sprint("made.up", i), Outcome: fmt.Sprint("outcome", i), Actor: fmt.Sprint("actor", i), Origin: "192.0.2.7",
			KID: key.NewKID().String(), Reason: fmt.Sprintf("use use%d: compromised", i),
		})
		w.KMSFailed(fmt.Sprint("scheme", i), errDown)
	}
	w.round(t.Context())
	got := scrape(t, w)
	if len(got) != before {
		t.Errorf("%d series, at the start %d", len(got), before)
	}
	for name := range got {
		if strings.Contains(name, "made.up") || strings.Contains(name, "actor") || strings.Contains(name, "192.0.2") || strings.Contains(name, "scheme1") {
			t.Errorf("series %s names what was on record", name)
		}
	}
	if got[`rekey_audit_records_total{action="other",outcome="other"}`] != 50 {
		t.Error("the fifty records are not counted")
	}
}

// TestRestart: what was written while nobody watched counts when a watcher is
// back, once; what a first watcher finds does not.
func TestRestart(t *testing.T) {
	b := newBench(t)
	refuse := func() {
		b.add(time.Second)
		b.append(t, audit.Record{Action: audit.KeyRefuse, Outcome: audit.Refused, Reason: `use verify: x: "verify" of a key that is compromised: y`})
	}
	for range 3 {
		refuse()
	}
	b.add(10 * time.Minute)
	first := b.watcher(t, nil)
	first.round(t.Context())
	if n := count(t, first, CompromisedUnwrap); n != 0 {
		t.Errorf("a first watcher counts %v old records", n)
	}
	if got := scrape(t, first)["rekey_watch_tail_start_timestamp_seconds"]; got != seconds(b.Now()) {
		t.Errorf("the tail began at %v, want now, %v", got, seconds(b.Now()))
	}
	refuse()
	first.round(t.Context())
	first.round(t.Context())
	if n := count(t, first, CompromisedUnwrap); n != 1 {
		t.Errorf("%v events of one record", n)
	}
	b.add(saveEvery)
	first.round(t.Context()) // saves how far it has read

	b.add(time.Hour)
	refuse()
	refuse()
	b.add(time.Hour)
	second := b.watcher(t, nil)
	second.round(t.Context())
	// Two that nobody saw, and the one before them within the overlap.
	if n := count(t, second, CompromisedUnwrap); n != 3 {
		t.Errorf("%v events after a restart, want 3", n)
	}
}

// TestStoreFails: a store that fails costs no record and counts none twice.
func TestStoreFails(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, nil)
	w.round(t.Context())
	at := scrape(t, w)["rekey_watch_last_round_timestamp_seconds"]
	for i := range 60 {
		b.add(time.Second)
		b.append(t, audit.Record{Action: audit.KeyRefuse, Outcome: audit.Refused, KID: fmt.Sprint(i), Reason: "no"})
		reads := 0
		b.store.on(func(op, _ string) error {
			if reads++; op == "get" && reads > i%7 {
				return errDown
			}
			return nil
		})
		w.round(t.Context())
		b.store.on(nil)
		if i%5 == 0 {
			w.round(t.Context())
		}
	}
	w.round(t.Context())
	got := scrape(t, w)
	if n := got[`rekey_refused_total{area="key"}`]; n != 60 {
		t.Errorf("%v refusals counted, want 60", n)
	}
	if got[`rekey_watch_errors_total{part="audit"}`] == 0 || got[`rekey_watch_errors_total{part="checkpoint"}`] == 0 {
		t.Error("failed looks were not counted")
	}
	if got["rekey_watch_last_round_timestamp_seconds"] <= at {
		t.Error("the last round is not the last good one")
	}
	b.store.on(func(string, string) error { return errDown })
	b.add(time.Hour)
	w.round(t.Context())
	if after := scrape(t, w)["rekey_watch_last_round_timestamp_seconds"]; after != got["rekey_watch_last_round_timestamp_seconds"] {
		t.Error("a round that failed counts as one")
	}
}

// TestUnreadable: a record that was changed is told, and the others still count.
func TestUnreadable(t *testing.T) {
	for name, restart := range map[string]bool{"while it watches": false, "before it watches": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			w := b.watcher(t, nil)
			if !restart {
				w.round(t.Context())
			}
			b.add(time.Second)
			b.append(t, audit.Record{Action: audit.KeyImport})
			heads, err := filepath.Glob(filepath.Join(b.root, "audit", "heads", "*", "*.json"))
			if err != nil || len(heads) != 1 {
				t.Fatalf("heads: %v, %v", heads, err)
			}
			if err := os.WriteFile(heads[0], []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			other := audit.New(b.store, b.Now, "bob")
			if err := other.Append(t.Context(), audit.Record{Action: audit.KeyImport, Outcome: audit.Allowed}); err != nil {
				t.Fatal(err)
			}
			w.round(t.Context())
			w.round(t.Context())
			counted := 1.0
			if restart { // a first watcher does not count what it finds
				counted = 0
			}
			want(t, w, map[string]float64{
				"rekey_audit_unreadable_total":                                     1,
				`rekey_events_total{event="audit-unreadable"}`:                     1,
				`rekey_audit_records_total{action="key.import",outcome="allowed"}`: counted,
				`rekey_watch_last_round_timestamp_seconds`:                         seconds(b.Now()),
			})
		})
	}
}

func TestRecentIsBounded(t *testing.T) {
	var r recent
	for i := range 3 * remembered {
		if !r.add(fmt.Sprint(i)) || r.add(fmt.Sprint(i)) {
			t.Fatalf("%d is not new once", i)
		}
	}
	if len(r.known) != remembered || len(r.order) != remembered {
		t.Errorf("%d and %d ids, want %d", len(r.known), len(r.order), remembered)
	}
	if r.add(fmt.Sprint(2 * remembered)) {
		t.Error("the oldest that is remembered is not")
	}
}
