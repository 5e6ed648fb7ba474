package cenc

import "github.com/seed-6133abe0/rekey/key"

// Bytes of a sample entry before its boxes (ISO/IEC 14496-12 §12.1.3, §12.2.3):
// SampleEntry has 8, visual entries 70 more, audio entries 20 more. QuickTime's
// sound description versions 1 and 2 go on for 16 and 36.
const (
	plainFields  = 8
	visualFields = 8 + 70
	audioFields  = 8 + 20
)

// readEntry reads one sample entry into t.
func (in *Init) readEntry(r *reader, entry box, t *track) error {
	if !isProtected(entry.typ) {
		if t.Codec == "" {
			t.Codec = entry.typ.String()
		}
		t.entries = append(t.entries, -1)
		return nil
	}
	p := protection{track: len(in.tracks), entry: len(t.entries)}
	var err error
	var s sinf
	for _, at := range r.boxesAt(entry) {
		// Entries of text say their own strings first (§12.5, §12.6), and their
		// boxes begin where a whole chain of boxes does, up to the entry's end.
		p.codec, s = codec{}, sinf{}
		if err = in.readEntryBoxes(r, box{entry.typ, entry.start, at, entry.end}, &p, &s); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	in.keepEntry(r, entry, t, p, s)
	return nil
}

// keepEntry adds a protected entry to the track.
func (in *Init) keepEntry(r *reader, entry box, t *track, p protection, s sinf) {
	if !t.Encrypted {
		t.Encrypted, t.Scheme, t.Codec = true, s.scheme.String(), s.codec.String()
		if s.scheme == 0 {
			t.Scheme = ""
		}
		t.KID, t.IVSize = p.kid, p.ivSize
	}
	if s.kidAt > 0 {
		in.kidAt = append(in.kidAt, s.kidAt)
		t.KIDs = appendKID(t.KIDs, p.kid)
	}
	if why := p.check(); why != "" {
		name := "no schm"
		if s.scheme != 0 {
			name = "scheme " + s.scheme.String()
		}
		in.refuse(r.unsupported(entry.start, "%s: %s", name, why))
	}
	in.refuse(s.unsupported)
	if s.several {
		in.refuse(r.unsupported(entry.start, "several sinf boxes in one sample entry"))
	}
	p.pool = in.poolOf(&p)
	t.entries = append(t.entries, len(in.prots))
	in.prots = append(in.prots, p)
}

// poolOf is the index of the first protection with the same track and KID.
func (in *Init) poolOf(p *protection) int { return poolOf(in.prots, p) }

func poolOf(prots []protection, p *protection) int {
	for i := range prots {
		if prots[i].track == p.track && prots[i].kid == p.kid {
			return prots[i].pool
		}
	}
	return len(prots)
}

// isProtected: the sample entry types that hold a sinf for media that is
// encrypted (ISO/IEC 14496-12 §8.12.1).
func isProtected(typ fourcc) bool {
	switch typ.String() {
	case "encv", "enca", "enct", "encs", "encm", "encf", "encu", "enc3", "encp":
		return true
	}
	return false
}

// boxesAt gives the places where the boxes of a protected entry may begin, the
// likeliest first.
func (r *reader) boxesAt(entry box) []int {
	f := r.fields(entry)
	f.skip(plainFields)
	version := f.u16()
	switch entry.typ {
	case typeEncv:
		return []int{entry.body + visualFields}
	case typeEnca:
		if version == 1 || version == 2 {
			return []int{entry.body + audioFields + 16 + 20*int(version-1), entry.body + audioFields}
		}
		return []int{entry.body + audioFields}
	}
	// A chain of boxes ends exactly at the entry's end; strings before it are
	// zero-terminated, so it begins after a zero.
	at := []int{entry.body + plainFields}
	for i := entry.body + plainFields; i < entry.end; i++ {
		if r.b[i-r.base] == 0 && i+1 < entry.end {
			at = append(at, i+1)
		}
	}
	return at
}

// sinf is what a protection scheme information box says.
type sinf struct {
	scheme  fourcc
	codec   fourcc
	kidAt   int
	several bool
	found   bool
	// unsupported is the first thing that can't be transformed; nil if none.
	unsupported error
}

func (in *Init) readEntryBoxes(r *reader, boxes box, p *protection, s *sinf) error {
	if boxes.body > boxes.end {
		return r.malformed(boxes.start, "sample entry ends early")
	}
	err := r.each(boxes, func(x box) error {
		switch x.typ {
		case typeSinf:
			if s.found {
				s.several = true
				return nil
			}
			s.found = true
			return r.readSinf(x, p, s)
		case typeAvcC:
			// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1)
			f := r.fields(x)
			f.skip(4)
			p.codec.setNAL(ruleH264, f.u8()&3+1, f.short)
		case typeHvcC:
			// HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1)
			f := r.fields(x)
			f.skip(21)
			p.codec.setNAL(ruleHEVC, f.u8()&3+1, f.short)
		case typeEsds:
			f := r.fields(x)
			if isAAC(&f) {
				p.codec.rule = ruleAAC
			}
		}
		return nil
	})
	if err == nil && !s.found {
		err = r.malformed(boxes.start, "protected sample entry without sinf")
	}
	return err
}

// setNAL takes a NAL rule; a configuration record that is cut short gives none,
// which only costs evidence.
func (c *codec) setNAL(rule rule, size uint8, short bool) {
	if !short && c.rule == ruleNone {
		c.rule, c.nalSize = rule, int(size)
	}
}

// readSinf reads the protection scheme information (ISO/IEC 14496-12 §8.12).
func (r *reader) readSinf(info box, p *protection, s *sinf) error {
	r.push(typeSinf, 0)
	defer r.pop()
	tenc, algorithm := false, uint32(0)
	err := r.each(info, func(x box) error {
		f := r.fields(x)
		switch x.typ {
		case typeFrma:
			s.codec = fourcc(f.u32())
		case typeSchm:
			f.full()
			s.scheme = fourcc(f.u32())
		case typeSchi:
			return r.inside(x, func(x box) (err error) {
				switch {
				case x.typ == typeTenc:
					tenc = true
					s.kidAt, err = r.readTenc(x, p, s)
				case r.isUUID(x, piffTenc) && !tenc:
					tenc = true
					s.kidAt, algorithm, err = r.readPIFFTenc(x, p)
				}
				return err
			})
		}
		if f.short {
			return r.malformed(x.start, "%v ends early", x.typ)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.scheme = schemeOf(s.scheme, algorithm)
	if s.codec == 0 {
		return r.malformed(info.start, "no frma")
	}
	if p.scheme != schemeNone && !tenc {
		return r.malformed(info.start, "scheme %v without tenc", s.scheme)
	}
	if !tenc {
		p.protected = true // by what, is not known
	}
	return nil
}

// readTenc reads the track's encryption defaults (ISO/IEC 23001-7 §8.2).
func (r *reader) readTenc(tenc box, p *protection, s *sinf) (kidAt int, err error) {
	r.push(typeTenc, 0)
	defer r.pop()
	f := r.fields(tenc)
	version, _ := f.full()
	if version > 1 {
		s.unsupported = r.unsupported(tenc.start, "version %d", version)
	}
	kidAt = p.readDefaults(&f, version > 0)
	if f.short {
		return 0, r.malformed(tenc.start, "ends early, or its constant IV is neither of 8 nor of 16 bytes")
	}
	return kidAt, nil
}

// readPIFFTenc reads PIFF's track encryption box: an algorithm where tenc has
// its pattern and isProtected (PIFF 1.1 §5.3.3).
func (r *reader) readPIFFTenc(x box, p *protection) (kidAt int, algorithm uint32, err error) {
	r.push(typeUuid, 0)
	defer r.pop()
	f := r.fields(x)
	f.skip(16)
	f.full()
	v := f.u32()
	algorithm = v >> 8
	kidAt = f.skip(16)
	if f.short {
		return 0, 0, r.malformed(x.start, "track encryption box ends early")
	}
	p.ivSize, p.protected = int(v&0xff), algorithm != 0
	p.kid = key.KID(r.bytes(kidAt, kidAt+16))
	return kidAt, algorithm, nil
}
