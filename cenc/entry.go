package cenc

import "github.com/seed-6133abe0/rekey/key"

// Bytes of a sample entry before its boxes (ISO/IEC 14496-12 §12.1.3, §12.2.3):
// SampleEntry has 8, visual entries 70 more, audio entries 20 more. QuickTime's
// sound description versions 1 and 2 go on for 16 and 36.
const (
	visualFields = 8 + 70
	audioFields  = 8 + 20
)

// readEntry reads one sample entry into t. Of several the first one counts, but
// the KIDs of all are found.
func (in *Init) readEntry(r *reader, entry box, t *track) error {
	first := t.entries == 1
	protected := entry.typ == typeEncv || entry.typ == typeEnca || isOtherProtected(entry.typ)
	if first && !protected {
		t.Codec = entry.typ.String()
	}
	if protected {
		t.Encrypted = true
	}
	if isOtherProtected(entry.typ) {
		in.refuse(r.unsupported(entry.start, "protected sample entry of this type"))
		t.Codec = entry.typ.String()
		return nil
	}
	if !protected {
		return nil
	}
	f := r.fields(entry)
	f.skip(8)
	version := f.u16()
	f.at = entry.body
	f.skip(visualFields)
	if entry.typ == typeEnca {
		f.at = entry.body
		f.skip(audioFields)
		if t.Handler != "vide" && (version == 1 || version == 2) {
			f.skip(16 + 20*int(version-1))
		}
	}
	if f.short {
		return r.malformed(entry.start, "sample entry ends early")
	}
	return in.readEntryBoxes(r, box{entry.typ, entry.start, f.at, entry.end}, t)
}

// isOtherProtected: enct, encs, encm, encf, enc3, resv-style entries this line
// of code does not open.
func isOtherProtected(typ fourcc) bool {
	switch typ.String() {
	case "enct", "encs", "encm", "encf", "encu", "enc3", "encp":
		return true
	}
	return false
}

func (in *Init) readEntryBoxes(r *reader, boxes box, t *track) error {
	sinfs := 0
	err := r.each(boxes, func(x box) error {
		switch x.typ {
		case typeSinf:
			sinfs++
			return in.readSinf(r, x, t)
		case typeAvcC:
			// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1)
			f := r.fields(x)
			f.skip(4)
			in.setNAL(t, ruleH264, f.u8()&3+1, f.short)
		case typeHvcC:
			// HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1)
			f := r.fields(x)
			f.skip(21)
			in.setNAL(t, ruleHEVC, f.u8()&3+1, f.short)
		case typeEsds:
			f := r.fields(x)
			if isAAC(&f) {
				t.rule = ruleAAC
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if sinfs == 0 {
		return r.malformed(boxes.start, "protected sample entry without sinf")
	}
	if sinfs > 1 {
		in.refuse(r.unsupported(boxes.start, "%d sinf boxes in one sample entry", sinfs))
	}
	return nil
}

// setNAL takes a NAL rule; a configuration record that is cut short gives none,
// which only costs evidence.
func (in *Init) setNAL(t *track, rule rule, size uint8, short bool) {
	if !short && t.rule == ruleNone {
		t.rule, t.nalSize = rule, int(size)
	}
}

// readSinf reads the protection scheme information (ISO/IEC 14496-12 §8.12).
func (in *Init) readSinf(r *reader, sinf box, t *track) error {
	r.push(typeSinf, 0)
	defer r.pop()
	var scheme, codec fourcc
	tenc := false
	err := r.each(sinf, func(x box) error {
		f := r.fields(x)
		switch x.typ {
		case typeFrma:
			codec = fourcc(f.u32())
		case typeSchm:
			f.full()
			if scheme = fourcc(f.u32()); scheme != typeCenc && !f.short {
				in.refuse(r.unsupported(x.start, "scheme %v", scheme))
			}
		case typeSchi:
			return r.inside(x, func(x box) error {
				if x.typ != typeTenc {
					return nil
				}
				tenc = true
				return in.readTenc(r, x, t)
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
	if codec == 0 {
		return r.malformed(sinf.start, "no frma")
	}
	t.Codec = codec.String()
	if scheme == 0 {
		in.refuse(r.unsupported(sinf.start, "no schm: the scheme is not said"))
		return nil
	}
	t.Scheme = scheme.String()
	if scheme == typeCenc && !tenc {
		return r.malformed(sinf.start, "scheme cenc without tenc")
	}
	return nil
}

// readTenc reads the track's encryption defaults (ISO/IEC 23001-7 §8.2).
func (in *Init) readTenc(r *reader, tenc box, t *track) error {
	f := r.fields(tenc)
	version, _ := f.full()
	f.u8()
	pattern := f.u8()
	protected, size := f.u8(), f.u8()
	kid := f.skip(16)
	if f.short {
		return r.malformed(tenc.start, "tenc ends early")
	}
	if len(t.kidAt) == 0 {
		t.KID, t.IVSize = key.KID(r.b[kid:kid+16]), int(size)
	}
	t.kidAt = append(t.kidAt, kid)
	r.push(typeTenc, 0)
	defer r.pop()
	switch {
	case size != 0 && size != 8 && size != 16:
		return r.malformed(tenc.start, "per-sample IV size %d", size)
	case version > 1:
		in.refuse(r.unsupported(tenc.start, "version %d", version))
	case version == 1 && pattern != 0:
		in.refuse(r.unsupported(tenc.start, "pattern encryption %d:%d", pattern>>4, pattern&15))
	case protected != 1:
		in.refuse(r.unsupported(tenc.start, "default_isProtected is %d", protected))
	case size == 0:
		in.refuse(r.unsupported(tenc.start, "constant IV"))
	case t.KID.IsZero():
		// The keys are named elsewhere; nobody would find them by this KID.
		in.refuse(r.unsupported(tenc.start, "default_KID is zero: keys come from sample groups"))
	}
	return nil
}

// isAAC tells whether an esds box declares AAC whose frames are raw_data_blocks
// (ISO/IEC 14496-3): object types Main, LC, SSR, LTP, or SBR or PS on top, or
// MPEG-2 AAC. Anything it cannot read is not.
func isAAC(f *fields) bool {
	f.full()
	if !descriptor(f, 3) { // ES_Descriptor (ISO/IEC 14496-1 §7.2.6.5)
		return false
	}
	f.u16()
	flags := f.u8()
	if flags&0x80 != 0 {
		f.u16()
	}
	if flags&0x40 != 0 {
		f.skip(int(f.u8()))
	}
	if flags&0x20 != 0 {
		f.u16()
	}
	if !descriptor(f, 4) { // DecoderConfigDescriptor
		return false
	}
	switch f.u8() { // objectTypeIndication
	case 0x66, 0x67, 0x68: // MPEG-2 AAC
		return !f.short
	case 0x40:
	default:
		return false
	}
	f.skip(12)
	if !descriptor(f, 5) { // DecoderSpecificInfo: AudioSpecificConfig
		return false
	}
	switch f.u8() >> 3 {
	case 1, 2, 3, 4, 5, 29:
		return !f.short
	}
	return false
}

// descriptor reads a descriptor's tag and its expandable size.
func descriptor(f *fields, tag uint8) bool {
	if f.u8() != tag {
		return false
	}
	for range 4 {
		if f.u8()&0x80 == 0 {
			break
		}
	}
	return !f.short
}
