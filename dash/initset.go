package dash

// initializationSets follows the init sections that an MPD names for several
// Representations at once (ISO/IEC 23009-1 §5.3.12): each must be that of one of
// them, and moves with it.
func (r *reader) initializationSets() {
	owners := map[string]*Representation{}
	for _, rep := range r.Representations {
		if init := clean(rep.Init); init != "" && owners[init] == nil {
			owners[init] = rep
		}
	}
	for _, n := range r.root.named("InitializationSet") {
		a := n.attribute("initialization")
		if a == nil {
			continue
		}
		if len(r.bases) > 1 {
			r.refuse(a.at.start, "InitializationSet with initialization, under several BaseURLs")
			return
		}
		owner := owners[clean(join(r.bases[0].base, a.value))]
		if owner == nil {
			r.refuse(a.at.start, "InitializationSet whose initialization is that of no Representation")
			return
		}
		owner.sets = append(owner.sets, a)
	}
}
