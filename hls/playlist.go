package hls

import (
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// Limits on a playlist: a larger one gives ErrLimit.
const (
	MaxPlaylistBytes = 64 << 20
	MaxPlaylistLines = 1_000_000
)

// Playlist is one playlist as it was read.
type Playlist struct {
	// Multivariant tells a playlist of playlists from a media playlist.
	Multivariant bool
	// EndList: EXT-X-ENDLIST is there, so nothing will be added.
	EndList bool
	// IFramesOnly: EXT-X-I-FRAMES-ONLY is there.
	IFramesOnly bool
	// Refs are all references, in the order in which they stand.
	Refs []Ref
	// Segments of a media playlist.
	Segments []MediaSegment
	// Keys are all key tags, METHOD=NONE and EXT-X-SESSION-KEY included.
	Keys []KeyTag

	object      string
	raw         []byte
	spots       []spot // spots[i] is where Refs[i] stands
	unsupported *Error
}

// spot is where the text of a Ref stands in the playlist.
type spot struct {
	uri    span
	quoted bool // in a quoted-string
	keyID  span // empty where there is none
}

type span struct{ start, end int }

// Role says what a reference leads to.
type Role int

// The roles of references.
const (
	Variant    Role = iota // media playlist of EXT-X-STREAM-INF
	Rendition              // media playlist of EXT-X-MEDIA
	IFrame                 // media playlist of EXT-X-I-FRAME-STREAM-INF
	Segment                // media segment
	Map                    // media initialization section, EXT-X-MAP
	Key                    // EXT-X-KEY
	SessionKey             // EXT-X-SESSION-KEY
	Other                  // anything else: EXT-X-SESSION-DATA, EXT-X-PART, …
)

// String prints the role in the words of RFC 8216.
func (r Role) String() string {
	names := [...]string{
		"variant stream", "rendition", "I-frame playlist", "media segment",
		"media initialization section", "key", "session key", "other",
	}
	if r < 0 || int(r) >= len(names) {
		return "unknown role"
	}
	return names[r]
}

// Ref is one reference to another resource.
type Ref struct {
	Role Role
	// URI as it is written.
	URI  string
	Line int
	// Key of a Key or SessionKey, else nil.
	Key *KeyTag
}

// Encryption methods (RFC 8216 §4.3.2.4; SAMPLE-AES-CTR: rfc8216bis §4.4.4.4;
// SAMPLE-AES-CENC is its name in older packagers).
const (
	MethodNone          = "NONE"
	MethodAES128        = "AES-128"
	MethodSampleAES     = "SAMPLE-AES"
	MethodSampleAESCTR  = "SAMPLE-AES-CTR"
	MethodSampleAESCENC = "SAMPLE-AES-CENC"
)

// FormatIdentity is the KEYFORMAT of a tag that names none (RFC 8216 §4.3.2.4).
const FormatIdentity = "identity"

// KeyTag is one EXT-X-KEY or EXT-X-SESSION-KEY.
type KeyTag struct {
	Line   int
	Method string
	// URI as it is written. A data: URI may hold a key: it belongs in no log.
	URI string
	// IV is nil where the tag has none.
	IV *key.IV
	// KeyFormat is FormatIdentity where the tag has none.
	KeyFormat         string
	KeyFormatVersions string
	// KeyID is the KEYID attribute as it is written.
	KeyID string
}

// LeadsToKey reports a tag whose URI leads to the content key itself, as 16
// bytes: KEYFORMAT identity, which no key system stands behind (RFC 8216
// §4.3.2.4). A data: URI leads nowhere; an skd:// URI names a key to FairPlay,
// whatever the tag says of its KEYFORMAT.
func (k *KeyTag) LeadsToKey() bool {
	return k.Method != MethodNone && k.KeyFormat == FormatIdentity && k.URI != "" &&
		!isDataURI(k.URI) && !strings.HasPrefix(strings.ToLower(k.URI), "skd:")
}

// ByteRange is a sub-range of a resource. Offset counts from the start of the
// resource, also where the playlist leaves it out.
type ByteRange struct{ Offset, Length int64 }

// MediaSegment is one media segment of a media playlist.
type MediaSegment struct {
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
// its init section, by a range: a single-file track. URIs are compared as they
// are written.
func (s MediaSegment) SingleFile() bool {
	return s.Range != nil && s.Map != nil && s.Map.Range != nil && s.URI == s.Map.URI
}

// InitSection is one EXT-X-MAP.
type InitSection struct {
	URI  string
	Line int
	// Range is nil where the init section is the whole resource.
	Range *ByteRange
	// Keys in force where the tag stands: an EXT-X-KEY after it does not encrypt
	// it (RFC 8216 §4.3.2.5).
	Keys []*KeyTag
}

// Unsupported returns the first thing in the playlist that rekey does not
// handle, by name and line; nil where there is none.
func (p *Playlist) Unsupported() error {
	if p.unsupported == nil {
		return nil
	}
	return p.unsupported
}
