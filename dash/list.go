package dash

// objects reads a SegmentList whose segments are objects, or ranges of objects
// (ISO/IEC 23009-1 §5.3.9.3).
func (r *reader) objects(info information, rep *Representation) error {
	if n := info.index; n != nil && n.attribute("sourceURL") == nil {
		r.refuse(n.start, "RepresentationIndex of a file, and SegmentURL with media")
		return nil
	}
	first := len(rep.listed)
	places := map[string]int{} // in Media, of objects that are listed by ranges
	ranged := 0
	for _, u := range info.urls {
		if !r.hasOnly(u, "media") {
			return nil
		}
		a := u.attribute("media")
		ref := join(rep.Base, a.value)
		i, known := len(rep.Media), false
		if u.attribute("mediaRange") != nil {
			ranged++
			if i, known = places[clean(ref)]; !known {
				i = len(rep.Media)
				places[clean(ref)] = i
			}
		}
		if !known {
			rep.Media = append(rep.Media, ref)
		}
		if ok, err := r.list(rep, listedRef{attr: a, role: roleMedia, index: i}); !ok || err != nil {
			return err
		}
	}
	whole := ranged == len(info.urls) && len(rep.Media) == 1
	if ok, err := r.objectsInit(info, rep, whole); !ok || err != nil {
		return err
	}
	if rep.File != "" {
		for i := first; i < len(rep.listed); i++ {
			rep.listed[i].role = roleFile
		}
	}
	return r.besides(info, rep)
}

// objectsInit reads the init section of listed objects. Where whole says that they
// are the ranges of one object, it may be a range of the same.
func (r *reader) objectsInit(info information, rep *Representation, whole bool) (bool, error) {
	n := info.initialization
	if n == nil {
		return true, nil
	}
	a := n.attribute("sourceURL")
	if a == nil || n.attribute("range") == nil || !whole || clean(join(rep.Base, a.value)) != clean(rep.Media[0]) {
		return r.ownInit(n, rep)
	}
	rep.File, rep.Media = rep.Media[0], nil
	return r.list(rep, listedRef{attr: a, role: roleFile})
}

// besides follows indexes that are named as objects: those inside the media move
// with it, others stay where they are.
func (r *reader) besides(info information, rep *Representation) error {
	r.work += len(info.urls)
	listed := map[string]listedRef{}
	for _, l := range rep.listed {
		listed[clean(join(rep.Base, l.value))] = l
	}
	var indexes []*attr
	if info.index != nil {
		indexes = append(indexes, info.index.attribute("sourceURL"))
	}
	for _, u := range info.urls {
		indexes = append(indexes, u.attribute("index"))
	}
	for _, a := range indexes {
		if a == nil {
			continue
		}
		l, ok := listed[clean(join(rep.Base, a.value))]
		if !ok {
			continue
		}
		l.attr = a
		if ok, err := r.list(rep, l); !ok || err != nil {
			return err
		}
	}
	return nil
}
