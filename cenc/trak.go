package cenc

// readTrak reads one track (ISO/IEC 14496-12 §8.3).
func (in *Init) readTrak(r *reader, trak box) error {
	var t track
	err := r.each(trak, func(x box) error {
		switch {
		case x.typ == typeTkhd:
			return t.readTkhd(r, x)
		case x.typ == typeMdia:
			return r.inside(x, func(x box) error { return in.readMdia(r, x, &t) })
		case x.typ == typeSenc: // ISO/IEC 23001-7 §7.2.1: in traf or trak
			return r.once(&t.stbl.senc, x)
		case r.isUUID(x, piffSenc):
			return r.once(&t.stbl.piff, box{x.typ, x.start, x.body + 16, x.end})
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
	case len(t.entries) == 0:
		return r.malformed(trak.start, "no sample entry")
	}
	for _, x := range [...]box{t.stbl.senc, t.stbl.piff} {
		if r.overrides(x) {
			in.refuse(r.unsupported(x.start, "%v in moov overrides the track's key", x.typ))
		}
	}
	t.defaultDesc = 1
	in.tracks = append(in.tracks, t)
	return in.listSeigs(r, len(in.tracks)-1)
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
			return r.inside(x, func(x box) error { return in.readStbl(r, x, t) })
		})
	}
	return nil
}

// sampleTables are the boxes of one track that list samples outside fragments.
type sampleTables struct {
	sizes, chunks, runs    box // stsz or stz2, stco or co64, stsc
	groups                 box // sbgp or csgp, of seig
	senc, piff, saiz, saio box
	count                  uint32
}

// readStbl takes a box of stbl. Tables of samples are only found here; a
// progressive file's are read by its File.
func (in *Init) readStbl(r *reader, x box, t *track) error {
	switch x.typ {
	case typeStsd:
		if len(t.entries) > 0 {
			return r.malformed(x.start, "second stsd")
		}
		return in.readStsd(r, x, t)
	case typeStsz, typeStz2:
		f := r.fields(x)
		f.skip(8) // version, flags, sample_size
		if t.stbl.count = f.u32(); f.short {
			return r.malformed(x.start, "%v ends early", x.typ)
		}
		in.listed += int(t.stbl.count)
		return r.once(&t.stbl.sizes, x)
	case typeStco, typeCo64:
		return r.once(&t.stbl.chunks, x)
	case typeStsc:
		return r.once(&t.stbl.runs, x)
	case typeSenc:
		return r.once(&t.stbl.senc, x)
	case typeSaiz, typeSaio:
		return r.keepAux(&t.stbl.saiz, &t.stbl.saio, x)
	case typeSgpd:
		if r.isSeig(x) {
			return r.once(&t.seigs.box, x)
		}
	case typeSbgp, typeCsgp:
		if r.isSeig(x) {
			return r.once(&t.stbl.groups, x)
		}
	case typeUuid:
		if r.isUUID(x, piffSenc) {
			return r.once(&t.stbl.piff, box{x.typ, x.start, x.body + 16, x.end})
		}
	}
	return nil
}

// once keeps the place of a box that may stand only once.
func (r *reader) once(dst *box, x box) error {
	if dst.end != 0 {
		return r.malformed(x.start, "second %v", x.typ)
	}
	*dst = x
	return nil
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
		r.push(x.typ, 0)
		if err := in.readEntry(r, x, t); err != nil {
			return err
		}
		r.pop()
	}
	if uint64(n) != uint64(len(t.entries)) {
		return r.malformed(stsd.start, "entry_count is %d, but %d entries", n, len(t.entries))
	}
	return nil
}
