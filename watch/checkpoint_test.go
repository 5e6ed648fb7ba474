package watch

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

// signer makes a sequencer's key.
func newSigner(t *testing.T) *audit.Signer {
	t.Helper()
	s, err := audit.CreateSigner(t.TempDir()+"/key", "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCheckpoint: with a sequencer at work nothing is late; when it stops, what
// is written later is.
func TestCheckpoint(t *testing.T) {
	b := newBench(t)
	s := newSigner(t)
	q := audit.NewSequencer(audit.SequencerOptions{Store: b.store, Signer: s, Clock: b.Now})
	fold := func() {
		t.Helper()
		if _, err := q.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w := b.watcher(t, func(o *Options) { o.Verifier = s.Verifier() })
	for range 30 {
		b.append(t, audit.Record{Action: audit.KeyImport})
		b.add(2 * time.Second)
		fold()
		b.add(3 * time.Second)
		w.round(t.Context())
		b.add(time.Minute)
	}
	signed := b.Now().Add(-time.Minute - 3*time.Second)
	want(t, w, map[string]float64{
		"rekey_checkpoint_size": 30, "rekey_checkpoint_timestamp_seconds": seconds(signed),
		"rekey_unsequenced_since_timestamp_seconds": 0, "rekey_unsequenced_records": 0, `rekey_events_total{event="checkpoint-late"}`: 0,
	})
	// Silence is not late, however long.
	b.add(12 * time.Hour)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_events_total{event="checkpoint-late"}`: 0})

	first := b.Now()
	b.append(t, audit.Record{Action: audit.KeyImport})
	b.add(5 * time.Minute)
	b.append(t, audit.Record{Action: audit.KeyImport})
	b.add(5 * time.Minute)
	look(t, w)
	want(t, w, map[string]float64{
		"rekey_unsequenced_since_timestamp_seconds": seconds(first), "rekey_unsequenced_records": 2, `rekey_events_total{event="checkpoint-late"}`: 0,
	})
	b.add(6 * time.Minute)
	w.round(t.Context())
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_events_total{event="checkpoint-late"}`: 1})
	b.add(lateAgain)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_events_total{event="checkpoint-late"}`: 2})

	fold()
	w.round(t.Context())
	want(t, w, map[string]float64{"rekey_unsequenced_since_timestamp_seconds": 0, "rekey_unsequenced_records": 0})
	// A watcher that starts now finds nothing late.
	b.add(time.Hour)
	again := b.watcher(t, nil)
	again.round(t.Context())
	want(t, again, map[string]float64{"rekey_unsequenced_since_timestamp_seconds": 0, `rekey_events_total{event="checkpoint-late"}`: 0})
}

// TestNoSequencer: a log that nobody sequences is late, also for a watcher that
// comes afterwards.
func TestNoSequencer(t *testing.T) {
	b := newBench(t)
	b.append(t, audit.Record{Action: audit.KeyImport})
	b.add(time.Hour)
	w := b.watcher(t, nil)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_events_total{event="checkpoint-late"}`: 1, "rekey_checkpoint_timestamp_seconds": 0})
}

// TestCheckpointOfAnother: a checkpoint that the verifier's key has not signed
// covers nothing.
func TestCheckpointOfAnother(t *testing.T) {
	b := newBench(t)
	b.append(t, audit.Record{Action: audit.KeyImport})
	q := audit.NewSequencer(audit.SequencerOptions{Store: b.store, Signer: newSigner(t), Clock: b.Now})
	if _, err := q.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := b.watcher(t, func(o *Options) { o.Verifier = newSigner(t).Verifier() })
	b.add(20 * time.Minute)
	w.round(t.Context())
	want(t, w, map[string]float64{
		`rekey_watch_errors_total{part="checkpoint"}`: 1, `rekey_events_total{event="checkpoint-late"}`: 1,
		"rekey_checkpoint_size": 0, "rekey_watch_last_round_timestamp_seconds": 0,
	})
}

// TestCheckpointSigned: the sequencer of this process is heard at once, and an
// older checkpoint does not take the newer's place.
func TestCheckpointSigned(t *testing.T) {
	b := newBench(t)
	b.append(t, audit.Record{Action: audit.KeyImport})
	w := b.watcher(t, nil)
	w.round(t.Context())
	b.add(time.Minute)
	w.CheckpointSigned(7, b.Now())
	w.CheckpointSigned(3, b.Now().Add(time.Hour))
	w.CheckpointSigned(9, b.Now().Add(-time.Hour))
	want(t, w, map[string]float64{
		"rekey_checkpoint_size": 7, "rekey_checkpoint_timestamp_seconds": seconds(b.Now()), "rekey_unsequenced_records": 0,
	})
}

// TestCheckpointsSplit: what came after a checkpoint still waits.
func TestCheckpointsSplit(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var c checkpoints
	c.wait(at)
	c.wait(at.Add(time.Hour))
	c.sign(1, at.Add(30*time.Minute))
	if want := at.Add(30*time.Minute + slack); !c.oldest.Equal(want) || c.n == 0 {
		t.Errorf("oldest %s of %d, want %s", c.oldest, c.n, want)
	}
	c.wait(at.Add(29 * time.Minute)) // noticed late, and covered
	c.sign(2, at.Add(time.Hour))
	if !c.oldest.IsZero() || c.n != 0 {
		t.Errorf("oldest %s of %d, want none", c.oldest, c.n)
	}
}

func TestSizeOf(t *testing.T) {
	for text, want := range map[string]int64{
		"log\n12\nhash\n\n— sig\n": 12, "log\n0\n": 0, "": -1, "log": -1, "log\n12": -1, "\n12\n": -1, "log\n-1\n": -1, "log\n012\n": -1, "log\n+1\n": -1, "log\nx\n": -1,
	} {
		got, err := sizeOf([]byte(text))
		if want < 0 {
			if !errors.Is(err, audit.ErrCheckpoint) {
				t.Errorf("%q: %d, %v", text, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
}

func FuzzSizeOf(f *testing.F) {
	f.Add([]byte("rekey-audit\n42\nNvY1Wm2LbqP7nWbPSvRQEwxJdiTtUiqJZVlBgmzJzMk=\n\n— rekey-audit xyz\n"))
	f.Add([]byte("a\n9223372036854775808\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := sizeOf(b)
		if err == nil && size < 0 || err != nil && !errors.Is(err, audit.ErrCheckpoint) {
			t.Fatalf("%d, %v", size, err)
		}
	})
}
