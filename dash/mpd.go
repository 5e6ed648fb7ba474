package dash

import (
	"github.com/seed-6133abe0/rekey/key"
)

// Limits on what an MPD may expand to: more gives ErrLimit.
const (
	MaxSegments     = 1_000_000
	MaxSegmentBytes = 256 << 20 // of the names of all segments

	MaxRepresentations = 10_000
	// MaxProtections is of ContentProtection elements on one level, and of KIDs or
	// pieces of protection data in one.
	MaxProtections = 256
	// MaxReferences is of ContentProtection elements that refer to one another.
	MaxReferences = 8
	// MaxReference is of bytes in a BaseURL, a template or an id.
	MaxReference = 8192

	// maxWork bounds how many elements are looked at for all Representations: what
	// they share is looked at again for each.
	maxWork = 20_000_000
)

// MPD is one Media Presentation Description as it was read.
type MPD struct {
	// Static is false for a live MPD.
	Static          bool
	Representations []*Representation

	source
	root        *node
	bases       []chain // of the MPD
	protections []*protection
	unsupported *Error
}

// Representation is one Representation and what it inherits.
type Representation struct {
	ID string
	// Period and AdaptationSet are indexes from 0, in document order.
	Period, AdaptationSet         int
	MimeType, Codecs, ContentType string
	// Base is the chain of BaseURLs, relative to the MPD: empty or ending in a
	// slash. It may be absolute, and all references under it are then, with a
	// scheme, without one, or as a path from the server's root, as it is written.
	Base string
	// OtherBases are the same for further BaseURLs, which lead to the same content
	// (ISO/IEC 23009-1 §5.6.5): see [Representation.At].
	OtherBases []string
	// InitTemplate and MediaTemplate are the attributes of SegmentTemplate in
	// force, $…$ intact. Both are empty where the references are listed one by one
	// (SegmentList) or there is one file.
	InitTemplate, MediaTemplate string
	// Init and Media are the references of the init section and of every object
	// with media, relative to the MPD. Init is empty where there is none.
	Init  string
	Media []string
	// File is the reference, relative to the MPD, of the one object that has the
	// init section and all segments: Init and Media are empty then. Byte ranges
	// in the MPD are of objects, and are not read.
	File string
	// DefaultKIDs are those of the innermost element that has any, and of its
	// SubRepresentations; without one, that of a Preselection with this
	// AdaptationSet, if it is one.
	DefaultKIDs []key.KID
	// PSSH are the pssh boxes, PRO the PlayReady objects in force.
	PSSH [][]byte
	PRO  [][]byte

	ids         []segmentID // of Media
	bandwidth   uint64
	node        *node
	chains      []chain // the first is of Base
	init, media *templateAttr
	listed      []listedRef
	// byURL says what the innermost BaseURL names, if anything.
	byURL role
	// sets are the attributes of InitializationSets that name Init.
	sets []*attr
}

// templateAttr is a template attribute in force and the element that has it.
type templateAttr struct {
	*attr
	owner    *node
	template template
}

// Parse reads an MPD. object is its name in errors. b is copied. What is legal
// and not handled parses, and is reported by [MPD.Unsupported].
func Parse(object string, b []byte) (*MPD, error) {
	m := &MPD{source: source{object: object, raw: append([]byte(nil), b...)}}
	var err error
	if m.root, err = parseXML(m.source); err != nil {
		return nil, err
	}
	if m.root.local != "MPD" {
		return nil, m.fail(ErrMalformed, m.root.start, "root element is %s, want MPD", m.root.local)
	}
	r := &reader{MPD: m, reasonAt: -1, byParent: map[*node][]*protection{}}
	if err := r.read(); err != nil {
		return nil, err
	}
	if r.reasonAt >= 0 {
		m.unsupported = m.fail(ErrUnsupported, r.reasonAt, "%s", r.reason)
	}
	return m, nil
}

// Unsupported returns the first thing in the MPD that rekey does not handle, by
// element and line; nil where there is none.
func (m *MPD) Unsupported() error {
	if m.unsupported == nil {
		return nil
	}
	return m.unsupported
}

// KIDs are all that the MPD names: in default_KID, protection data of systems that
// can be read, and identifiers that spell them.
func (m *MPD) KIDs() []key.KID {
	var kids []key.KID
	seen := map[key.KID]bool{}
	for _, p := range m.protections {
		for _, kid := range p.names() {
			if !seen[kid] {
				seen[kid] = true
				kids = append(kids, kid)
			}
		}
	}
	return kids
}
