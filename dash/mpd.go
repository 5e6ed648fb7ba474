package dash

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// Limits on what an MPD may expand to: more gives ErrLimit.
const (
	MaxSegments     = 1_000_000
	MaxSegmentBytes = 256 << 20 // of the names of all segments

	MaxRepresentations = 10_000
	// MaxProtections is of ContentProtection elements on one level.
	MaxProtections = 256
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
	// slash.
	Base string
	// InitTemplate and MediaTemplate are the attributes of SegmentTemplate in
	// force, $…$ intact. Both are empty where the references are listed one by one
	// (SegmentList) or there is one file.
	InitTemplate, MediaTemplate string
	// Init and Media are the references of the init section and of every segment,
	// relative to the MPD. Init is empty where there is none.
	Init  string
	Media []string
	// File is the reference, relative to the MPD, of the one object that has the
	// init section and all segments: Init and Media are empty then. Byte ranges
	// in the MPD are of this object, and are not read.
	File string
	// DefaultKIDs are those of the innermost element that has any.
	DefaultKIDs []key.KID
	// PSSH are the pssh boxes, PRO the PlayReady objects in force.
	PSSH [][]byte
	PRO  [][]byte

	ids         []segmentID // of Media
	bandwidth   uint64
	node        *node
	init, media *templateAttr
	url         baseURL
	listed      []*attr // of Media, where they are listed
	listedInit  *attr
}

// baseURL is the innermost BaseURL that is not empty, and what it is relative to.
// The zero value is none.
type baseURL struct {
	node       *node
	outer, ref string
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

// reader takes the meaning out of the tree.
type reader struct {
	*MPD
	reason   string // the first that is not handled
	reasonAt int    // its offset; -1 for none
	segments int
	bytes    int
	work     int

	byParent map[*node][]*protection
}

// refuse remembers the first thing in the text that is not handled.
func (r *reader) refuse(at int, format string, args ...any) {
	if r.reasonAt < 0 || at < r.reasonAt {
		r.reason, r.reasonAt = fmt.Sprintf(format, args...), at
	}
}

func (r *reader) read() error {
	kind := r.root.value("type")
	r.Static = kind == "" || kind == "static"
	if !r.Static {
		r.refuse(r.root.start, "MPD of type %q: a live presentation", kind)
	}
	r.root.walk(r.judge)
	if err := r.readProtections(); err != nil {
		return err
	}
	periods, err := r.periods()
	if err != nil {
		return err
	}
	top, err := r.inner(scope{}, r.root)
	if err != nil {
		return err
	}
	for i, p := range periods {
		if err := r.period(top, i, p); err != nil {
			return err
		}
	}
	r.refuseSpelledKIDs()
	return nil
}

// judge refuses elements that rekey does not handle wherever they stand.
func (r *reader) judge(n *node) {
	for _, a := range n.attrs {
		if a.space == "http://www.w3.org/1999/xlink" && a.local == "href" {
			r.refuse(n.start, "%s with xlink:href: a remote element", n.local)
		}
	}
	if n.space != r.root.space {
		return
	}
	switch n.local {
	case "ImportedMPD", "InitializationSet", "InitializationGroup", "InitializationPresentation":
		r.refuse(n.start, "element %s", n.local)
	case "ContentProtection":
		r.refuseAttributes(n, "ref")
	case "BaseURL":
		r.refuseAttributes(n, "byteRange")
	case "SegmentTemplate":
		r.refuseAttributes(n, "index", "bitstreamSwitching")
		r.refuseChildren(n, "SegmentTimeline")
	case "SegmentTimeline":
		r.refuseChildren(n, "S")
	case "S":
		r.refuseAttributes(n, "k", "n")
	}
}

func (r *reader) refuseAttributes(n *node, names ...string) {
	for _, name := range names {
		if n.attribute(name) != nil {
			r.refuse(n.start, "%s with %s", n.local, name)
		}
	}
}

// refuseChildren refuses children of n's namespace other than the named.
func (r *reader) refuseChildren(n *node, name string) {
	for _, c := range n.children {
		if c.local != name && c.space == n.space {
			r.refuse(c.start, "%s in a %s", c.local, n.local)
		}
	}
}

// scope is what a level hands down to the next.
type scope struct {
	base      string
	url       baseURL
	templates []*node // SegmentTemplate, outermost first
	others    []*node // SegmentBase and SegmentList
	protected []*protection
}

// inner is the scope inside element n.
func (r *reader) inner(s scope, n *node) (scope, error) {
	base, url, err := r.base(s, n)
	if err != nil {
		return s, err
	}
	in := scope{base: base, url: url, templates: slices.Clone(s.templates), others: slices.Clone(s.others)}
	own := r.byParent[n]
	if len(own) > MaxProtections {
		return s, r.fail(ErrLimit, n.start, "%s has more than %d ContentProtection elements", n.local, MaxProtections)
	}
	in.protected = slices.Concat(s.protected, own)
	info := false
	for _, c := range n.children {
		if c.space != n.space {
			continue
		}
		switch c.local {
		case "SegmentTemplate":
			in.templates = append(in.templates, c)
		case "SegmentBase", "SegmentList":
			in.others = append(in.others, c)
		default:
			continue
		}
		if info {
			return s, r.fail(ErrMalformed, c.start, "second segment information in one %s", n.local)
		}
		info = true
	}
	return in, nil
}

// base follows the BaseURL of n (ISO/IEC 23009-1 §5.6).
func (r *reader) base(outer scope, n *node) (string, baseURL, error) {
	urls := n.named("BaseURL")
	if len(urls) == 0 {
		return outer.base, outer.url, nil
	}
	if len(urls) > 1 {
		r.refuse(urls[1].start, "several BaseURL elements in one %s", n.local)
	}
	u := urls[0]
	ref := strings.TrimSpace(string(u.text))
	if isAbsolute(ref) {
		r.refuse(u.start, "absolute BaseURL")
	}
	base := joinBase(outer.base, ref)
	if len(base) > MaxReference || len(ref) > MaxReference {
		return "", baseURL{}, r.fail(ErrLimit, u.start, "BaseURLs are longer than %d bytes", MaxReference)
	}
	if ref == "" { // RFC 3986 §5.2.2: the URL outside it
		return base, outer.url, nil
	}
	return base, baseURL{node: u, outer: outer.base, ref: ref}, nil
}

func (r *reader) period(top scope, index int, p period) error {
	in, err := r.inner(top, p.node)
	if err != nil {
		return err
	}
	for i, set := range p.node.named("AdaptationSet") {
		inSet, err := r.inner(in, set)
		if err != nil {
			return err
		}
		for _, n := range set.named("Representation") {
			rep := &Representation{
				ID: n.value("id"), Period: index, AdaptationSet: i, node: n,
				MimeType: inherited(n, "mimeType"), Codecs: inherited(n, "codecs"), ContentType: set.value("contentType"),
			}
			if len(r.Representations) == MaxRepresentations || len(rep.ID) > MaxReference {
				return r.fail(ErrLimit, n.start, "more than %d Representations or %d bytes in an id", MaxRepresentations, MaxReference)
			}
			own, err := r.inner(inSet, n)
			if err != nil {
				return err
			}
			if err := r.representation(own, rep, p); err != nil {
				return err
			}
			r.Representations = append(r.Representations, rep)
		}
	}
	return nil
}

// inherited returns the attribute of a Representation or of its AdaptationSet.
func inherited(n *node, name string) string {
	if v := n.value(name); v != "" {
		return v
	}
	return n.parent.value(name)
}

func (r *reader) representation(in scope, rep *Representation, p period) error {
	rep.Base, rep.url = in.base, in.url
	if a := rep.node.attribute("bandwidth"); a != nil {
		n, ok := parseUint(strings.TrimSpace(a.value))
		if !ok {
			return r.fail(ErrMalformed, a.at.start, "bandwidth is not a number")
		}
		rep.bandwidth = n
	}
	rep.protect(in.protected)
	switch {
	case len(in.others) == 0 && len(in.templates) > 0:
		return r.templates(in, rep, p)
	case sidecar(rep):
		return nil
	case len(in.others) == 0:
		return r.file(rep)
	}
	return r.others(in, rep)
}

// sidecar reports a Representation that is one file of text or image: such files
// are never encrypted by Common Encryption, and stay where they are.
func sidecar(r *Representation) bool {
	return strings.HasPrefix(r.MimeType, "text/") || strings.HasPrefix(r.MimeType, "image/") || r.MimeType == "application/ttml+xml"
}
