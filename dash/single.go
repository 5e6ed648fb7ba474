package dash

import (
	"slices"
	"strings"
)

// others reads SegmentBase or SegmentList (ISO/IEC 23009-1 §5.3.9.2, §5.3.9.3).
func (r *reader) others(in scope, rep *Representation) error {
	last := in.others[len(in.others)-1]
	for _, o := range slices.Concat(in.others, in.templates) {
		if o.local != last.local {
			r.refuse(last.start, "Representation %q with %s and %s", rep.ID, last.local, o.local)
			return nil
		}
	}
	if last.local == "SegmentList" {
		return r.list(in.others, rep)
	}
	for _, base := range in.others {
		r.work += len(base.children)
		for _, c := range base.children {
			if c.space == base.space && !r.inSameFile(c) {
				return nil
			}
		}
	}
	return r.file(rep)
}

// inSameFile judges a child of SegmentBase: an init section or an index that is
// part of the file itself. Anything else is refused.
func (r *reader) inSameFile(c *node) bool {
	switch {
	case c.local != "Initialization" && c.local != "RepresentationIndex":
		r.refuse(c.start, "%s in a %s", c.local, c.parent.local)
	case c.attribute("sourceURL") != nil:
		r.refuse(c.start, "%s with sourceURL in a %s", c.local, c.parent.local)
	default:
		return true
	}
	return false
}

// file takes the BaseURLs for the reference of the one file. They are resolved
// one against the other, and the last to name something names it (ISO/IEC
// 23009-1 §5.3.9.1).
func (r *reader) file(rep *Representation) error {
	if !namesObject(rep.url.ref) {
		r.refuse(rep.node.start, "Representation %q without segments, and no BaseURL that names a file", rep.ID)
		return nil
	}
	rep.File = rep.url.target()
	if len(rep.File) > MaxReference {
		return r.fail(ErrLimit, rep.url.node.start, "BaseURLs are longer than %d bytes", MaxReference)
	}
	return r.count(rep, 0, len(rep.File))
}

func (u baseURL) target() string { return join(u.outer, u.ref) }

// list reads the SegmentLists in force: the SegmentURLs are those of the
// innermost that has any, and so is the Initialization.
func (r *reader) list(lists []*node, rep *Representation) error {
	var urls []*node
	var initialization, index *node
	for _, l := range lists {
		r.work += len(l.children)
		var own []*node
		for _, c := range l.children {
			switch {
			case c.space != l.space, c.local == "SegmentTimeline":
			case c.local == "SegmentURL":
				own = append(own, c)
			case c.local == "Initialization":
				initialization = c
			case !r.inSameFile(c):
				return nil
			default:
				index = c
			}
		}
		if len(own) > 0 {
			urls = own
		}
	}
	switch {
	case len(urls) == 0:
		r.refuse(lists[len(lists)-1].start, "SegmentList without a SegmentURL")
		return nil
	case urls[0].attribute("media") == nil:
		return r.ranges(urls, initialization, rep)
	case index != nil:
		r.refuse(index.start, "RepresentationIndex of a file, and SegmentURL with media")
		return nil
	}
	return r.objects(urls, initialization, rep)
}

// ranges reads a list of parts of one file.
func (r *reader) ranges(urls []*node, initialization *node, rep *Representation) error {
	for _, u := range urls {
		if !r.hasOnly(u, "mediaRange", "media", "index") {
			return nil
		}
	}
	if initialization == nil {
		r.refuse(urls[0].parent.start, "SegmentList of byte ranges without an Initialization")
		return nil
	}
	if !r.hasOnly(initialization, "range", "sourceURL") {
		return nil
	}
	return r.file(rep)
}

// objects reads a list of segments that are each an object of its own.
func (r *reader) objects(urls []*node, initialization *node, rep *Representation) error {
	for _, u := range urls {
		if !r.hasOnly(u, "media", "mediaRange", "index") {
			return nil
		}
	}
	if initialization != nil {
		if !r.hasOnly(initialization, "sourceURL", "range") {
			return nil
		}
		a := initialization.attribute("sourceURL")
		ref, err := r.listedRef(rep, a)
		if ref == "" || err != nil {
			return err
		}
		rep.Init, rep.listedInit = ref, a
	}
	for _, u := range urls {
		a := u.attribute("media")
		ref, err := r.listedRef(rep, a)
		if ref == "" || err != nil {
			return err
		}
		rep.Media, rep.listed = append(rep.Media, ref), append(rep.listed, a)
	}
	return nil
}

// hasOnly refuses n unless it has the wanted attribute and none of the others:
// segments that are partly ranges of one file and partly objects cannot be
// followed as either.
func (r *reader) hasOnly(n *node, wanted string, others ...string) bool {
	if n.attribute(wanted) == nil {
		r.refuse(n.start, "%s without %s in this SegmentList", n.local, wanted)
		return false
	}
	for _, o := range others {
		if n.attribute(o) != nil {
			r.refuse(n.start, "%s with %s in this SegmentList", n.local, o)
			return false
		}
	}
	return true
}

// listedRef is the reference that an attribute of a list gives; empty where it is
// refused.
func (r *reader) listedRef(rep *Representation, a *attr) (string, error) {
	if len(a.value) > MaxReference {
		return "", r.fail(ErrLimit, a.at.start, "%s is longer than %d bytes", a.local, MaxReference)
	}
	if !namesObject(a.value) {
		r.refuse(a.at.start, "%s that names no object", a.local)
		return "", nil
	}
	ref := join(rep.Base, a.value)
	return ref, r.count(rep, 1, len(ref))
}

// namesObject reports a reference whose path ends in a name: not one to a folder,
// nor one that is only a query and so means the MPD or the BaseURL itself.
func namesObject(ref string) bool {
	if i := strings.IndexAny(ref, "?#"); i >= 0 {
		ref = ref[:i]
	}
	ref = clean(ref)
	return ref != "" && !strings.HasSuffix(ref, "/")
}
