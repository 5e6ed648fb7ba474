package hls

import (
	"fmt"
	"math"
	"strings"
)

// rangeTag is an EXT-X-BYTERANGE that waits for its URI.
type rangeTag struct {
	ByteRange
	line      int
	column    int
	at        span // <n>[@<o>] in the playlist
	hasOffset bool
}

// rangeTag handles EXT-X-BYTERANGE (RFC 8216 §4.3.2.2).
func (ps *parser) rangeTag(value int) error {
	if ps.rng != nil {
		return ps.malformed(0, fmt.Sprintf("EXT-X-BYTERANGE of line %d has no URI", ps.rng.line))
	}
	value = skipBlank(ps.line(), value)
	r, hasOffset, err := ps.parseRange("EXT-X-BYTERANGE", ps.line()[value:], value)
	if err != nil {
		return err
	}
	ps.rng = &rangeTag{
		ByteRange: r, line: ps.lineNumber, column: ps.column(value),
		at: ps.absolute(span{value, len(ps.line())}), hasOffset: hasOffset,
	}
	return nil
}

// resolveRange returns the range that waits for this URI, from the start of the
// resource. Without an offset it begins where the one of the segment before
// ends, which must be a sub-range of the same resource (RFC 8216 §4.3.2.2).
func (ps *parser) resolveRange(uri string) (ByteRange, error) {
	r := ps.rng.ByteRange
	if ps.rng.hasOffset {
		return r, nil
	}
	bad := func(reason string) (ByteRange, error) {
		return r, &Error{Object: ps.p.object, Line: ps.rng.line, Column: ps.rng.column, Offset: int64(ps.rng.at.start), Class: ErrMalformed, Reason: reason}
	}
	prev, ok := ps.lastRange(uri)
	if !ok {
		return bad("EXT-X-BYTERANGE has no offset and the segment before is no sub-range of this resource")
	}
	r.Offset = prev.end()
	if r.Offset > math.MaxInt64-r.Length {
		return bad("EXT-X-BYTERANGE overflows")
	}
	return r, nil
}

// lastRange returns the range of the last segment, where it is a sub-range of
// this resource.
func (ps *parser) lastRange(uri string) (ByteRange, bool) {
	n := len(ps.p.Segments)
	if n == 0 || ps.p.Segments[n-1].Range == nil || ps.p.Segments[n-1].URI != uri {
		return ByteRange{}, false
	}
	return *ps.p.Segments[n-1].Range, true
}

// sameRange compares ranges; nil is the whole resource.
func sameRange(a, b *ByteRange) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// mapRange reads the BYTERANGE attribute of an EXT-X-MAP (RFC 8216 §4.3.2.5).
// Without an offset players read from the start of the resource; the clause it
// points to would go on from the segment before. Where those differ the playlist
// is refused.
func (ps *parser) mapRange(a attribute, uri string) (*ByteRange, bool, error) {
	r, hasOffset, err := ps.parseRange("BYTERANGE of EXT-X-MAP", a.value, a.at.start)
	if err != nil {
		return nil, false, err
	}
	if _, follows := ps.lastRange(uri); follows && !hasOffset {
		ps.refuse(a.at.start, "BYTERANGE of EXT-X-MAP has no offset and follows a sub-range of the same resource")
	}
	return &r, hasOffset, nil
}

// partRange reads the BYTERANGE attribute of an EXT-X-PART. Without an offset it
// goes on from the partial segment before, which must be a sub-range of the same
// resource (rfc8216bis §4.4.4.9).
func (ps *parser) partRange(a attribute, uri string) (*ByteRange, bool, error) {
	r, hasOffset, err := ps.parseRange("BYTERANGE of EXT-X-PART", a.value, a.at.start)
	if err != nil || hasOffset {
		return &r, hasOffset, err
	}
	n := len(ps.p.Parts)
	if n == 0 || ps.p.Parts[n-1].Range == nil || ps.p.Parts[n-1].URI != uri {
		return nil, false, ps.malformed(a.at.start, "BYTERANGE of EXT-X-PART has no offset and the partial segment before is no sub-range of this resource")
	}
	r.Offset = ps.p.Parts[n-1].Range.end()
	if r.Offset > math.MaxInt64-r.Length {
		return nil, false, ps.malformed(a.at.start, "BYTERANGE of EXT-X-PART overflows")
	}
	return &r, false, nil
}

// end is the offset behind the range; what was parsed does not overflow.
func (r ByteRange) end() int64 { return r.Offset + r.Length }

// parseRange reads the byte range at this index of the line. One of no bytes is
// none that a client can ask for (RFC 9110 §14.1.2).
func (ps *parser) parseRange(tag, s string, at int) (r ByteRange, hasOffset bool, err error) {
	r, hasOffset, ok := parseRange(s)
	switch {
	case !ok:
		return r, false, ps.malformed(at, tag+" is not <n>[@<o>]")
	case r.Length == 0:
		return r, false, ps.malformed(at, tag+" has length zero")
	}
	return r, hasOffset, nil
}

// parseRange reads <n>[@<o>] (RFC 8216 §4.3.2.2).
func parseRange(s string) (r ByteRange, hasOffset, ok bool) {
	length, offset, hasOffset := strings.Cut(s, "@")
	n, ok := parseDecimal(length)
	if !ok || n > math.MaxInt64 {
		return r, false, false
	}
	r.Length = int64(n)
	if !hasOffset {
		return r, false, true
	}
	o, ok := parseDecimal(offset)
	if !ok || o > math.MaxInt64 || r.Length > math.MaxInt64-int64(o) {
		return r, false, false
	}
	r.Offset = int64(o)
	return r, true, true
}
