package dash

import (
	"math"
	"strings"
)

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
		if run.hasN {
			if run.n < id.number {
				return r.fail(ErrMalformed, n.start, "S counts from %d, where %d is the next", run.n, id.number)
			}
			id.number = run.n
		}
		count := uint64(run.r) + 1
		if run.r < 0 {
			end, ok, err := r.runEnd(entries[i:], c, p)
			switch {
			case err != nil:
				return err
			case !ok:
				r.refuse(n.start, "S repeats to the end of a Period without a duration")
				return nil
			case end <= id.time:
				return r.fail(ErrMalformed, n.start, "S repeats to a time that is past")
			}
			count = (end-id.time-1)/run.d + 1
		}
		for range count {
			if c.ends && id.number > c.endNumber {
				if run.r < 0 { // as many as there are
					break
				}
				r.refuse(n.start, "SegmentTimeline with more segments than up to endNumber")
				return nil
			}
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
	t, d, n    uint64
	r          int64
	hasT, hasN bool
}

// entry reads one S. @k says how many parts a segment has (§5.3.9.6): without
// $SubNumber$, which is refused, they are all in its one object.
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
		case a.local == "n":
			run.n, ok = parseUint(text)
			run.hasN = true
		case a.local == "k":
			var k uint64
			k, ok = parseUint(text)
			ok = ok && k > 0
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
		if !ok || max(run.t, run.d, run.n) > math.MaxInt64 {
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
