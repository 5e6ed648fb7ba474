package hls

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const byteOrderMark = "\uFEFF"

// Parse reads a playlist that takes nothing from the place that leads to it.
// object is its name in errors. b is copied. What is legal and not handled
// parses, and is reported by [Playlist.Unsupported].
func Parse(object string, b []byte) (*Playlist, error) {
	return ParseWith(object, b, Context{})
}

// ParseWith reads a playlist like [Parse], with the variables and the query of
// its place.
func ParseWith(object string, b []byte, in Context) (*Playlist, error) {
	if len(b) > MaxPlaylistBytes {
		return nil, &Error{Object: object, Line: 1, Class: ErrLimit,
			Reason: fmt.Sprintf("playlist has %d bytes, at most %d are read", len(b), MaxPlaylistBytes)}
	}
	ps := parser{text: string(b), p: &Playlist{object: object, context: in}}
	ps.p.text = ps.text
	ps.next = len(ps.text) - len(strings.TrimPrefix(ps.text, byteOrderMark)) // columns begin after it
	if !ps.advance() || ps.line() != "#EXTM3U" {
		return nil, ps.malformed(0, "first line is not #EXTM3U (RFC 8216 §4.3.1.1)")
	}
	for ps.advance() {
		if ps.lineNumber > MaxPlaylistLines {
			return nil, ps.fail(ErrLimit, 0, fmt.Sprintf("playlist has more than %d lines", MaxPlaylistLines))
		}
		if err := ps.parseLine(); err != nil {
			return nil, err
		}
	}
	return ps.finish()
}

// parser walks over the lines. Its state is what the tags before a line say of
// it.
type parser struct {
	text string
	p    *Playlist

	next       int  // start of the line after this one
	lineStart  int  // of this line
	at         span // this line, without its end and the blanks around it
	lineNumber int
	filled     int // bytes that variables were filled into

	tags  []*KeyTag // what Playlist.Keys will hold
	keys  []*KeyTag // in force; never changed in place, segments share it
	initS *InitSection

	variantLine  int // line of the EXT-X-STREAM-INF that waits for its URI
	infLine      int // line of the EXTINF that waits for its URI
	gap          bool
	rng          *rangeTag
	sequence     uint64
	sequenceSet  bool
	mediaTagLine int // first tag that only a media playlist has
	importLine   int // an EXT-X-DEFINE:IMPORT
}

// advance moves to the next line: LF or CRLF ends it (RFC 8216 §4.1).
func (ps *parser) advance() bool {
	if ps.next >= len(ps.text) && ps.lineNumber > 0 {
		return false
	}
	ps.lineNumber++
	start := ps.next
	ps.lineStart = start
	end := len(ps.text)
	if n := strings.IndexByte(ps.text[start:], '\n'); n >= 0 {
		end = start + n
		ps.next = end + 1
	} else {
		ps.next = end
	}
	if end > start && ps.text[end-1] == '\r' {
		end--
	}
	for end > start && (ps.text[end-1] == ' ' || ps.text[end-1] == '\t') {
		end--
	}
	for start < end && (ps.text[start] == ' ' || ps.text[start] == '\t') {
		start++
	}
	ps.at = span{start, end}
	return true
}

func (ps *parser) line() string { return ps.text[ps.at.start:ps.at.end] }

// fail makes an error about what stands at this index of the line.
func (ps *parser) fail(class error, within int, reason string) error {
	return ps.errorAt(class, within, reason)
}

func (ps *parser) errorAt(class error, within int, reason string) *Error {
	at := ps.at.start + within
	return &Error{Object: ps.p.object, Line: ps.lineNumber, Column: ps.column(within), Offset: int64(at), Reason: reason, Class: class}
}

func (ps *parser) column(within int) int { return ps.at.start + within - ps.lineStart + 1 }

func (ps *parser) malformed(within int, reason string) error {
	return ps.fail(ErrMalformed, within, reason)
}

// refuse remembers the first thing that is not handled: at this index of the
// line.
func (ps *parser) refuse(within int, reason string) {
	if ps.p.unsupported == nil {
		ps.p.unsupported = ps.errorAt(ErrUnsupported, within, reason)
	}
}

func (ps *parser) parseLine() error {
	line := ps.line()
	switch {
	case line == "":
		return nil
	case strings.HasPrefix(line, "#EXT"):
		name, _, hasValue := strings.Cut(line, ":")
		value := len(name)
		if hasValue {
			value++
		}
		return ps.tag(name, value)
	case line[0] == '#':
		return nil
	default:
		return ps.uriLine(line)
	}
}

func (ps *parser) uriLine(line string) error {
	if !plainText(line) {
		return ps.malformed(0, "URI has control characters or is not UTF-8")
	}
	target, err := ps.substitute(line, 0)
	if err != nil {
		return err
	}
	switch {
	case target == "":
		return ps.malformed(0, "URI is empty: its variables are")
	case ps.variantLine > 0:
		ps.variantLine = 0
		ps.addRef(Ref{Role: Variant, URI: line, Target: target}, spot{uri: ps.at})
		return nil
	case ps.infLine > 0:
		return ps.segment(line, target)
	default:
		return ps.malformed(0, "URI without an EXTINF or EXT-X-STREAM-INF before it")
	}
}

func (ps *parser) addRef(r Ref, s spot) {
	r.Line = ps.lineNumber
	ps.judgeTarget(r.Target, s.uri.start-ps.at.start)
	ps.p.Refs = append(ps.p.Refs, r)
	ps.p.spots = append(ps.p.spots, s)
}

// segment ends what the tags since the last URI said of this one.
func (ps *parser) segment(uri, target string) error {
	p := ps.p
	n := uint64(len(p.Segments))
	if ps.sequence > math.MaxUint64-n {
		return ps.malformed(0, "media sequence number overflows")
	}
	s := MediaSegment{URI: target, Line: ps.lineNumber, Sequence: ps.sequence + n, Keys: ps.keys, Map: ps.initS, Gap: ps.gap}
	at := spot{uri: ps.at}
	if ps.rng != nil {
		r, err := ps.resolveRange(target)
		if err != nil {
			return err
		}
		s.Range = &r
		at.rng, at.offset = ps.rng.at, ps.rng.hasOffset
	}
	ps.addRef(Ref{Role: Segment, URI: uri, Target: target, Range: s.Range}, at)
	ps.judge(s)
	p.Segments = append(p.Segments, s)
	ps.infLine, ps.gap, ps.rng = 0, false, nil
	return nil
}

func (ps *parser) finish() (*Playlist, error) {
	p := ps.p
	switch {
	case ps.variantLine > 0:
		return nil, ps.malformed(0, fmt.Sprintf("EXT-X-STREAM-INF of line %d has no URI", ps.variantLine))
	case ps.infLine > 0:
		return nil, ps.malformed(0, fmt.Sprintf("EXTINF of line %d has no URI", ps.infLine))
	case p.Multivariant && ps.importLine > 0:
		// rfc8216bis §4.4.2.3: only a media playlist imports.
		return nil, ps.malformed(0, fmt.Sprintf("multivariant playlist has an EXT-X-DEFINE:IMPORT in line %d", ps.importLine))
	case p.Multivariant && ps.mediaTagLine > 0:
		// RFC 8216 §4.1: it must be one or the other.
		return nil, ps.malformed(0, fmt.Sprintf("multivariant playlist has a media playlist's tag in line %d", ps.mediaTagLine))
	case !p.Multivariant && !p.EndList:
		ps.refuse(0, "no EXT-X-ENDLIST: a live playlist")
	}
	for i := range p.Segments {
		s := &p.Segments[i]
		s.View = p.IFramesOnly && s.Range != nil && wholeSegment(s.Keys, s.Map)
	}
	p.Keys = make([]KeyTag, len(ps.tags))
	for i, t := range ps.tags {
		p.Keys[i] = *t
	}
	return p, nil
}

// list reads the attribute list that begins at index from of the line, and fills
// in its variables (rfc8216bis §4.3).
func (ps *parser) list(from int) (attributes, error) {
	as, err := parseAttributes(ps.line(), from)
	if err != nil {
		var le *listError
		if errors.As(err, &le) {
			return nil, ps.malformed(le.at, le.reason)
		}
		return nil, ps.malformed(from, err.Error())
	}
	for i, a := range as {
		if !a.quoted && a.name != "IV" && a.name != "KEYID" {
			continue // only quoted-strings and hexadecimal-sequences have variables
		}
		if as[i].value, err = ps.substitute(a.value, a.at.start); err != nil {
			return nil, err
		}
	}
	return as, nil
}

// absolute turns a span within the line into one within the playlist.
func (ps *parser) absolute(s span) span {
	return span{ps.at.start + s.start, ps.at.start + s.end}
}

// parseDecimal reads a decimal-integer (RFC 8216 §4.2): digits only, below 2^64.
func parseDecimal(s string) (uint64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}
