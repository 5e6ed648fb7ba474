package cenc

import (
	"bytes"
	"encoding/binary"
)

// keepAux takes a saiz or saio box if it is about encryption: aux_info_type is
// cenc, or is not said, which means the scheme (ISO/IEC 23001-7 §7.1).
func (s *segment) keepAux(x box) error {
	f := s.fields(x)
	version, flags := f.full()
	if flags&1 != 0 {
		if typ, parameter := fourcc(f.u32()), f.u32(); typ != typeCenc || parameter != 0 {
			return nil
		}
	}
	if f.short {
		return s.malformed(x.start, "%v ends early", x.typ)
	}
	x.body = f.at
	if x.typ == typeSaiz {
		return s.once(&s.traf.saiz, x)
	}
	s.traf.saioWide = version == 1
	return s.once(&s.traf.saio, x)
}

// scanAux gives the samples of the traf their IVs and subsamples. saiz and saio
// say where the information is and win; senc, or PIFF's box, is then the place
// they point at or a copy that must say the same (ISO/IEC 23001-7 §7.1, §7.2).
// Samples without information are clear and leave the list.
func (s *segment) scanAux() error {
	t := &s.traf
	tr := &s.in.tracks[t.track]
	list := s.samples[t.first:]
	if !tr.Encrypted || len(list) == 0 {
		s.samples = s.samples[:t.first]
		return nil
	}
	if (t.saiz.end == 0) != (t.saio.end == 0) {
		return s.malformed(t.start, "saiz or saio without the other")
	}
	primary := false
	var err error
	if t.saiz.end != 0 {
		if primary, err = s.scanSaiz(list, tr.IVSize); err != nil {
			return err
		}
	}
	for i, x := range [...]box{t.senc, t.piff} {
		if x.end == 0 {
			continue
		}
		s.push(x.typ, 0)
		if x.typ == typeUuid && !primary {
			return s.unsupported(x.start, "PIFF sample encryption without senc or saiz and saio")
		}
		found, err := s.scanSenc(x, list, tr.IVSize, primary, i)
		if err != nil {
			return err
		}
		s.pop()
		primary = primary || found
	}
	s.dropClear(t.first)
	return nil
}

// dropClear removes the samples without an IV from the list.
func (s *segment) dropClear(first int) {
	list := s.samples[first:]
	n := 0
	for i := range list {
		if list[i].iv == 0 {
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
func (s *segment) scanSaiz(list []sample, ivSize int) (found bool, err error) {
	t := &s.traf
	s.push(typeSaiz, 0)
	sizes := s.fields(t.saiz)
	fixed, count := int(sizes.u8()), sizes.u32()
	if sizes.short || uint64(count) > uint64(len(list)) || fixed == 0 && int(count) > sizes.left() {
		return false, s.malformed(t.saiz.start, "%d sample sizes for %d samples", count, len(list))
	}
	s.pop()
	s.push(typeSaio, 0)
	offsets := s.fields(t.saio)
	each := offsets.u32()
	if each != 1 && each != uint32(len(t.truns)) {
		return false, s.malformed(t.saio.start, "%d offsets for %d runs", each, len(t.truns))
	}
	at, i := 0, 0
	for r, run := range t.truns {
		if r == 0 || each > 1 {
			if at, err = s.saioOffset(&offsets); err != nil {
				return false, err
			}
		}
		from := at
		for range min(run.count, int(count)-i) {
			size := fixed
			if fixed == 0 {
				size = int(sizes.u8())
			}
			if size != 0 {
				if err := s.auxSample(&list[i], at, size, ivSize); err != nil {
					return false, err
				}
				found = true
			}
			at += size
			i++
		}
		if err := s.auxRun(span{from, at}); err != nil {
			return false, err
		}
	}
	s.pop()
	return found, nil
}

// saioOffset reads the next offset; it counts from where tfhd's data does.
func (s *segment) saioOffset(f *fields) (int, error) {
	var offset uint64
	if s.traf.saioWide {
		offset = f.u64()
	} else {
		offset = uint64(f.u32())
	}
	if f.short {
		return 0, s.malformed(s.traf.saio.start, "saio ends early")
	}
	if offset > uint64(len(s.b)-s.traf.base) {
		return 0, s.malformed(s.traf.saio.start, "offset %d is past the end of the object", offset)
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
	return nil
}

// auxSample takes one sample's information: an IV, then, if there is more, a
// 16-bit count and 6 bytes a subsample.
func (s *segment) auxSample(sm *sample, at, size, ivSize int) error {
	if size > len(s.b)-at {
		return s.malformed(at, "sample %d: auxiliary information lies outside the object", sm.index)
	}
	n := 0
	if size != ivSize {
		if size >= ivSize+2 {
			n = int(binary.BigEndian.Uint16(s.b[at+ivSize:]))
		}
		if size != ivSize+2+6*n {
			return s.malformed(at, "sample %d: %d bytes of information are not an IV of %d and %d subsamples", sm.index, size, ivSize, n)
		}
	}
	return s.setAux(sm, at, at+ivSize+2, n)
}

// setAux checks that the subsamples fill the sample (ISO/IEC 23001-7 §9.5).
func (s *segment) setAux(sm *sample, iv, subs, n int) error {
	if n == 0 {
		subs = 0 // there is no table, and the object may end here
	}
	sum := 0
	for i := range n {
		sum += s.clearBytes(subs+6*i) + s.protectedBytes(subs+6*i)
	}
	if n > 0 && sum != sm.size {
		return s.malformed(subs, "sample %d: subsamples of %d bytes in a sample of %d", sm.index, sum, sm.size)
	}
	sm.iv, sm.subs, sm.nsubs = iv, subs, n
	return nil
}

func (s *segment) clearBytes(at int) int     { return int(binary.BigEndian.Uint16(s.b[at:])) }
func (s *segment) protectedBytes(at int) int { return int(binary.BigEndian.Uint32(s.b[at+2:])) }

// scanSenc reads senc or PIFF's box (ISO/IEC 23001-7 §7.2). If the samples have
// their information already, it is compared, and the place of a copy kept.
func (s *segment) scanSenc(x box, list []sample, ivSize int, known bool, which int) (found bool, err error) {
	f := s.fields(x)
	_, flags := f.full()
	if flags&1 != 0 {
		return false, s.unsupported(x.start, "overrides the track's encryption parameters")
	}
	count := f.u32()
	if f.short {
		return false, s.malformed(x.start, "ends early")
	}
	if count == 0 {
		return false, nil
	}
	if uint64(count) != uint64(len(list)) {
		return false, s.malformed(x.start, "%d samples, but the traf has %d", count, len(list))
	}
	s.spans = append(s.spans, span{f.at, x.end})
	for i := range list {
		iv, n := f.skip(ivSize), 0
		if flags&2 != 0 {
			n = int(f.u16())
		}
		subs := f.skip(6 * n)
		if f.short {
			return false, s.malformed(x.start, "ends at sample %d of %d", i, count)
		}
		if !known {
			err = s.setAux(&list[i], iv, subs, n)
		} else {
			err = s.compareAux(x, &list[i], iv, subs, n, ivSize, which)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// compareAux checks a second statement about sm against the first.
func (s *segment) compareAux(x box, sm *sample, iv, subs, n, ivSize, which int) error {
	if sm.iv == iv && sm.nsubs == n {
		return nil
	}
	if sm.iv >= x.body && sm.iv < x.end {
		return s.malformed(iv, "saio points between the samples of the box")
	}
	if sm.iv == 0 || sm.nsubs != n || !bytes.Equal(s.b[sm.subs:sm.subs+6*n], s.b[subs:subs+6*n]) {
		return s.unsupported(iv, "sample %d: contradicts saiz and saio", sm.index)
	}
	if !bytes.Equal(s.b[sm.iv:sm.iv+ivSize], s.b[iv:iv+ivSize]) {
		s.mismatch++
	}
	sm.copies[which] = iv
	return nil
}
