package hls

import "github.com/seed-6133abe0/rekey/key"

// ByteRange is a sub-range of a resource. Offset counts from the start of the
// resource, also where the playlist leaves it out.
type ByteRange struct{ Offset, Length int64 }

// MediaSegment is one media segment of a media playlist.
type MediaSegment struct {
	// URI, variables substituted.
	URI string
	// Line of the URI.
	Line int
	// Sequence is the media sequence number.
	Sequence uint64
	// Range is nil where the segment is the whole resource.
	Range *ByteRange
	// Keys in force, one a KEYFORMAT; nil where the segment is clear. Segments
	// under the same tags share the slice.
	Keys []*KeyTag
	// Map in force; nil where there is none.
	Map *InitSection
	// Gap: the segment is declared absent (EXT-X-GAP).
	Gap bool
	// View: a sub-range in an EXT-X-I-FRAMES-ONLY playlist that is no message of
	// its own. Under AES-128 it is cut out of the blocks of the whole resource: a
	// player widens it to whole blocks and takes the block before them as the IV
	// (RFC 8216 §6.3.6). Under SAMPLE-AES it is packets of a segment that another
	// playlist lists.
	View bool
}

// IV is the explicit IV of k, or the segment's media sequence number (RFC 8216
// §5.2).
func (s MediaSegment) IV(k *KeyTag) key.IV {
	if k != nil && k.IV != nil {
		return *k.IV
	}
	return key.SequenceIV(s.Sequence)
}

// SingleFile reports a segment that is a range of the resource which also holds
// its init section, by a range: a single-file track. URIs are compared as
// text, variables substituted.
func (s MediaSegment) SingleFile() bool {
	return s.Range != nil && s.Map != nil && s.Map.Range != nil && s.URI == s.Map.URI
}

// InitSection is one EXT-X-MAP.
type InitSection struct {
	// URI, variables substituted.
	URI  string
	Line int
	// Range is nil where the init section is the whole resource.
	Range *ByteRange
	// Keys in force where the tag stands: an EXT-X-KEY after it does not encrypt
	// it (RFC 8216 §4.3.2.5).
	Keys []*KeyTag
}
