package audit

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"slices"

	"github.com/seed-6133abe0/rekey/store"
)

// chain is a stream as far as it has been followed.
type chain struct {
	next   int64
	prev   string // empty after a gap: not known
	closed bool
	marked bool // the mark of its end stands
}

// recordsPass holds the streams' objects against the bundles, then looks at what
// stands beyond. It does so for one share of the streams.
type recordsPass struct {
	*verification
	share, shares uint64
	chains        map[string]*chain
	blind         bool     // a bundle did not read: numbers may jump
	marks         []string // of streams whose end is not in the tree
}

func (v *verification) records() error {
	streams := 0
	for info, err := range v.store.List(v.ctx, headsPrefix) {
		if err != nil {
			return err
		}
		if _, closed, ok := parseHead(info.Key); ok && !closed {
			streams++
		}
	}
	shares := uint64((streams + v.o.streams - 1) / v.o.streams) //nolint:gosec // neither is negative
	for share := range max(shares, 1) {
		p := &recordsPass{verification: v, share: share, shares: max(shares, 1), chains: map[string]*chain{}}
		for _, step := range []func() error{
			func() error { return v.walkEntries(p.bundle) }, p.heads, p.tails, p.ends,
		} {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *recordsPass) mine(stream string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream)) // never fails
	return h.Sum64()%p.shares == p.share
}

// bundle follows the streams through the tree's order.
func (p *recordsPass) bundle(at int64, batch [][]byte) error {
	object := tileName(tileOf(bundle, at/tileWidth, p.size))
	if batch == nil {
		p.blind = true
		return nil
	}
	var names []string
	var want [][]byte
	for i, raw := range batch {
		e, err := decodeEntry(object, raw)
		if err != nil {
			if p.share == 0 {
				p.out.add(Changed, object, "entry %d: %v", i, err)
			}
			p.blind = true
			continue
		}
		if !p.mine(e.Stream) {
			continue
		}
		p.sequenced(e, raw)
		names, want = append(names, objectName(e.Stream, e.Seq)), append(want, raw)
	}
	bodies, err := p.fetch(names)
	if err != nil {
		return err
	}
	for i, b := range bodies {
		switch {
		case b == nil:
			p.out.add(Removed, names[i], "is in the tree, but not in the store")
		case !bytes.Equal(b, want[i]):
			p.out.add(Changed, names[i], "is not what %s holds", object)
		}
	}
	return nil
}

// sequenced checks an entry's place in its stream.
func (p *recordsPass) sequenced(e entry, raw []byte) {
	c := p.chains[e.Stream]
	if c == nil {
		c = &chain{}
		p.chains[e.Stream] = c
	}
	name := objectName(e.Stream, e.Seq)
	switch {
	case p.blind && e.Seq != c.next:
	case c.closed:
		p.out.add(Inserted, name, "comes after the end of its stream")
	case e.Seq != c.next:
		p.out.add(Reordered, name, "comes in the tree where number %d should", c.next)
	case e.Prev != c.prev && c.prev != "":
		p.out.add(Changed, name, "does not follow the record before: that one's hash is another")
	}
	c.next, c.prev, c.closed = e.Seq+1, digest(raw), e.Closed
	if e.Record != nil {
		p.out.Records++
		p.each(*e.Record)
	}
}

func (p *recordsPass) each(r Record) {
	if p.o.Each != nil {
		p.o.Each(r)
	}
}

// fetch reads objects at once; nil is one that is not there. One that cannot be a
// record reads as empty.
func (p *recordsPass) fetch(names []string) ([][]byte, error) {
	out := make([][]byte, len(names))
	err := inParallel(p.ctx, len(names), readWidth, func(ctx context.Context, i int) error {
		b, err := readObject(ctx, p.store, names[i])
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if damaged(err) {
			b, err = []byte{}, nil
		}
		out[i] = b
		return err
	})
	return out, err
}

// listed walks the names under a prefix in lots, each with its objects, those
// that wanted chooses.
func (p *recordsPass) listed(prefix string, wanted func(name string) bool, each func(name string, body []byte) error) error {
	const lot = 256
	var names []string
	flush := func() error {
		bodies, err := p.fetch(names)
		for i := 0; i < len(names) && err == nil; i++ {
			err = each(names[i], bodies[i])
		}
		names = names[:0]
		return err
	}
	for info, err := range p.store.List(p.ctx, prefix) {
		if err != nil {
			return err
		}
		if !wanted(info.Key) {
			continue
		}
		if names = append(names, info.Key); len(names) == lot {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// heads looks at first records that are not in the tree, and at the marks of ends.
func (p *recordsPass) heads() error {
	return p.listed(headsPrefix, func(name string) bool {
		stream, closed, ok := parseHead(name)
		if !ok && p.share == 0 {
			p.out.add(Inserted, name, "is not the name of a record")
		}
		return ok && p.mine(stream) && (closed || p.chains[stream] == nil)
	}, func(name string, body []byte) error {
		stream, closed, _ := parseHead(name)
		if !closed {
			return p.tail(name, stream, 0, body)
		}
		c := p.chains[stream]
		if c == nil || !c.closed {
			p.marks = append(p.marks, stream)
			return nil
		}
		c.marked = true
		if body != nil && !bytes.Equal(body, closedBody(stream, c.next)) {
			p.out.add(Changed, name, "is not the mark of the end of its stream")
		}
		return nil
	})
}

// tails looks at the other records that are not in the tree.
func (p *recordsPass) tails() error {
	return p.listed(recordsPrefix, func(name string) bool {
		stream, seq, ok := parseName(name)
		if !ok && p.share == 0 {
			p.out.add(Inserted, name, "is not the name of a record")
		}
		if !ok || !p.mine(stream) {
			return false
		}
		c := p.chains[stream]
		return c == nil || seq >= c.next
	}, func(name string, body []byte) error {
		stream, seq, _ := parseName(name)
		if err := p.bridge(stream, seq); err != nil {
			return err
		}
		return p.tail(name, stream, seq, body)
	})
}

// bridge comes up to number seq: what the listing has passed by may have been
// written since, what is not there now was removed.
func (p *recordsPass) bridge(stream string, seq int64) error {
	for {
		c := p.chains[stream]
		next := int64(0)
		if c != nil {
			next = c.next
		}
		if next >= seq {
			return nil
		}
		name := objectName(stream, next)
		bodies, err := p.fetch([]string{name})
		if err != nil {
			return err
		}
		if bodies[0] == nil {
			p.out.add(Removed, name, "is missing: %s stands", objectName(stream, seq))
			p.chains[stream] = &chain{next: seq, closed: c != nil && c.closed}
			return nil
		}
		if err := p.tail(name, stream, next, bodies[0]); err != nil {
			return err
		}
	}
}

// tail checks an entry that is not in the tree against the one before it.
func (p *recordsPass) tail(name, stream string, seq int64, body []byte) error {
	if body == nil {
		return nil // listed, and gone: whatever follows it finds the gap
	}
	c := p.chains[stream]
	if c == nil {
		c = &chain{}
		p.chains[stream] = c
	}
	if seq < c.next {
		return nil
	}
	e, err := decodeObject(name, body)
	switch {
	case err != nil:
		p.out.add(Changed, name, "%v", err)
	case c.closed:
		p.out.add(Inserted, name, "comes after the end of its stream")
	case c.prev != "" && e.Prev != c.prev:
		p.out.add(Changed, name, "does not follow the record before: that one's hash is another")
	}
	if err != nil || e.Record != nil {
		p.out.Unsequenced++
	}
	if err == nil && e.Record != nil {
		p.each(*e.Record)
	}
	c.next, c.prev, c.closed = seq+1, digest(body), c.closed || e.Closed
	return nil
}

// ends holds the marks against the streams that have ended: a mark hides its
// stream from the sequencer, and without one it would be taken up anew.
func (p *recordsPass) ends() error {
	slices.Sort(p.marks)
	for _, stream := range p.marks {
		if c := p.chains[stream]; c == nil || !c.closed {
			p.out.add(Inserted, closedName(stream), "marks the end of a stream that has none")
		}
	}
	for stream, c := range p.chains {
		_, late := slices.BinarySearch(p.marks, stream)
		if c.closed && !c.marked && !late && p.open != nil && !p.open[stream] {
			bodies, err := p.fetch([]string{closedName(stream)})
			if err != nil {
				return err
			}
			if bodies[0] == nil {
				p.out.add(Removed, closedName(stream), "the stream has ended, the mark of that is missing")
			}
		}
	}
	return nil
}
