package cenc

// readTrak reads one track (ISO/IEC 14496-12 §8.3).
func (in *Init) readTrak(r *reader, trak box) error {
	var t track
	err := r.each(trak, func(x box) error {
		switch x.typ {
		case typeTkhd:
			return t.readTkhd(r, x)
		case typeMdia:
			return r.inside(x, func(x box) error { return in.readMdia(r, x, &t) })
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case t.ID == 0:
		return r.malformed(trak.start, "no tkhd, or track_ID 0")
	case in.track(t.ID) >= 0:
		return r.malformed(trak.start, "second track with ID %d", t.ID)
	case t.entries == 0:
		return r.malformed(trak.start, "no sample entry")
	}
	t.defaultDesc = 1
	in.tracks = append(in.tracks, t)
	return nil
}

// readTkhd takes the track's ID (§8.3.2).
func (t *track) readTkhd(r *reader, x box) error {
	f := r.fields(x)
	version, _ := f.full()
	f.skip(8) // times
	if version == 1 {
		f.skip(8)
	}
	if t.ID = f.u32(); f.short {
		return r.malformed(x.start, "tkhd ends early")
	}
	return nil
}

// readMdia takes a box of mdia: hdlr for the handler, minf for the samples.
func (in *Init) readMdia(r *reader, x box, t *track) error {
	switch x.typ {
	case typeHdlr:
		f := r.fields(x)
		f.skip(8) // version, flags, pre_defined
		if t.Handler = fourcc(f.u32()).String(); f.short {
			return r.malformed(x.start, "hdlr ends early")
		}
	case typeMinf:
		return r.inside(x, func(x box) error {
			if x.typ != typeStbl {
				return nil
			}
			return in.readStbl(r, x, t)
		})
	}
	return nil
}

// each calls fn for every box inside x.
func (r *reader) each(x box, fn func(box) error) error {
	for at := x.body; at < x.end; {
		child, err := r.box(at, x.end)
		if err != nil {
			return err
		}
		at = child.end
		if err := fn(child); err != nil {
			return err
		}
	}
	return nil
}

// inside is each, with x on the path.
func (r *reader) inside(x box, fn func(box) error) error {
	r.push(x.typ, 0)
	defer r.pop()
	return r.each(x, fn)
}

func (in *Init) readStbl(r *reader, stbl box, t *track) error {
	return r.inside(stbl, func(x box) error {
		switch x.typ {
		case typeStsd:
			if t.entries > 0 {
				return r.malformed(x.start, "second stsd")
			}
			return in.readStsd(r, x, t)
		case typeStsz, typeStz2:
			f := r.fields(x)
			f.skip(8) // version, flags, sample_size
			if n := f.u32(); n > 0 {
				in.refuse(r.unsupported(x.start, "%v lists %d samples: a file that is not fragmented", x.typ, n))
			}
		case typeSgpd, typeSbgp, typeCsgp:
			f := r.fields(x)
			if isSeig(x.typ, &f) {
				r.push(x.typ, 0)
				in.refuse(r.unsupported(x.start, "seig sample group: keys that change within the track"))
				r.pop()
			}
		}
		return nil
	})
}

// isSeig tells whether a sample group box is about encryption (ISO/IEC 23001-7
// §6). csgp has flags where the others have none, and the same field after.
func isSeig(typ fourcc, f *fields) bool {
	f.full()
	return fourcc(f.u32()) == typeSeig && !f.short
}

func (in *Init) readStsd(r *reader, stsd box, t *track) error {
	r.push(typeStsd, 0)
	defer r.pop()
	f := r.fields(stsd)
	f.full()
	n := f.u32()
	if f.short {
		return r.malformed(stsd.start, "stsd ends early")
	}
	for at := f.at; at < stsd.end; {
		x, err := r.box(at, stsd.end)
		if err != nil {
			return err
		}
		at = x.end
		t.entries++
		r.push(x.typ, 0)
		if err := in.readEntry(r, x, t); err != nil {
			return err
		}
		r.pop()
	}
	if uint64(n) != uint64(t.entries) {
		return r.malformed(stsd.start, "entry_count is %d, but %d entries", n, t.entries)
	}
	if t.entries > 1 {
		in.refuse(r.unsupported(stsd.start, "%d sample entries", t.entries))
	}
	return nil
}
