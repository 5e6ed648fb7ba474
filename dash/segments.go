package dash

import (
	"math"
	"strings"
)

// templates reads the SegmentTemplate in force: each attribute, and the
// SegmentTimeline, is that of the innermost element that has it (ISO/IEC 23009-1
// §5.3.9.1).
func (r *reader) templates(in scope, rep *Representation, p period) error {
	var err error
	if rep.init, err = r.templateAttr(in, "initialization"); err != nil {
		return err
	}
	if rep.media, err = r.templateAttr(in, "media"); err != nil {
		return err
	}
	if t := rep.init; t != nil {
		if t.template.has(number) || t.template.has(timeID) || t.template.has(subNumber) {
			return r.fail(ErrMalformed, t.at.start, "initialization has a segment's identifier")
		}
		rep.InitTemplate = t.value
		rep.Init = join(rep.Base, t.template.expand(rep, segmentID{}))
		if err := r.count(rep, 0, len(rep.Init)); err != nil {
			return err
		}
	}
	if rep.media == nil {
		r.refuse(rep.node.start, "Representation %q without media in its SegmentTemplate", rep.ID)
		return nil
	}
	rep.MediaTemplate = rep.media.value
	return r.media(in, rep, p)
}

// templateAttr finds an attribute of SegmentTemplate from the inside out.
func (r *reader) templateAttr(in scope, name string) (*templateAttr, error) {
	a, owner := effective(in, name)
	if a == nil {
		return nil, nil
	}
	if len(a.value) > MaxReference {
		return nil, r.fail(ErrLimit, a.at.start, "%s is longer than %d bytes", name, MaxReference)
	}
	t, err := parseTemplate(a.value)
	if err != nil {
		return nil, r.fail(ErrMalformed, a.at.start, "%s: %v", name, err)
	}
	return &templateAttr{attr: a, owner: owner, template: t}, nil
}

func effective(in scope, name string) (*attr, *node) {
	for i := len(in.templates) - 1; i >= 0; i-- {
		if a := in.templates[i].attribute(name); a != nil {
			return a, in.templates[i]
		}
	}
	return nil, nil
}

// clock holds the numbers that say which segments there are.
type clock struct {
	timescale, offset     uint64
	duration, startNumber uint64
	endNumber             uint64 // 0: none
}

func (r *reader) clock(in scope) (clock, error) {
	c := clock{timescale: 1, startNumber: 1}
	for _, f := range []struct {
		name string
		to   *uint64
		low  uint64
	}{
		{"timescale", &c.timescale, 1}, {"presentationTimeOffset", &c.offset, 0}, {"duration", &c.duration, 1},
		{"startNumber", &c.startNumber, 0}, {"endNumber", &c.endNumber, 0},
	} {
		a, _ := effective(in, f.name)
		if a == nil {
			continue
		}
		n, ok := parseUint(strings.TrimSpace(a.value))
		if !ok || n < f.low || n > math.MaxInt64 {
			return c, r.fail(ErrMalformed, a.at.start, "%s of SegmentTemplate is not a number of %d or more", f.name, f.low)
		}
		*f.to = n
	}
	return c, nil
}

// media lists the segments.
func (r *reader) media(in scope, rep *Representation, p period) error {
	c, err := r.clock(in)
	if err != nil {
		return err
	}
	var timeline *node
	for _, t := range in.templates {
		r.work += len(t.children)
		if tl := t.named("SegmentTimeline"); len(tl) > 0 {
			timeline = tl[0]
		}
	}
	t := rep.media.template
	switch {
	case t.has(subNumber):
		r.refuse(rep.media.at.start, "$SubNumber$: segment sequences")
		return nil
	case timeline != nil:
		return r.timeline(timeline, c, rep, p)
	case t.has(timeID):
		r.refuse(rep.media.at.start, "$Time$ without a SegmentTimeline")
		return nil
	}
	count, ok := uint64(1), true // §5.3.9.5.3: neither duration nor timeline is one segment
	switch {
	case c.endNumber > 0:
		count = c.endNumber - min(c.startNumber, c.endNumber) + 1
	case c.duration > 0 && !p.known:
		r.refuse(rep.node.start, "Representation %q has a segment duration and its Period none", rep.ID)
		return nil
	case c.duration > 0:
		count, ok = segmentCount(p.nanos, c.timescale, c.duration)
	}
	if !ok || count > MaxSegments {
		return r.fail(ErrLimit, rep.media.at.start, "more than %d segments", MaxSegments)
	}
	for i := range count {
		if err := r.add(rep, segmentID{number: c.startNumber + i, time: i * c.duration}); err != nil {
			return err
		}
	}
	return nil
}

// segmentCount is how many segments of d ticks a period of nanos begins.
func segmentCount(nanos, timescale, d uint64) (uint64, bool) {
	if d > math.MaxUint64/nanosPerSecond {
		return 1, true // longer than 584 years at one tick a second
	}
	return ceilDiv(nanos, timescale, d*nanosPerSecond)
}

func (r *reader) add(rep *Representation, id segmentID) error {
	ref := join(rep.Base, rep.media.template.expand(rep, id))
	if err := r.count(rep, 1, len(ref)); err != nil {
		return err
	}
	rep.Media, rep.ids = append(rep.Media, ref), append(rep.ids, id)
	return nil
}

// count keeps the limits on what an MPD expands to.
func (r *reader) count(rep *Representation, segments, bytes int) error {
	r.segments += segments
	r.bytes += bytes
	if r.segments > MaxSegments || r.bytes > MaxSegmentBytes || r.work > maxWork {
		return r.fail(ErrLimit, rep.node.start, "more than %d segments or %d bytes of their names", MaxSegments, MaxSegmentBytes)
	}
	return nil
}

// timeline walks a SegmentTimeline (ISO/IEC 23009-1 §5.3.9.6).
func (r *reader) timeline(tl *node, c clock, rep *Representation, p period) error {
	r.work += len(tl.children)
	var run timelineRun
	id := segmentID{number: c.startNumber}
	entries := tl.named("S")
	for i, n := range entries {
		if err := r.entry(n, &run); err != nil {
			return err
		}
		if run.hasT {
			id.time = run.t
		}
		count := uint64(run.r) + 1
		if run.r < 0 {
			end, ok, err := r.runEnd(entries[i:], c, p)
			if err != nil {
				return err
			}
			if !ok {
				r.refuse(n.start, "S repeats to the end of a Period without a duration")
				return nil
			}
			if end <= id.time {
				return r.fail(ErrMalformed, n.start, "S repeats to a time that is past")
			}
			count = (end-id.time-1)/run.d + 1
		}
		for range count {
			if err := r.add(rep, id); err != nil {
				return err
			}
			id.number++
			if id.time > math.MaxInt64-run.d {
				return r.fail(ErrMalformed, n.start, "segment time overflows")
			}
			id.time += run.d
		}
	}
	return nil
}

type timelineRun struct {
	t, d uint64
	r    int64
	hasT bool
}

// entry reads one S: @t, @d and @r.
func (r *reader) entry(n *node, run *timelineRun) error {
	*run = timelineRun{}
	for _, a := range n.attrs {
		text, ok := strings.TrimSpace(a.value), true
		switch {
		case a.prefix != "":
		case a.local == "t":
			run.t, ok = parseUint(text)
			run.hasT = true
		case a.local == "d":
			run.d, ok = parseUint(text)
		case a.local == "r":
			// §5.3.9.6.2: a negative value repeats to the next S@t or the end.
			if rest, negative := strings.CutPrefix(text, "-"); negative {
				_, ok = parseUint(rest)
				run.r = -1
			} else {
				var v uint64
				v, ok = parseUint(text)
				run.r = int64(min(v, math.MaxInt64-1))
			}
		}
		if !ok || run.t > math.MaxInt64 || run.d > math.MaxInt64 {
			return r.fail(ErrMalformed, a.at.start, "%s of S is not a number", a.local)
		}
	}
	if run.d == 0 {
		return r.fail(ErrMalformed, n.start, "S without a duration")
	}
	return nil
}

// runEnd is where a run that repeats to the end ends: at the next S@t or at the
// end of the Period, in media time.
func (r *reader) runEnd(entries []*node, c clock, p period) (uint64, bool, error) {
	if len(entries) > 1 && entries[1].attribute("t") != nil {
		var next timelineRun
		err := r.entry(entries[1], &next)
		return next.t, true, err
	}
	if !p.known {
		return 0, false, nil
	}
	ticks, ok := ceilDiv(p.nanos, c.timescale, nanosPerSecond)
	if !ok || ticks > math.MaxInt64-c.offset {
		return 0, false, r.fail(ErrMalformed, p.node.start, "duration of the Period overflows")
	}
	return ticks + c.offset, true, nil
}

// period is one Period and its duration.
type period struct {
	node  *node
	nanos uint64
	known bool
}

// periods reads the durations: of the Period itself, else up to the next start
// or the end of the presentation (ISO/IEC 23009-1 §5.3.2.1).
func (r *reader) periods() ([]period, error) {
	total, hasTotal, err := r.duration(r.root, "mediaPresentationDuration")
	if err != nil {
		return nil, err
	}
	nodes := r.root.named("Period")
	list := make([]period, len(nodes))
	starts, known := make([]uint64, len(nodes)+1), make([]bool, len(nodes)+1)
	known[0] = true
	for i, n := range nodes {
		list[i].node = n
		start, ok, err := r.duration(n, "start")
		if err != nil {
			return nil, err
		}
		if ok {
			starts[i], known[i] = start, true
		}
		if list[i].nanos, list[i].known, err = r.duration(n, "duration"); err != nil {
			return nil, err
		}
		if known[i] && list[i].known && starts[i] <= math.MaxUint64-list[i].nanos {
			starts[i+1], known[i+1] = starts[i]+list[i].nanos, true
		}
	}
	if hasTotal {
		starts[len(nodes)], known[len(nodes)] = total, true
	}
	for i := range list {
		if !list[i].known && known[i] && known[i+1] && starts[i+1] >= starts[i] {
			list[i].nanos, list[i].known = starts[i+1]-starts[i], true
		}
	}
	return list, nil
}

func (r *reader) duration(n *node, name string) (uint64, bool, error) {
	a := n.attribute(name)
	if a == nil {
		return 0, false, nil
	}
	d, ok := parseDuration(a.value)
	if !ok {
		return 0, false, r.fail(ErrMalformed, a.at.start, "%s is not an xs:duration of days, hours, minutes and seconds", name)
	}
	return d, true, nil
}
