package dash

import (
	"math"
	"strings"
)

// templates reads the SegmentTemplate in force: each attribute, and the
// SegmentTimeline, is that of the innermost element that has it (ISO/IEC 23009-1
// §5.3.9.1).
func (r *reader) templates(in scope, rep *Representation, p period) error {
	r.refuseDollars(rep)
	var err error
	if rep.init, err = r.templateAttr(in, "initialization"); err != nil {
		return err
	}
	if rep.media, err = r.templateAttr(in, "media"); err != nil {
		return err
	}
	for _, t := range []*templateAttr{rep.init, rep.media} {
		if t != nil && isAbsolute(t.template.expand(rep, segmentID{})) != isAbsolute(t.value) {
			// A template that moves would lead elsewhere than what it expands to.
			r.refuse(t.at.start, "Representation %q makes an absolute reference of its template", rep.ID)
			return nil
		}
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
	if ok, err := r.templateChildren(in, rep); !ok || err != nil {
		return err
	}
	if rep.media == nil {
		r.refuse(rep.node.start, "Representation %q without media in its SegmentTemplate", rep.ID)
		return nil
	}
	rep.MediaTemplate = rep.media.value
	if a, _ := effective(in, "index"); a != nil && clean(join(rep.Base, a.value)) == clean(join(rep.Base, rep.MediaTemplate)) {
		r.refuse(a.at.start, "index that names the media segments")
		return nil
	}
	return r.media(in, rep, p)
}

// templateChildren reads what a SegmentTemplate may have beside its attributes: an
// init section by its name (§5.3.9.4.2). Index segments of their own (@index,
// RepresentationIndex) stay: nothing in them is encrypted, and what they count
// keeps its length.
func (r *reader) templateChildren(in scope, rep *Representation) (bool, error) {
	var initialization *node
	for _, t := range in.templates {
		for _, c := range t.children {
			switch {
			case c.space != t.space:
			case c.local == "Initialization":
				initialization = c
			case c.local == "RepresentationIndex" && c.attribute("sourceURL") == nil:
				r.refuse(c.start, "RepresentationIndex without sourceURL in a SegmentTemplate")
				return false, nil
			}
		}
	}
	switch {
	case initialization == nil:
		return true, nil
	case rep.init != nil:
		r.refuse(initialization.start, "SegmentTemplate with initialization and Initialization")
		return false, nil
	}
	return r.ownInit(initialization, rep)
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
	endNumber             uint64
	ends                  bool // at endNumber
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
		c.ends = c.ends || f.name == "endNumber"
	}
	if c.ends && c.endNumber < c.startNumber {
		a, _ := effective(in, "endNumber")
		return c, r.fail(ErrMalformed, a.at.start, "endNumber comes before startNumber")
	}
	return c, nil
}

// media lists the segments.
func (r *reader) media(in scope, rep *Representation, p period) error {
	c, err := r.clock(in)
	if err != nil {
		return err
	}
	timeline := r.timelineOf(in)
	t := rep.media.template
	switch {
	case t.has(subNumber):
		r.refuse(rep.media.at.start, "$SubNumber$: segment sequences")
		return nil
	case timeline != nil:
		if a, owner := effective(in, "duration"); a != nil && owner.start > timeline.parent.start {
			r.refuse(a.at.start, "duration of segments, and a SegmentTimeline outside it")
			return nil
		}
		return r.timeline(timeline, c, rep, p)
	case t.has(timeID):
		r.refuse(rep.media.at.start, "$Time$ without a SegmentTimeline")
		return nil
	}
	count, ok := uint64(1), true // §5.3.9.5.3: neither duration nor timeline is one segment
	switch {
	case c.ends:
		count = c.endNumber - c.startNumber + 1
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

// timelineOf is the innermost SegmentTimeline.
func (r *reader) timelineOf(in scope) *node {
	var timeline *node
	for _, t := range in.templates {
		r.work += len(t.children)
		if tl := t.named("SegmentTimeline"); len(tl) > 0 {
			timeline = tl[0]
		}
	}
	return timeline
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
