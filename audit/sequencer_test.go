package audit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// yard is a control store with its clock and signing key.
type yard struct {
	store  store.Store
	signer *Signer
	mu     sync.Mutex
	now    time.Time
}

func newYard(t *testing.T, s store.Store) *yard {
	t.Helper()
	signer, err := CreateSigner(filepath.Join(t.TempDir(), "audit.key"), "audit.example")
	if err != nil {
		t.Fatal(err)
	}
	return &yard{store: s, signer: signer, now: start}
}

// clock moves on a little at every look.
func (y *yard) clock() time.Time {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.now = y.now.Add(time.Millisecond)
	return y.now
}

func (y *yard) pass(d time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.now = y.now.Add(d)
}

func (y *yard) sequencer(s store.Store, shippers ...Shipper) *Sequencer {
	return NewSequencer(SequencerOptions{Store: s, Signer: y.signer, Clock: y.clock, Lease: time.Nanosecond, Shippers: shippers})
}

func (y *yard) append(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(t.Context(), Record{Action: KeyUnwrap, KID: fmt.Sprint(i), Outcome: Allowed}); err != nil {
			t.Fatal(err)
		}
	}
}

func (y *yard) fold(t *testing.T, q *Sequencer) Folded {
	t.Helper()
	f, err := q.Fold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (y *yard) verify(t *testing.T, held ...Checkpoint) *Verified {
	t.Helper()
	v, err := Verify(t.Context(), y.store, VerifyOptions{Verifier: y.signer.Verifier(), Held: held})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// good fails the test unless the log verifies with so many records in and out of
// the tree.
func (y *yard) good(t *testing.T, records, unsequenced int64, held ...Checkpoint) *Verified {
	t.Helper()
	v := y.verify(t, held...)
	for _, f := range v.Findings {
		t.Errorf("finding: %s", f)
	}
	if v.Records != records || v.Unsequenced != unsequenced {
		t.Errorf("%d records and %d unsequenced, want %d and %d", v.Records, v.Unsequenced, records, unsequenced)
	}
	return v
}

func TestFold(t *testing.T) {
	y := newYard(t, newMemory())
	y.good(t, 0, 0)
	q := y.sequencer(y.store)
	if f := y.fold(t, q); f.Added != 0 || f.Checkpoint.Size != 0 {
		t.Errorf("folding nothing: %+v", f)
	}
	a, b := New(y.store, y.clock, "alice"), New(y.store, y.clock, "bob")
	total := int64(0)
	var held []Checkpoint
	for _, n := range []int{1, 2, 250, 3, 1, 300} { // over the edge of a tile
		y.append(t, a, n)
		y.append(t, b, 1)
		f := y.fold(t, q)
		total += int64(n) + 1
		if f.Added != int64(n)+1 || f.Checkpoint.Size != total {
			t.Fatalf("%+v, want %d added and %d", f, n+1, total)
		}
		held = append(held, f.Checkpoint)
	}
	y.append(t, a, 3)
	y.good(t, total, 3, held...)
	// No partial tile is left of a tile that is full.
	for info, err := range y.store.List(t.Context(), logPrefix+"tile/") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info.Key, "/000.p/") && !strings.Contains(info.Key, "tile/1/") {
			t.Errorf("%s is left", info.Key)
		}
	}
}

// TestFoldClosesIdle: a silent stream ends and is forgotten; its writer goes on in
// another, and a second sweep takes nothing twice.
func TestFoldClosesIdle(t *testing.T) {
	y := newYard(t, newMemory())
	q := y.sequencer(y.store)
	l := New(y.store, y.clock, "alice")
	y.append(t, l, 5)
	y.fold(t, q)
	y.pass(time.Hour)
	if f := y.fold(t, q); f.Added != 1 { // the end
		t.Errorf("%d added, want the end of the stream", f.Added)
	}
	st, _, err := loadState(t.Context(), y.store)
	if err != nil || len(st.Streams) != 0 {
		t.Errorf("%d streams are still followed (%v)", len(st.Streams), err)
	}
	y.append(t, l, 2)
	y.pass(48 * time.Hour)
	f := y.fold(t, q)
	if f.Added != 3 || f.Checkpoint.Size != 9 {
		t.Errorf("%+v, want the 2 records and an end", f)
	}
	y.good(t, 7, 0, f.Checkpoint)
}

// TestFoldLateStream: a stream that began, by its writer's clock, long ago or in
// times to come is found by the sweep.
func TestFoldLateStream(t *testing.T) {
	y := newYard(t, newMemory())
	q := y.sequencer(y.store)
	y.append(t, New(y.store, y.clock, "alice"), 1)
	y.fold(t, q)
	for i, off := range []time.Duration{-50 * time.Hour, 50 * time.Hour} {
		y.append(t, New(y.store, func() time.Time { return start.Add(off) }, "bob"), i+1)
	}
	y.fold(t, q)
	y.good(t, 1, 3)
	y.pass(25 * time.Hour)
	y.fold(t, q)
	y.good(t, 4, 0)
}

// TestFoldCost: what a pass costs does not depend on the size of the log.
func TestFoldCost(t *testing.T) {
	y := newYard(t, newMemory())
	var ops atomic.Int64
	counted := &storetest.Faulty{Store: y.store, Before: func(string, string) error { ops.Add(1); return nil }}
	q := y.sequencer(counted)
	l := New(y.store, y.clock, "alice")
	var cost []int64
	for range 4 {
		y.append(t, l, 300)
		for range 20 { // streams of one record each
			y.append(t, New(y.store, y.clock, "cli"), 1)
		}
		y.fold(t, q)
		y.pass(2 * time.Hour)
		y.fold(t, q)
		y.append(t, l, 1)
		y.fold(t, q)
		ops.Store(0)
		y.append(t, l, 1)
		y.fold(t, q)
		cost = append(cost, ops.Load())
	}
	t.Log("operations of a pass over one new record:", cost)
	for _, c := range cost {
		if c > 30 {
			t.Errorf("a pass over one new record took %v operations as the log grew", cost)
			break
		}
	}
}

var errCrash = errors.New("the process died")

// crashing fails the n-th operation, before or after it is done, and all after it.
func crashing(s store.Store, n int64, after bool) *storetest.Faulty {
	var count atomic.Int64
	before := func(string, string) error {
		if c := count.Add(1); c > n || c == n && !after {
			return errCrash
		}
		return nil
	}
	done := func(string, string) error {
		if count.Load() >= n {
			return errCrash
		}
		return nil
	}
	return &storetest.Faulty{Store: s, Before: before, After: done}
}

// TestFoldCrash: a sequencer that dies at any operation leaves what the next one
// completes to the tree that it would have made.
func TestFoldCrash(t *testing.T) {
	clean := newYard(t, newMemory())
	l := New(clean.store, clean.clock, "alice")
	clean.append(t, l, 254)
	first := clean.fold(t, clean.sequencer(clean.store))
	clean.append(t, l, 4)
	clean.append(t, New(clean.store, clean.clock, "bob"), 1)
	clean.pass(2 * time.Hour) // the streams end as well
	for _, after := range []bool{false, true} {
		for n := int64(1); ; n++ {
			y := clean.copied(t)
			_, err := y.sequencer(crashing(y.store, n, after)).Fold(t.Context())
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatalf("operation %d: %v", n, err)
			}
			f := y.fold(t, y.sequencer(y.store))
			if f.Checkpoint.Size != 261 {
				t.Fatalf("operation %d: %d entries, want 261", n, f.Checkpoint.Size)
			}
			y.good(t, 259, 0, first.Checkpoint, f.Checkpoint)
			if t.Failed() {
				t.Fatalf("after a crash at operation %d (%v)", n, after)
			}
			if err == nil {
				if n < 20 {
					t.Errorf("only %d operations were tried", n)
				}
				break
			}
		}
	}
}

// TestAppendCrash: an append that failed, landed or not, leaves no gap.
func TestAppendCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		y := newYard(t, dir(t))
		fail := false
		hook := func(op, _ string) error {
			if fail && op == "put" {
				return store.ErrDenied
			}
			return nil
		}
		s := &storetest.Faulty{Store: y.store}
		if after {
			s.After = hook
		} else {
			s.Before = hook
		}
		l := New(s, y.clock, "alice")
		stand := int64(0)
		for i := range 20 {
			fail = i%3 == 2
			err := l.Append(t.Context(), Record{Action: KeyUnwrap, Outcome: Allowed})
			if fail != (err != nil) {
				t.Fatalf("append %d: %v", i, err)
			}
			if err == nil || after {
				stand++
			}
		}
		y.fold(t, y.sequencer(y.store))
		y.good(t, stand, 0)
	}
}

// TestLease: while one sequencer is alive others have nothing to do.
func TestLease(t *testing.T) {
	y := newYard(t, newMemory())
	a := NewSequencer(SequencerOptions{Store: y.store, Signer: y.signer, Clock: y.clock, Owner: "a"})
	b := NewSequencer(SequencerOptions{Store: y.store, Signer: y.signer, Clock: y.clock, Owner: "b"})
	y.fold(t, a)
	if _, err := b.Fold(t.Context()); !errors.Is(err, ErrLeased) {
		t.Errorf("Fold: %v, want ErrLeased", err)
	}
	y.pass(2 * time.Minute)
	y.fold(t, b)
	if _, err := a.Fold(t.Context()); !errors.Is(err, ErrLeased) {
		t.Errorf("Fold: %v, want ErrLeased", err)
	}
}

// TestSetBack: a state that was set back is not signed over.
func TestSetBack(t *testing.T) {
	y := newYard(t, newMemory())
	l := New(y.store, y.clock, "alice")
	y.append(t, l, 3)
	q := y.sequencer(y.store)
	y.fold(t, q)
	old := y.read(t, stateName)
	y.append(t, l, 3)
	y.fold(t, q)
	y.write(t, stateName, old)
	for name, q := range map[string]*Sequencer{"same": q, "new": y.sequencer(y.store)} {
		if _, err := q.Fold(t.Context()); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s process: %v, want ErrRolledBack", name, err)
		}
	}
	if v := y.verify(t); v.Good() {
		t.Error("the state was set back and nothing is found")
	}
}

// TestFoldBroken: a stream that was tampered with before it was sequenced stops,
// the others go on.
func TestFoldBroken(t *testing.T) {
	for _, how := range []string{"removed", "changed"} {
		t.Run(how, func(t *testing.T) {
			y := newYard(t, newMemory())
			y.append(t, New(y.store, y.clock, "alice"), 5)
			victim := names(t, y.store)[3]
			if how == "removed" {
				y.remove(t, victim)
			} else {
				y.write(t, victim, bytes.Replace(y.read(t, victim), []byte("allowed"), []byte("refused"), 1))
			}
			y.append(t, New(y.store, y.clock, "bob"), 2)
			y.pass(time.Hour)
			f, err := y.sequencer(y.store).Fold(t.Context())
			if !errors.Is(err, ErrCorrupt) || f.Checkpoint.Size < 5 {
				t.Errorf("%v with %d entries, want ErrCorrupt and the other stream", err, f.Checkpoint.Size)
			}
			if v := y.verify(t); v.Good() {
				t.Error("nothing is found")
			}
		})
	}
}
