package dash

import (
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// inForce reports a ContentProtection that protects what it stands in. At the MPD
// and in a Period it is there for others to refer to (ISO/IEC 23009-1
// §5.8.4.1.3); older MPDs, which give it no id, mean it.
func (p *protection) inForce() bool {
	outer := p.node.parent.local == "MPD" || p.node.parent.local == "Period"
	return !outer || p.node.attribute("refId") == nil
}

// follow finds what each @ref names. An element that refers inherits the
// attributes and the children of the other, which is edited for both.
func (r *reader) follow() {
	ids := map[string][]*protection{}
	for _, p := range r.protections {
		if a := p.node.attribute("refId"); a != nil {
			ids[a.value] = append(ids[a.value], p)
		}
	}
	for _, p := range r.protections {
		a := p.node.attribute("ref")
		if a == nil {
			continue
		}
		switch found := ids[a.value]; {
		case len(found) == 0:
			r.refuse(a.at.start, "ContentProtection with a ref to none")
		case len(found) > 1:
			r.refuse(found[1].node.start, "second ContentProtection with the refId of another")
		default:
			p.source = found[0]
		}
	}
	for _, p := range r.protections {
		if p.source != nil {
			r.judgeReference(p)
		}
	}
}

// judgeReference refuses references in a circle, and elements that say otherwise
// than the one that they refer to.
func (r *reader) judgeReference(p *protection) {
	from := p.node.attribute("ref").at.start
	hops := 0
	for s := p.source; s != nil; s = s.source {
		if hops++; hops > MaxReferences {
			r.refuse(from, "ContentProtection that refers to itself, or over more than %d others", MaxReferences)
			p.source = nil
			return
		}
	}
	s := p.source
	for _, name := range []string{"schemeIdUri", "value"} {
		mine, theirs := p.node.attribute(name), s.node.attribute(name)
		if mine != nil && theirs != nil && !strings.EqualFold(mine.value, theirs.value) {
			r.refuse(mine.at.start, "%s of a ContentProtection is not that of the one it refers to", name)
		}
	}
	if theirs := s.allKIDs(); p.defaultKID != nil && len(theirs) > 0 && !slices.Equal(p.kids, theirs) {
		r.refuse(p.defaultKID.at.start, "default_KID of a ContentProtection is not that of the one it refers to")
	}
}

// allKIDs are those of default_KID, its own or inherited.
func (p *protection) allKIDs() []key.KID {
	for s, hops := p, 0; s != nil && hops <= MaxReferences; s, hops = s.source, hops+1 {
		if len(s.kids) > 0 {
			return s.kids
		}
	}
	return nil
}

// allData is its own protection data and what it inherits.
func (p *protection) allData() []protectionData {
	var out []protectionData
	for s, hops := p, 0; s != nil && hops <= MaxReferences; s, hops = s.source, hops+1 {
		out = append(out, s.data...)
	}
	return out
}
