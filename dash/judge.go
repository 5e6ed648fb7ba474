package dash

import "strings"

const (
	spaceXLink = "http://www.w3.org/1999/xlink"
	spaceCENC  = "urn:mpeg:cenc:2013"
	spaceMPD   = "urn:mpeg:dash:schema:mpd:" // of all editions
)

// judge refuses what rekey does not handle wherever it stands.
func (r *reader) judge(n *node) {
	for _, a := range n.attrs {
		switch {
		case a.space == spaceXLink && a.local == "href":
			r.refuse(n.start, "%s with xlink:href: a remote element", n.local)
		case a.space == spaceCENC && isDefaultKID(a) && n.local != "ContentProtection":
			r.refuse(a.at.start, "%s of a %s", a.local, n.local)
		}
	}
	if n == r.root && n.space != "" && !ofMPD(n.space) {
		r.refuse(n.start, "MPD of namespace %q", n.space)
	}
	if n.space != r.root.space {
		r.judgeForeign(n)
		return
	}
	switch n.local {
	case "ImportedMPD":
		r.refuse(n.start, "element %s", n.local)
	case "Period":
		r.refuseOutside(n, "MPD")
	case "AdaptationSet":
		r.refuseOutside(n, "Period")
	case "Representation":
		r.refuseOutside(n, "AdaptationSet")
	case "BaseURL":
		r.refuseAttributes(n, "byteRange")
	case "SegmentTemplate":
		r.refuseAttributes(n, "bitstreamSwitching")
		r.refuseChildren(n, "SegmentTimeline", "Initialization", "RepresentationIndex", "FailoverContent")
	case "SegmentTimeline":
		r.refuseChildren(n, "S")
	}
}

// ofMPD reports the namespace of an MPD, which drafts spelled in capitals.
func ofMPD(space string) bool { return strings.HasPrefix(strings.ToLower(space), spaceMPD) }

// judgeForeign refuses elements that would be part of the presentation or of its
// protection, were they spelled or placed as they should be.
func (r *reader) judgeForeign(n *node) {
	switch {
	case ofMPD(n.space):
		r.refuse(n.start, "%s in another namespace of the MPD", n.local)
	case n.space == spaceCENC && n.local == "pssh":
		for p := n.parent; p != nil; p = p.parent {
			if p.local == "ContentProtection" {
				return
			}
		}
		r.refuse(n.start, "pssh outside a ContentProtection")
	}
}

// refuseOutside refuses an element that is no child of the named: nothing in it
// would be looked at.
func (r *reader) refuseOutside(n *node, parent string) {
	if n.parent == nil || n.parent.local != parent || n.parent.space != n.space {
		r.refuse(n.start, "%s that is no child of a %s", n.local, parent)
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
func (r *reader) refuseChildren(n *node, names ...string) {
next:
	for _, c := range n.children {
		if c.space != n.space {
			continue
		}
		for _, name := range names {
			if c.local == name {
				continue next
			}
		}
		r.refuse(c.start, "%s in a %s", c.local, n.local)
	}
}
