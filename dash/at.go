package dash

// At returns what Init, Media and File are under OtherBases[i]: the same objects,
// where the MPD means what it says.
func (r *Representation) At(i int) (init string, media []string, file string) {
	return r.resolve(r.chains[i+1])
}

// resolve returns the references under one chain of BaseURLs.
func (r *Representation) resolve(c chain) (init string, media []string, file string) {
	if r.init != nil {
		init = join(c.base, r.init.template.expand(r, segmentID{}))
	}
	if r.media != nil && len(r.ids) > 0 {
		media = make([]string, len(r.ids))
		for i, id := range r.ids {
			media[i] = join(c.base, r.media.template.expand(r, id))
		}
	} else {
		media = make([]string, len(r.Media))
	}
	switch r.byURL {
	case roleFile:
		file = c.url.target()
	case roleMedia:
		media[0] = c.url.target()
	default:
	}
	for _, l := range r.listed {
		switch ref := join(c.base, l.value); l.role {
		case roleInit:
			init = ref
		case roleMedia:
			media[l.index] = ref
		case roleFile:
			file = ref
		default:
		}
	}
	return init, media, file
}
