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
	// Parts are the partial segments of a low-latency playlist (rfc8216bis
	// §4.4.4.9). Their media is also that of the segment which ends them.
	Parts []MediaSegment
	// Keys are all key tags, METHOD=NONE and EXT-X-SESSION-KEY included.
	Keys []KeyTag

	object      string
	text        string
	spots       []spot // spots[i] is where Refs[i] stands
	context     Context
	variables   Variables
	contextual  bool
	unsupported *Error
}

// spot is where the text of a Ref stands in the playlist.
type spot struct {
	uri    span
	keyID  span // empty where there is none
	rng    span // <n>[@<o>]; empty where there is none
	quoted bool // the URI is in a quoted-string
	offset bool // the range has its @<o>
}

type span struct{ start, end int }

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
	// Line and Column of the tag.
	Line, Column int
	Method       string
	// URI, variables substituted. A data: URI may hold a key: it belongs in no
	// log.
	URI string
	// IV is nil where the tag has none.
	IV *key.IV
	// KeyFormat is FormatIdentity where the tag has none.
	KeyFormat         string
	KeyFormatVersions string
	// KeyID is the KEYID attribute, variables substituted.
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

// Unsupported returns the first thing in the playlist that rekey does not
// handle, by name and line; nil where there is none.
func (p *Playlist) Unsupported() error {
	if p.unsupported == nil {
		return nil
	}
	return p.unsupported
}
