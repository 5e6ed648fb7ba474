package cenc

import "encoding/binary"

// descriptions is a sample group description box of type seig (ISO/IEC 14496-12
// §8.9.3, ISO/IEC 23001-7 §6): the keys that groups of samples use.
type descriptions struct {
	box
	count   uint32
	initial uint32 // default_group_description_index; 0: none
	first   int    // where its first entry stands
	fixed   uint32 // size of each entry; 0: each says its own
	version uint8
}

// Limits of the descriptions in one box: as many as a traf can number, and fewer
// where each must be read to find the next.
const (
	maxDescriptions      = localGroups
	maxLooseDescriptions = 1 << 12
)

// isSeig tells whether a sample group box is about encryption (ISO/IEC 23001-7
// §6). csgp has flags where the others have none, and the same field after.
func (r *reader) isSeig(x box) bool {
	f := r.fields(x)
	f.full()
	return fourcc(f.u32()) == typeSeig && !f.short
}

// readSgpd reads the head of x.
func (r *reader) readSgpd(x box) (descriptions, error) {
	d := descriptions{box: x}
	f := r.fields(x)
	d.version, _ = f.full()
	f.u32() // grouping_type
	if d.version >= 1 {
		d.fixed = f.u32()
	}
	if d.version >= 2 {
		d.initial = f.u32()
	}
	d.count = f.u32()
	d.first = f.at
	most := uint32(maxDescriptions)
	if d.version == 0 || d.fixed == 0 {
		most = maxLooseDescriptions
	}
	switch {
	case f.short || uint64(d.count)*20 > uint64(f.left()):
		return d, r.malformed(x.start, "%d descriptions do not fit into the box", d.count)
	case d.count > most:
		return d, r.fail(ErrLimit, x.start, "%d descriptions, more than %d", d.count, most)
	}
	return d, nil
}

// eachSeig calls fn with every entry, numbered from 1.
func (r *reader) eachSeig(d descriptions, fn func(index int, f *fields) error) error {
	f := r.fields(d.box)
	f.at = d.first
	for i := range int(d.count) {
		size := d.fixed
		if d.version >= 1 && size == 0 {
			size = f.u32()
		}
		entry := f
		if d.version >= 1 { // version 0 has entries without a size of their own
			if f.skip(int(size)); f.short {
				return r.malformed(d.start, "description %d ends outside the box", i+1)
			}
			entry.end = f.at
		}
		if err := fn(i+1, &entry); err != nil {
			return err
		}
		if d.version == 0 {
			f = entry
		}
	}
	return nil
}

// seig reads entry number index of d on top of a sample entry's protection; it
// returns where the entry's KID stands.
func (r *reader) seig(d descriptions, index uint32, base protection) (p protection, kidAt int, err error) {
	if index == 0 || index > d.count {
		return p, 0, r.malformed(d.start, "sample group %d of %d", index, d.count)
	}
	if d.version >= 1 && d.fixed > 0 {
		at := d.first + int(index-1)*int(d.fixed)
		f := fields{b: r.b, base: r.base, at: at, end: min(at+int(d.fixed), d.end)}
		return r.seigEntry(d, index, &f, base)
	}
	err = r.eachSeig(d, func(i int, f *fields) error {
		// Those before are read too: an entry of version 0 ends where it is read to.
		q, at, err := r.seigEntry(d, uint32(i), f, base)
		if uint32(i) == index {
			p, kidAt = q, at
		}
		return err
	})
	return p, kidAt, err
}

func (r *reader) seigEntry(d descriptions, index uint32, f *fields, base protection) (protection, int, error) {
	base.group = int(index)
	at := base.readDefaults(f, true)
	if f.short {
		return base, 0, r.malformed(d.start, "description %d ends early, or its constant IV is neither of 8 nor of 16 bytes", index)
	}
	return base, at, nil
}

// listSeigs checks the groups that moov describes for a track, and takes their KIDs.
func (in *Init) listSeigs(r *reader, track int) (err error) {
	t := &in.tracks[track]
	if t.seigs.end == 0 {
		return nil
	}
	r.push(typeSgpd, 0)
	defer r.pop()
	if t.seigs, err = r.readSgpd(t.seigs.box); err != nil {
		return err
	}
	base := protection{track: track, scheme: schemeCBCS}
	for _, e := range t.entries {
		if e >= 0 {
			base = in.prots[e]
		}
	}
	return r.eachSeig(t.seigs, func(i int, f *fields) error {
		p, at, err := r.seigEntry(t.seigs, uint32(i), f, base)
		if err != nil {
			return err
		}
		in.kidAt = append(in.kidAt, at)
		if !p.protected {
			return nil
		}
		t.KIDs = appendKID(t.KIDs, p.kid)
		if why := p.check(); why != "" {
			in.refuse(r.unsupported(t.seigs.start, "sample group %d: %s", i, why))
		}
		return nil
	})
}

// groupRun is a run of samples of one group.
type groupRun struct {
	count int
	group uint32 // group_description_index; above localGroups: described in the traf
}

// localGroups is added to the index of a group that the traf itself describes
// (ISO/IEC 14496-12 §8.9.4).
const localGroups = 0x10000

// appendGroups reads sbgp (§8.9.2) or csgp (§8.9.5), for at most samples samples.
func (r *reader) appendGroups(dst []groupRun, x box, samples int) ([]groupRun, error) {
	if x.typ == typeCsgp {
		return r.appendCompactGroups(dst, x, samples)
	}
	f := r.fields(x)
	version, _ := f.full()
	f.u32() // grouping_type
	if version == 1 {
		f.u32() // grouping_type_parameter
	}
	n := f.u32()
	if f.short || uint64(n)*8 > uint64(f.left()) {
		return nil, r.malformed(x.start, "%d runs do not fit into the box", n)
	}
	for range n {
		count, group := f.u32(), f.u32()
		if uint64(count) > uint64(samples) {
			return nil, r.malformed(x.start, "groups of more samples than there are")
		}
		samples -= int(count)
		dst = append(dst, groupRun{int(count), group})
	}
	return dst, nil
}

// appendCompactGroups reads csgp: patterns of groups, repeated over runs of samples.
func (r *reader) appendCompactGroups(dst []groupRun, x box, samples int) ([]groupRun, error) {
	f := r.fields(x)
	_, flags := f.full()
	f.u32() // grouping_type
	if flags&0x40 != 0 {
		f.u32() // grouping_type_parameter
	}
	n := f.u32()
	codes := [3]uint{4 << (flags >> 4 & 3), 4 << (flags >> 2 & 3), 4 << (flags & 3)}
	if f.short || uint64(n) > uint64(f.left())*2 {
		return nil, r.malformed(x.start, "%d patterns do not fit into the box", n)
	}
	heads, tail := bits{f: f}, bits{f: f}
	tail.n = uint64(n) * uint64(codes[0]+codes[1])
	tail.n = (tail.n + 7) / 8 * 8
	for range n {
		length, count := int(heads.take(codes[0])), int(heads.take(codes[1]))
		if length == 0 || count > samples || uint64(length)*uint64(codes[2]) > uint64(f.left())*8 {
			return nil, r.malformed(x.start, "a pattern of %d groups over %d samples", length, count)
		}
		samples -= count
		from := len(dst)
		for range length {
			dst = append(dst, groupRun{1, compactIndex(tail.take(codes[2]), codes[2], flags)})
		}
		if heads.short || tail.short {
			return nil, r.malformed(x.start, "csgp ends early")
		}
		for i := length; i < count; i++ {
			dst = append(dst, dst[from+i%length])
		}
		dst = dst[:from+max(count, 0)]
	}
	return dst, nil
}

// compactIndex: the highest bit may mean a group that the traf describes.
func compactIndex(v uint32, size uint, flags uint32) uint32 {
	if top := uint32(1) << (size - 1); flags&0x80 != 0 && v&top != 0 {
		return v&^top + localGroups
	}
	return v
}

// bits reads fields of 4, 8, 16 and 32 bits from position n after f.at.
type bits struct {
	f     fields
	n     uint64
	short bool
}

func (b *bits) take(size uint) uint32 {
	at := b.n / 8
	if at+uint64(size+7)/8 > uint64(b.f.left()) {
		b.short = true
		return 0
	}
	p := b.f.b[b.f.at-b.f.base+int(at):]
	b.n += uint64(size)
	switch size {
	case 4:
		if b.n%8 == 4 {
			return uint32(p[0] >> 4)
		}
		return uint32(p[0] & 15)
	case 8:
		return uint32(p[0])
	case 16:
		return uint32(binary.BigEndian.Uint16(p))
	}
	return binary.BigEndian.Uint32(p)
}
