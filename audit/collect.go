package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

const (
	// batchEntries and batchBytes bound what is taken up at once.
	batchEntries = 1024
	batchBytes   = 2 << 20
	readWidth    = 16 // objects read at once

	// A stream is looked for in the hours from lookBack before the last look to
	// lookAhead after now: clocks differ, and writes take time. What falls outside
	// all the same is found by the sweep over all heads.
	lookBack   = time.Hour
	lookAhead  = time.Hour
	sweepEvery = 24 * time.Hour

	// longAgo tells a backlog from news that a slow clock has dated back.
	longAgo = time.Hour
)

// collector reads what stands in the streams beyond a state's cursors.
type collector struct {
	store   store.Reader
	limit   int // streams followed at once; 0: any number
	streams map[string]*cursor
	listed  time.Time
	swept   time.Time
	// partial: there were more streams than the limit.
	partial bool
}

func newCollector(s store.Reader, st *state, limit int) *collector {
	c := &collector{store: s, limit: limit, streams: map[string]*cursor{}, listed: st.Listed, swept: st.Swept}
	for _, cur := range st.Streams {
		c.streams[cur.Stream] = &cur
	}
	return c
}

// cursors are the streams as the state keeps them.
func (c *collector) cursors() []cursor {
	out := make([]cursor, 0, len(c.streams))
	for _, cur := range c.streams {
		out = append(out, *cur)
	}
	slices.SortFunc(out, func(a, b cursor) int { return cmp.Compare(a.Stream, b.Stream) })
	return out
}

// discover looks for streams that are not followed yet.
func (c *collector) discover(ctx context.Context, now time.Time) error {
	c.partial = false
	if c.listed.IsZero() || now.Sub(c.listed) > sweepEvery || now.Sub(c.swept) > sweepEvery {
		if err := c.list(ctx, headsPrefix, now); err != nil {
			return err
		}
		if !c.partial {
			c.listed, c.swept = now, now
		}
		return nil
	}
	from, to := c.listed.Add(-lookBack).UTC().Truncate(time.Hour), now.Add(lookAhead)
	for hour := from; !hour.After(to); hour = hour.Add(time.Hour) {
		if err := c.list(ctx, headsPrefix+hour.Format(streamTime)[:hourChars]+"/", now); err != nil {
			return err
		}
	}
	if !c.partial && now.After(c.listed) {
		c.listed = now
	}
	return nil
}

func (c *collector) list(ctx context.Context, prefix string, now time.Time) error {
	done := "" // the mark that a stream is closed sorts right before its head
	for info, err := range c.store.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list audit streams: %w", err)
		}
		stream, closed, ok := parseHead(info.Key)
		if closed {
			done = stream
		}
		if !ok || closed || stream == done || c.streams[stream] != nil {
			continue
		}
		if c.limit > 0 && len(c.streams) >= c.limit {
			c.partial = true
			return nil
		}
		began, _ := streamBegan(stream)
		if began.After(now) {
			began = now
		}
		c.streams[stream] = &cursor{Stream: stream, Seen: began}
	}
	return nil
}

// found is an entry that a stream has beyond its cursor.
type found struct {
	stream string
	body   []byte
	entry  entry
	order  time.Time // its time, or that of an earlier one in its stream
}

// collect reads the next entries of all followed streams, in the order of time,
// the streams' own order kept, and moves the cursors on. What cannot be read
// stops its stream, not the others: that is the second result, of class
// ErrCorrupt. The third is a failure of the store.
func (c *collector) collect(ctx context.Context, now time.Time, only func(*cursor) bool) ([]found, []error, error) {
	var open []*cursor
	for _, cur := range c.streams {
		if !cur.Closed && !cur.broken && (only == nil || only(cur)) {
			open = append(open, cur)
		}
	}
	quota := max(1, batchEntries/max(1, len(open)))
	var mu sync.Mutex
	var all []found
	var problems []error
	err := inParallel(ctx, len(open), readWidth, func(ctx context.Context, i int) error {
		got, problem, err := c.follow(ctx, *open[i], quota)
		if problem != nil {
			open[i].broken = true
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, got...)
		if problem != nil {
			problems = append(problems, problem)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.order.Compare(b.order), cmp.Compare(a.stream, b.stream), cmp.Compare(a.entry.Seq, b.entry.Seq))
	})
	all = all[:fitting(all)]
	for _, f := range all {
		cur := c.streams[f.stream]
		cur.Next, cur.Prev, cur.Closed, cur.Seen = f.entry.Seq+1, digest(f.body), f.entry.Closed, now
		if now.Sub(f.order) >= longAgo {
			cur.Seen = f.order
		}
	}
	return all, problems, nil
}

// fitting is how many of the entries make one batch. What is left is read again.
func fitting(all []found) int {
	size := 0
	for i, f := range all {
		if size += len(f.body); i == batchEntries || i > 0 && size > batchBytes {
			return i
		}
	}
	return len(all)
}

// follow reads up to quota entries of one stream, from cur on.
func (c *collector) follow(ctx context.Context, cur cursor, quota int) (got []found, problem, err error) {
	for range quota {
		name := objectName(cur.Stream, cur.Next)
		body, err := readObject(ctx, c.store, name)
		if errors.Is(err, store.ErrNotFound) {
			return got, nil, nil
		}
		if errors.Is(err, store.ErrTooLarge) {
			return got, corrupt(name, "is larger than any record"), nil
		}
		if err != nil {
			return nil, nil, err
		}
		e, err := decodeObject(name, body)
		if err != nil {
			return got, err, nil
		}
		if e.Prev != cur.Prev {
			return got, corrupt(name, "does not follow the record before: that one's hash is another"), nil
		}
		at := cur.Seen
		if len(got) > 0 {
			at = got[len(got)-1].order
		}
		if e.Record != nil && e.Record.Time.After(at) || cur.Next == 0 {
			at = e.Record.Time
		}
		got = append(got, found{stream: cur.Stream, body: body, entry: e, order: at})
		cur.Next, cur.Prev = cur.Next+1, digest(body)
		if e.Closed {
			return got, nil, nil
		}
	}
	return got, nil, nil
}

// ends reports whether nothing stands at or after the cursor. If something does,
// an entry is missing: that is the error.
func (c *collector) ends(ctx context.Context, cur *cursor) error {
	last := ""
	for info, err := range c.store.List(ctx, streamPrefix(cur.Stream)) {
		if err != nil {
			return fmt.Errorf("list audit stream: %w", err)
		}
		last = info.Key
	}
	next := objectName(cur.Stream, max(cur.Next, 1))
	if strings.Compare(last, next) > 0 {
		return corrupt(objectName(cur.Stream, cur.Next), "is missing: %s stands", last)
	}
	return nil
}

// inParallel calls do for every i below n, width at once, until one fails.
func inParallel(ctx context.Context, n, width int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, width) {
		wg.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
