package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// Tail reads the newest records, and then those that come. It does not go
// through the log: what is sequenced it takes from the end of the tree, the rest
// from the streams. Nothing is verified. It is not safe for concurrent use.
type Tail struct {
	store store.Reader
	clock func() time.Time
	c     *collector
	round int
}

const (
	// A stream that has been silent this long is looked at in one round of many:
	// without a sequencer nobody closes it.
	tailQuiet  = time.Hour
	tailRounds = 16
)

// NewTail returns a tail of the log in s.
func NewTail(s store.Reader, clock func() time.Time) *Tail { return &Tail{store: s, clock: clock} }

// Last returns the newest records that stand now, at most n, in the order of
// time. Call it once, before Next. With the records come errors of class
// ErrCorrupt about those that do not read, joined.
func (t *Tail) Last(ctx context.Context, n int) ([]Entry, error) {
	st, _, err := loadState(ctx, t.store)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	t.c = newCollector(t.store, st, 0)
	last, err := t.sequenced(ctx, st, n)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	for _, raw := range st.Pending {
		last = keep(last, stateName, raw, len(last)+1)
	}
	problems, err := t.pull(ctx, func(got []Entry) {
		last = newest(append(last, got...), n)
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return newest(last, n), errors.Join(problems...)
}

// sequenced are the last entries of the tree.
func (t *Tail) sequenced(ctx context.Context, st *state, n int) ([]Entry, error) {
	if st.Checkpoint == "" {
		return nil, nil
	}
	c, err := unsignedCheckpoint([]byte(st.Checkpoint))
	if err != nil {
		return nil, err
	}
	var out []Entry
	for at := (c.Size - 1) / tileWidth; at >= 0 && len(out) < n; at-- {
		where := tileOf(bundle, at, c.Size)
		entries, err := readBundle(ctx, t.store, where)
		if err != nil {
			return nil, err
		}
		for _, raw := range entries {
			out = keep(out, tileName(where), raw, len(out)+1)
		}
	}
	return out, nil
}

// keep adds an entry's record, if it has one.
func keep(out []Entry, object string, raw []byte, n int) []Entry {
	e, err := decodeEntry(object, raw)
	if err != nil || e.Record == nil {
		return out
	}
	return newest(append(out, Entry{ID: e.id(), Record: *e.Record}), n)
}

func newest(all []Entry, n int) []Entry {
	slices.SortStableFunc(all, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	return all[max(0, len(all)-n):]
}

// Next returns what has been written since the last call, in the order of time.
// A stream that began and ended in between is missed: call it more often than
// the sequencer closes silent streams. With an error come the records that were
// read before it; they do not come again.
func (t *Tail) Next(ctx context.Context) ([]Entry, error) {
	if t.c == nil {
		return nil, errors.New("read audit log: Next before Last succeeded")
	}
	t.round++
	now := t.clock()
	var out []Entry
	problems, err := t.pull(ctx, func(got []Entry) { out = append(out, got...) }, func(c *cursor) bool {
		return now.Sub(c.Seen) < tailQuiet || int(c.Stream[len(c.Stream)-1])%tailRounds == t.round%tailRounds
	})
	if err != nil {
		return out, fmt.Errorf("read audit log: %w", err)
	}
	return out, errors.Join(problems...)
}

// pull reads what the streams have beyond the cursors.
func (t *Tail) pull(ctx context.Context, got func([]Entry), only func(*cursor) bool) ([]error, error) {
	now := t.clock()
	if err := t.c.discover(ctx, now); err != nil {
		return nil, err
	}
	var problems []error
	for {
		batch, bad, err := t.c.collect(ctx, now, only)
		if problems = append(problems, bad...); err != nil {
			return problems, err
		}
		if len(batch) == 0 {
			return problems, nil
		}
		var out []Entry
		for _, f := range batch {
			if f.entry.Record != nil {
				out = append(out, Entry{ID: f.entry.id(), Record: *f.entry.Record})
			}
		}
		got(out)
	}
}
