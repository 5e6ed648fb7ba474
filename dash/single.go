package dash

import "slices"

// role is what a reference leads to.
type role int

const (
	roleNone role = iota
	roleInit
	roleMedia
	roleFile // init section and media
	roleKept // an index: never encrypted, stays where it is
)

// listedRef is an attribute that leads to one object.
type listedRef struct {
	*attr
	role  role
	index int // of Representation.Media
}

// others reads SegmentBase or SegmentList (ISO/IEC 23009-1 §5.3.9.2, §5.3.9.3).
func (r *reader) others(in scope, rep *Representation) error {
	last := in.others[len(in.others)-1]
	for _, o := range slices.Concat(in.others, in.templates) {
		if o.local != last.local {
			r.refuse(last.start, "Representation %q with %s and %s", rep.ID, last.local, o.local)
			return nil
		}
	}
	info := r.information(in.others)
	if !info.ok {
		return nil
	}
	switch {
	case last.local == "SegmentBase":
		return r.oneFile(info, rep)
	case len(info.urls) == 0:
		r.refuse(last.start, "SegmentList without a SegmentURL")
		return nil
	case info.urls[0].attribute("media") == nil:
		for _, u := range info.urls {
			if !r.hasOnly(u, "mediaRange", "media") {
				return nil
			}
		}
		if info.initialization == nil {
			r.refuse(info.urls[0].parent.start, "SegmentList of byte ranges without an Initialization")
			return nil
		}
		return r.oneFile(info, rep)
	}
	return r.objects(info, rep)
}

// information is what the SegmentBases or SegmentLists in force say, each thing
// from the innermost that says it.
type information struct {
	initialization, index *node
	urls                  []*node
	ok                    bool
}

func (r *reader) information(elements []*node) information {
	var info information
	for _, e := range elements {
		r.work += len(e.children)
		var own []*node
		for _, c := range e.children {
			switch {
			case c.space != e.space:
			case c.local == "SegmentURL" && e.local == "SegmentList":
				own = append(own, c)
			case c.local == "Initialization":
				info.initialization = c
			case c.local == "RepresentationIndex":
				info.index = c
			case c.local == "FailoverContent", c.local == "SegmentTimeline" && e.local == "SegmentList":
			default:
				r.refuse(c.start, "%s in a %s", c.local, e.local)
				return information{}
			}
		}
		if len(own) > 0 {
			info.urls = own
		}
	}
	info.ok = true
	return info
}

// oneFile reads segments that are parts of the file that the BaseURLs name. Its
// init section may be an object of its own.
func (r *reader) oneFile(info information, rep *Representation) error {
	own := roleFile
	switch n := info.initialization; {
	case n == nil:
	case n.attribute("sourceURL") == nil:
		if len(info.urls) > 0 && !r.hasOnly(n, "range") {
			return nil
		}
	case r.isFile(rep, n.attribute("sourceURL")):
		if !r.hasOnly(n, "range") {
			return nil
		}
		if ok, err := r.list(rep, listedRef{attr: n.attribute("sourceURL"), role: roleFile}); !ok || err != nil {
			return err
		}
	default:
		own = roleMedia
		if ok, err := r.ownInit(n, rep); !ok || err != nil {
			return err
		}
	}
	if err := r.file(rep, own); err != nil || rep.byURL == roleNone {
		return err
	}
	// What is relative to the BaseURL is spelled anew where that moves.
	var beside []*attr
	if info.index != nil {
		beside = append(beside, info.index.attribute("sourceURL"))
	}
	for _, u := range info.urls {
		beside = append(beside, u.attribute("index"))
	}
	for _, a := range beside {
		if a == nil {
			continue
		}
		ref := listedRef{attr: a, role: roleKept}
		if r.isFile(rep, a) {
			ref.role = own
		}
		if ok, err := r.list(rep, ref); !ok || err != nil {
			return err
		}
	}
	return nil
}

// isFile reports an attribute that leads to what the BaseURL names.
func (r *reader) isFile(rep *Representation, a *attr) bool {
	return clean(join(rep.Base, a.value)) == clean(rep.chains[0].url.target())
}

// ownInit reads an Initialization that names an object; false where it is refused.
func (r *reader) ownInit(n *node, rep *Representation) (bool, error) {
	if !r.hasOnly(n, "sourceURL", "range") {
		return false, nil
	}
	a := n.attribute("sourceURL")
	ok, err := r.list(rep, listedRef{attr: a, role: roleInit})
	if ok {
		rep.Init = join(rep.Base, a.value)
	}
	return ok, err
}

// file takes the BaseURLs for the reference of the one file, or of all its media.
// They are resolved one against the other, and the last to name something names
// it (ISO/IEC 23009-1 §5.3.9.1).
func (r *reader) file(rep *Representation, own role) error {
	for _, c := range rep.chains {
		if !namesObject(c.url.ref) {
			r.refuse(rep.node.start, "Representation %q without segments, and no BaseURL that names a file", rep.ID)
			return nil
		}
		if len(c.url.target()) > MaxReference {
			return r.fail(ErrLimit, c.url.node.start, "BaseURLs are longer than %d bytes", MaxReference)
		}
	}
	rep.byURL = own
	ref := rep.chains[0].url.target()
	if own == roleFile {
		rep.File = ref
		return r.count(rep, 0, len(ref))
	}
	rep.Media = []string{ref}
	return r.count(rep, 1, len(ref))
}

// hasOnly refuses n unless it has the wanted attribute and none of the others:
// segments that are partly ranges of one file and partly objects cannot be
// followed as either.
func (r *reader) hasOnly(n *node, wanted string, others ...string) bool {
	if n.attribute(wanted) == nil {
		r.refuse(n.start, "%s without %s in this %s", n.local, wanted, n.parent.local)
		return false
	}
	for _, o := range others {
		if n.attribute(o) != nil {
			r.refuse(n.start, "%s with %s in this %s", n.local, o, n.parent.local)
			return false
		}
	}
	return true
}

// list adds an attribute to what the Representation leads to; false where it is
// refused.
func (r *reader) list(rep *Representation, l listedRef) (bool, error) {
	if len(l.value) > MaxReference {
		return false, r.fail(ErrLimit, l.at.start, "%s is longer than %d bytes", l.local, MaxReference)
	}
	if !namesObject(l.value) {
		r.refuse(l.at.start, "%s that names no object", l.local)
		return false, nil
	}
	rep.listed = append(rep.listed, l)
	return true, r.count(rep, len(rep.chains), len(rep.Base)+len(l.value))
}
