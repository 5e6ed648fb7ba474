package hls

// Role says what a reference leads to.
type Role int

// The roles of references.
const (
	Variant     Role = iota // media playlist of EXT-X-STREAM-INF
	Rendition               // media playlist of EXT-X-MEDIA
	IFrame                  // media playlist of EXT-X-I-FRAME-STREAM-INF
	Segment                 // media segment
	Map                     // media initialization section, EXT-X-MAP
	Key                     // EXT-X-KEY
	SessionKey              // EXT-X-SESSION-KEY
	Other                   // anything else: EXT-X-SESSION-DATA, interstitials, …
	Part                    // partial segment, EXT-X-PART
	PreloadHint             // EXT-X-PRELOAD-HINT
	Report                  // another media playlist, EXT-X-RENDITION-REPORT
	Image                   // playlist of images, EXT-X-IMAGE-STREAM-INF
)

// String prints the role in the words of RFC 8216.
func (r Role) String() string {
	names := [...]string{
		"variant stream", "rendition", "I-frame playlist", "media segment",
		"media initialization section", "key", "session key", "other",
		"partial segment", "preload hint", "rendition report", "image playlist",
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
	URI string
	// Target is the URI with its variables substituted. A query parameter whose
	// value only the player knows stays a variable, and stands behind a question
	// mark.
	Target string
	Line   int
	// Key of a Key or SessionKey, else nil.
	Key *KeyTag
	// Range of a Segment, Map or Part that is a sub-range of its resource, else
	// nil.
	Range *ByteRange
}
