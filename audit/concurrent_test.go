package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestSequencersRace: several at once, none kept away by a lease, while writers
// append: one tree, and in it every record once.
func TestSequencersRace(t *testing.T) {
	y := newYard(t, dir(t))
	ctx, cancel := context.WithCancel(t.Context())
	var writers, sequencers sync.WaitGroup
	var mu sync.Mutex
	var held []Checkpoint
	few := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(held) < 3
	}
	for range 3 {
		q := y.sequencer(y.store)
		sequencers.Go(func() {
			for ctx.Err() == nil || few() {
				f, err := q.Fold(t.Context())
				if err != nil && !errors.Is(err, ErrLeased) {
					t.Error(err)
				}
				mu.Lock()
				if f.Checkpoint.Size > 0 {
					held = append(held, f.Checkpoint)
				}
				mu.Unlock()
			}
		})
	}
	for range 4 {
		l := New(y.store, y.clock, "alice")
		writers.Go(func() { y.append(t, l, 50) })
	}
	writers.Wait()
	cancel()
	sequencers.Wait()
	f := y.fold(t, y.sequencer(y.store))
	if f.Checkpoint.Size != 200 {
		t.Errorf("%d entries, want 200", f.Checkpoint.Size)
	}
	y.good(t, 200, 0, append(held, f.Checkpoint)...)
}

// TestManyWriters: 50 writers of 200 records each through the file system, a
// sequencer beside them, none lost.
func TestManyWriters(t *testing.T) {
	y := newYard(t, dir(t))
	q := y.sequencer(y.store)
	ctx, cancel := context.WithCancel(t.Context())
	var writers, sequencer sync.WaitGroup
	var held []Checkpoint
	sequencer.Go(func() {
		for ctx.Err() == nil {
			f, err := q.Fold(t.Context())
			if err != nil {
				t.Error(err)
			}
			if f.Checkpoint.Size > 0 && len(held) < 50 {
				held = append(held, f.Checkpoint)
			}
		}
	})
	for w := range 50 {
		l := New(y.store, y.clock, fmt.Sprint("writer", w))
		for range 2 { // two at a time in each
			writers.Go(func() { y.append(t, l, 100) })
		}
	}
	writers.Wait()
	cancel()
	sequencer.Wait()
	f := y.fold(t, q)
	if f.Checkpoint.Size != 10000 {
		t.Errorf("%d entries, want 10000", f.Checkpoint.Size)
	}
	y.good(t, 10000, 0, held...)
	each := map[string]int{}
	last := time.Time{}
	for e, err := range Entries(t.Context(), y.store) {
		if err != nil {
			t.Fatal(err)
		}
		each[e.Actor]++
		if e.Time.Before(last) {
			t.Fatalf("record %s is out of order", e.ID)
		}
		last = e.Time
	}
	for w := range 50 {
		if n := each[fmt.Sprint("writer", w)]; n != 200 {
			t.Errorf("writer %d has %d records", w, n)
		}
	}
}
