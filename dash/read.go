package dash

import (
	"fmt"
	"slices"
	"strings"
)

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
	top, err := r.inner(scope{chains: make([]chain, 1)}, r.root)
	if err != nil {
		return err
	}
	r.bases = top.chains
	for i, p := range periods {
		if err := r.period(top, i, p); err != nil {
			return err
		}
	}
	r.initializationSets()
	r.refuseSpelledKIDs()
	return nil
}

// scope is what a level hands down to the next.
type scope struct {
	chains    []chain
	templates []*node // SegmentTemplate, outermost first
	others    []*node // SegmentBase and SegmentList
	protected []*protection
}

// inner is the scope inside element n.
func (r *reader) inner(s scope, n *node) (scope, error) {
	chains, err := r.through(s.chains, n)
	if err != nil {
		return s, err
	}
	in := scope{chains: chains, templates: slices.Clone(s.templates), others: slices.Clone(s.others)}
	own := r.byParent[n]
	in.protected = slices.Clone(s.protected)
	for _, p := range own {
		if p.inForce() {
			in.protected = append(in.protected, p)
		}
	}
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

func (r *reader) period(top scope, index int, p period) error {
	in, err := r.inner(top, p.node)
	if err != nil {
		return err
	}
	joint := r.preselections(p.node)
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
			// What is in force is held for each Representation, not only looked at.
			if r.work += 10 * rep.protect(own.protected, r.under(n), joint[set]); r.work > maxWork {
				return r.fail(ErrLimit, n.start, "more than %d elements to look at", maxWork)
			}
			if err := r.representation(own, rep, p); err != nil {
				return err
			}
			r.Representations = append(r.Representations, rep)
		}
	}
	return nil
}

// under lists the ContentProtections of the SubRepresentations of n.
func (r *reader) under(n *node) []*protection {
	var out []*protection
	for _, sub := range n.named("SubRepresentation") {
		out = append(out, r.byParent[sub]...)
	}
	return out
}

// preselections lists, for each AdaptationSet of a Period, what the Preselections
// with it say of its protection (ISO/IEC 23009-1 §5.3.11).
func (r *reader) preselections(period *node) map[*node][]*protection {
	chosen := period.named("Preselection")
	if len(chosen) == 0 {
		return nil
	}
	sets := map[string]*node{}
	for _, set := range period.named("AdaptationSet") {
		for _, n := range append(set.named("ContentComponent"), set) {
			if id := n.value("id"); id != "" {
				sets[id] = set
			}
		}
	}
	out := map[*node][]*protection{}
	for _, n := range chosen {
		for _, id := range strings.Fields(n.value("preselectionComponents")) {
			if set := sets[id]; set != nil && len(out[set]) < MaxProtections { // then two disagree anyhow
				out[set] = append(out[set], r.byParent[n]...)
			}
		}
	}
	return out
}

// inherited returns the attribute of a Representation or of its AdaptationSet.
func inherited(n *node, name string) string {
	if v := n.value(name); v != "" {
		return v
	}
	return n.parent.value(name)
}

func (r *reader) representation(in scope, rep *Representation, p period) error {
	rep.chains, rep.Base = in.chains, in.chains[0].base
	for _, c := range in.chains[1:] {
		rep.OtherBases = append(rep.OtherBases, c.base)
	}
	if a := rep.node.attribute("bandwidth"); a != nil {
		n, ok := parseUint(strings.TrimSpace(a.value))
		if !ok {
			return r.fail(ErrMalformed, a.at.start, "bandwidth is not a number")
		}
		rep.bandwidth = n
	}
	switch {
	case len(in.others) == 0 && len(in.templates) > 0:
		return r.templates(in, rep, p)
	case sidecar(rep):
		return nil
	case len(in.others) == 0:
		return r.file(rep, roleFile)
	}
	return r.others(in, rep)
}

// sidecar reports a Representation that is one file of text or image: such files
// are never encrypted by Common Encryption, and stay where they are.
func sidecar(r *Representation) bool {
	return strings.HasPrefix(r.MimeType, "text/") || strings.HasPrefix(r.MimeType, "image/") || r.MimeType == "application/ttml+xml"
}
