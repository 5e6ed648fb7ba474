package audit

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// Entry is a record and its id, stream/number.
type Entry struct {
	ID string `json:"id"`
	Record
}

// Read yields every record in the order of time, merged across the streams: as
// they stand, in the tree or not, and without proof ([Verify] gives that). A
// stream whose clock went back is out of order in itself. It holds one record of
// each stream that overlaps in time with others.
//
// What does not read is yielded as an *Error of class [ErrCorrupt], as is a gap,
// and the walk goes on; if the store cannot be listed, that error is the last.
func Read(ctx context.Context, s store.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for e, err := range Entries(ctx, s) {
			if !yield(e.Record, err) {
				return
			}
		}
	}
}

// Entries is Read with the records' ids.
func Entries(ctx context.Context, s store.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m := merge{ctx: ctx, store: s}
		defer m.stop()
		m.walk(yield)
	}
}

// source is one stream being merged.
type source struct {
	stream string
	now    entry
	next   func() (store.Info, error, bool) // the entries after the first
	stop   func()
	want   int64
}

// sources is a heap: the earliest record first.
type sources []*source

func (h sources) Len() int { return len(h) }
func (h sources) Less(i, j int) bool {
	a, b := h[i].now, h[j].now
	if !a.Record.Time.Equal(b.Record.Time) {
		return a.Record.Time.Before(b.Record.Time)
	}
	return a.Stream < b.Stream
}
func (h sources) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)   { *h = append(*h, x.(*source)) }
func (h *sources) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

type merge struct {
	ctx   context.Context
	store store.Reader
	open  sources
}

func (m *merge) stop() {
	for _, s := range m.open {
		s.stop()
	}
}

// walk opens streams in the order in which they began, none later than the
// earliest record that is still to be yielded.
func (m *merge) walk(yield func(Entry, error) bool) {
	for info, err := range m.store.List(m.ctx, headsPrefix) {
		if err != nil {
			yield(Entry{}, fmt.Errorf("list audit streams: %w", err))
			return
		}
		stream, closed, ok := parseHead(info.Key)
		if closed {
			continue
		}
		if !ok {
			if !yield(Entry{}, corrupt(info.Key, "is not the name of a record")) {
				return
			}
			continue
		}
		began, _ := streamBegan(stream)
		if !m.drain(&began, yield) || !m.begin(info.Key, stream, yield) {
			return
		}
	}
	m.drain(nil, yield)
}

// drain yields what is earlier than until, or all.
func (m *merge) drain(until *time.Time, yield func(Entry, error) bool) bool {
	for len(m.open) > 0 {
		s := m.open[0]
		if until != nil && !s.now.Record.Time.Before(*until) {
			return true
		}
		if !yield(Entry{ID: s.now.id(), Record: *s.now.Record}, nil) {
			return false
		}
		if !m.advance(s, yield) {
			return false
		}
	}
	return true
}

// begin opens a stream by its first record. If that does not read, the others
// still may.
func (m *merge) begin(name, stream string, yield func(Entry, error) bool) bool {
	s := &source{stream: stream, want: 1}
	s.next, s.stop = iter.Pull2(m.store.List(m.ctx, streamPrefix(stream)))
	e, err := readEntry(m.ctx, m.store, name)
	if err != nil {
		if !yield(Entry{}, err) || !m.fill(s, yield) {
			s.stop()
			return false
		}
	} else {
		s.now = e
	}
	if s.now.Record != nil {
		heap.Push(&m.open, s)
	}
	return true
}

// advance moves the earliest stream on, or drops it at its end.
func (m *merge) advance(s *source, yield func(Entry, error) bool) bool {
	s.now = entry{}
	ok := m.fill(s, yield)
	if s.now.Record == nil {
		heap.Pop(&m.open)
		s.stop()
		return ok
	}
	heap.Fix(&m.open, 0)
	return ok
}

// fill reads the stream's next record; what does not read is yielded.
func (m *merge) fill(s *source, yield func(Entry, error) bool) bool {
	for {
		info, err, more := s.next()
		if !more {
			s.stop()
			return true
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("list audit stream %s: %w", s.stream, err))
			return false
		}
		stream, seq, ok := parseName(info.Key)
		if !ok || stream != s.stream {
			err = corrupt(info.Key, "is not the name of a record")
		} else if seq != s.want {
			err = corrupt(objectName(stream, s.want), "is missing: a later one stands")
			s.want = seq
			if !yield(Entry{}, err) {
				return false
			}
			err = nil
		}
		var e entry
		if err == nil {
			s.want++
			e, err = readEntry(m.ctx, m.store, info.Key)
		}
		if err != nil && !yield(Entry{}, err) {
			return false
		}
		if err == nil && e.Record != nil {
			s.now = e
			return true
		}
	}
}

func readEntry(ctx context.Context, s store.Getter, name string) (entry, error) {
	body, err := readObject(ctx, s, name)
	if err != nil {
		return entry{}, err
	}
	return decodeObject(name, body)
}

func readObject(ctx context.Context, s store.Getter, name string) ([]byte, error) {
	body, _, err := store.ReadAll(ctx, s, name, "", maxEntry, nil)
	if err != nil {
		return nil, fmt.Errorf("read audit record: %w", err)
	}
	return body, nil
}
