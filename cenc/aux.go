package cenc

import (
	"bytes"
	"encoding/binary"
)

// keepAux takes a saiz or saio box if it is about encryption: aux_info_type is
// the scheme, or is not said, which means the same (ISO/IEC 23001-7 §7.1).
func (r *reader) keepAux(saiz, saio *box, x box) error {
	f := r.fields(x)
	_, flags := f.full()
	if flags&1 != 0 {
		typ, parameter := fourcc(f.u32()), f.u32()
		if schemeOf(typ, 1) == schemeNone || parameter != 0 {
			return nil
		}
	}
	if f.short {
		return r.malformed(x.start, "%v ends early", x.typ)
	}
	if x.typ == typeSaiz {
		return r.once(saiz, x)
	}
	return r.once(saio, x)
}

// auxFields passes the head of a saiz or saio box.
func (r *reader) auxFields(x box) (f fields, version uint8) {
	f = r.fields(x)
	version, flags := f.full()
	if flags&1 != 0 {
		f.skip(8)
	}
	return f, version
}

// scanAux gives the samples of the traf their keys, IVs and subsamples. saiz and
// saio say where the information is and win; senc, or PIFF's box, is then the
// place they point at or a copy that must say the same (ISO/IEC 23001-7 §7.1,
// §7.2). Samples that are not protected leave the list.
func (s *segment) scanAux() error {
	t := &s.traf
	tr := &s.in.tracks[t.track]
	list := s.samples[t.first:]
	if len(list) == 0 || len(t.mixed) == 0 && tr.entries[t.entry] < 0 {
		s.samples = s.samples[:t.first]
		return nil
	}
	if err := s.assign(list); err != nil {
		return err
	}
	if t.saio.end != 0 && t.saiz.end == 0 {
		return s.malformed(t.start, "saio without saiz")
	}
	known := false
	var err error
	if t.saiz.end != 0 {
		if known, err = s.scanSaiz(list); err != nil {
			return err
		}
	}
	for i, x := range [...]box{t.senc, t.piff} {
		if x.end == 0 {
			continue
		}
		s.push(x.typ, 0)
		found, err := s.scanSenc(x, list, known, i)
		if err != nil {
			return err
		}
		s.pop()
		known = known || found
	}
	s.dropClear(t.first)
	return nil
}

// dropClear removes the samples that are not protected from the list: those of
// a group that is not, and those without an IV where each needs one, which a
// clear lead has. Under a constant IV no information means the whole sample.
func (s *segment) dropClear(first int) {
	list := s.samples[first:]
	n := 0
	for i := range list {
		p := &s.prots[list[i].prot]
		if p.protected && p.ivSize > 0 && !list[i].known && list[i].size > 0 {
			s.bare = append(s.bare, list[i])
			continue
		}
		if !p.protected || list[i].size == 0 { // nothing to decrypt, wherever it lies
			continue
		}
		if n != i {
			list[n] = list[i]
		}
		n++
	}
	s.samples = s.samples[:first+n]
}

// scanSaiz takes the sizes of saiz at the offsets of saio: one offset for all
// runs, or one for each (ISO/IEC 14496-12 §8.7.8, §8.7.9).
func (s *segment) scanSaiz(list []sample) (found bool, err error) {
	t := &s.traf
	s.push(typeSaiz, 0)
	sizes, _ := s.auxFields(t.saiz)
	fixed, count := int(sizes.u8()), sizes.u32()
	if sizes.short || uint64(count) > uint64(len(list)) || fixed == 0 && int(count) > sizes.left() {
		return false, s.malformed(t.saiz.start, "%d sample sizes for %d samples", count, len(list))
	}
	if t.saio.end == 0 {
		if fixed != 0 || !zeros(sizes.b[sizes.at-sizes.base:][:count]) {
			return false, s.malformed(t.saiz.start, "saiz without saio")
		}
		return false, nil
	}
	s.pop()
	s.push(typeSaio, 0)
	offsets, version := s.auxFields(t.saio)
	each := offsets.u32()
	if each != 1 && each != uint32(len(t.truns)) {
		return false, s.malformed(t.saio.start, "%d offsets for %d runs", each, len(t.truns))
	}
	at, i := 0, 0
	for r, run := range t.truns {
		if r == 0 || each > 1 {
			if at, err = s.saioOffset(&offsets, version); err != nil {
				return false, err
			}
		}
		n := min(run.count, int(count)-i)
		length := auxLength(sizes, fixed, n)
		if err := s.auxRun(span{at, at + length}); err != nil {
			return false, err
		}
		for range n {
			size := fixed
			if fixed == 0 {
				size = int(sizes.u8())
			}
			if size != 0 {
				if err := s.auxSample(&list[i], at, size); err != nil {
					return false, err
				}
				found = true
			}
			at += size
			i++
		}
	}
	s.pop()
	return found, nil
}

func zeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// auxLength sums the next n sizes.
func auxLength(sizes fields, fixed, n int) (sum int) {
	if fixed != 0 {
		return fixed * n
	}
	for _, size := range sizes.b[sizes.at-sizes.base:][:n] {
		sum += int(size)
	}
	return sum
}

// saioOffset reads the next offset. In a traf it counts from where tfhd's data
// does, in stbl from the start of the file.
func (s *segment) saioOffset(f *fields, version uint8) (int, error) {
	var offset uint64
	if version == 1 {
		offset = f.u64()
	} else {
		offset = uint64(f.u32())
	}
	if f.short {
		return 0, s.malformed(s.traf.saio.start, "saio ends early")
	}
	if offset > 1<<62 {
		return 0, s.malformed(s.traf.saio.start, "offset %d is past the end of any object", offset)
	}
	return s.traf.base + int(offset), nil
}

// auxRun checks where a run of auxiliary information lies: in senc or PIFF's
// box of its traf, or in an mdat. Nothing else may be written to.
func (s *segment) auxRun(x span) error {
	if x.from == x.to {
		return nil
	}
	for _, b := range [...]box{s.traf.senc, s.traf.piff} {
		if x.from >= b.body && x.to <= b.end {
			return nil // its span is added by scanSenc
		}
	}
	if !s.inMdat(x) {
		return s.malformed(s.traf.saio.start, "points at %d, which is neither in senc nor in mdat", x.from)
	}
	s.spans = append(s.spans, x)
	if x.from >= s.base && x.to <= s.end() {
		return nil
	}
	if s.load == nil {
		return s.malformed(s.traf.saio.start, "points at %d, outside the bytes at hand", x.from)
	}
	return s.load(x)
}

// auxSample takes one sample's information: an IV, then, if there is more, a
// 16-bit count and 6 bytes a subsample.
func (s *segment) auxSample(sm *sample, at, size int) error {
	n, ivSize := 0, s.prots[sm.prot].ivSize
	if size != ivSize {
		if size >= ivSize+2 {
			n = int(binary.BigEndian.Uint16(s.at(at, size)[ivSize:]))
		}
		if size != ivSize+2+6*n {
			return s.malformed(at, "sample %d: %d bytes of information are not an IV of %d and %d subsamples", sm.index, size, ivSize, n)
		}
	}
	return s.setAux(sm, at, at+ivSize+2, n)
}

// setAux checks that the subsamples fill the sample (ISO/IEC 23001-7 §9.5).
func (s *segment) setAux(sm *sample, iv, subs, n int) error {
	p := &s.prots[sm.prot]
	if p.ivSize == 0 {
		iv = 0
	}
	sm.iv, sm.subs, sm.nsubs, sm.known = iv, 0, uint16(n), true
	if n == 0 {
		return nil // there is no table, and the object may end here
	}
	sm.subs = subs
	sum := 0
	table := s.at(subs, 6*n)
	for i := range n {
		c, e := subsample(table[6*i:])
		if p.scheme == schemeCBC1 && e%16 != 0 {
			// ISO/IEC 23001-7 §10.2: whole blocks only.
			return s.unsupported(subs, "sample %d: a cbc1 subsample of %d bytes, which are no whole blocks", sm.index, e)
		}
		sum += c + e
	}
	if sum != int(sm.size) {
		return s.malformed(subs, "sample %d: subsamples of %d bytes in a sample of %d", sm.index, sum, sm.size)
	}
	return nil
}

// subsample reads one entry of a subsample table (§7.2).
func subsample(b []byte) (clearBytes, protectedBytes int) {
	return int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint32(b[2:]))
}
