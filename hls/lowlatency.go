package hls

import "fmt"

// lowLatencyTag handles the tags of low-latency playlists (rfc8216bis §4.4.3.7,
// §4.4.3.8, §4.4.4.9, §4.4.5.2 to §4.4.5.4).
func (ps *parser) lowLatencyTag(name string, value int) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	switch name {
	case "#EXT-X-PART":
		return ps.part(as)
	case "#EXT-X-PRELOAD-HINT":
		return ps.hint(as)
	case "#EXT-X-RENDITION-REPORT":
		uri, ok := as.find("URI")
		if !ok {
			return ps.malformed(0, "EXT-X-RENDITION-REPORT has no URI")
		}
		return ps.attributeRef(Ref{Role: Report}, uri, spot{})
	case "#EXT-X-SKIP":
		// A delta update: what it leaves out is not here to be judged.
		ps.refuse(0, "EXT-X-SKIP: a playlist delta update")
	}
	return nil
}

// part handles EXT-X-PART. Its media sequence number is that of the segment which
// it is part of, the next one to come.
func (ps *parser) part(as attributes) error {
	uri, ok := as.find("URI")
	if !ok {
		return ps.malformed(0, "EXT-X-PART has no URI")
	}
	p := MediaSegment{
		URI: uri.value, Line: ps.lineNumber, Sequence: ps.sequence + uint64(len(ps.p.Segments)),
		Keys: ps.keys, Map: ps.initS, Gap: as.value("GAP") == "YES",
	}
	var s spot
	if a, ok := as.find("BYTERANGE"); ok {
		r, hasOffset, err := ps.partRange(a, uri.value)
		if err != nil {
			return err
		}
		p.Range, s.offset, s.rng = r, hasOffset, ps.absolute(a.at)
	}
	ps.judgePart(p)
	ps.p.Parts = append(ps.p.Parts, p)
	return ps.attributeRef(Ref{Role: Part, Range: p.Range}, uri, s)
}

// hint handles EXT-X-PRELOAD-HINT. The bytes that it hints at are not there yet:
// its range stays.
func (ps *parser) hint(as attributes) error {
	uri, ok := as.find("URI")
	if !ok {
		return ps.malformed(0, "EXT-X-PRELOAD-HINT has no URI")
	}
	for _, name := range []string{"BYTERANGE-START", "BYTERANGE-LENGTH"} {
		if a, ok := as.find(name); ok {
			if _, ok := parseDecimal(a.value); !ok {
				return ps.malformed(a.at.start, fmt.Sprintf("attribute %s is not a decimal-integer", name))
			}
		}
	}
	return ps.attributeRef(Ref{Role: PreloadHint}, uri, spot{})
}
