package cenc

import (
	"bytes"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// Flags of senc. The first is PIFF's: the box has parameters that override the
// track's (PIFF 1.1 §5.3.2); ISO/IEC 23001-7 keeps it reserved.
const (
	sencOverride   = 1
	sencSubsamples = 2
)

// groupOverride marks a protection that the sample encryption box itself names.
const groupOverride = -1

// override reads the parameters in the head of a sample encryption box.
func (s *segment) override(x box) (algorithm, ivSize uint32, kidAt int, err error) {
	f := s.fields(x)
	f.full()
	v := f.u32()
	kidAt = f.skip(16)
	if f.short {
		return 0, 0, 0, s.malformed(x.start, "ends early")
	}
	return v >> 8, v & 0xff, kidAt, nil
}

func (r *reader) overrides(x box) bool {
	if x.end == 0 {
		return false
	}
	f := r.fields(x)
	_, flags := f.full()
	return flags&sencOverride != 0
}

// assign gives each sample its protection: that of its group, or the default
// of its sample entry, or PIFF's override.
func (s *segment) assign(list []sample) error {
	t := &s.traf
	tr := &s.in.tracks[t.track]
	for _, x := range [...]box{t.senc, t.piff} {
		if s.overrides(x) {
			return s.assignOverride(list, x, tr.entries[t.entry])
		}
	}
	if len(t.mixed) == 0 {
		t.mixed = append(t.mixed, entryRun{t.entry, len(list)})
	}
	s.groups = s.groups[:0]
	if t.groups.end != 0 {
		s.push(t.groups.typ, 0)
		defer s.pop()
		var err error
		if s.groups, err = s.appendGroups(s.groups, t.groups, len(list)); err != nil {
			return err
		}
	}
	s.groups = append(s.groups, groupRun{len(list), t.initialGroup(tr)})
	at, g := 0, 0
	for _, run := range t.mixed {
		for left := run.count; left > 0; {
			for s.groups[g].count == 0 {
				g++
			}
			p, err := s.group(tr.entries[run.entry], s.groups[g].group)
			if err != nil {
				return err
			}
			n := min(left, s.groups[g].count)
			for range n {
				list[at].prot = int32(p)
				at++
			}
			s.groups[g].count -= n
			left -= n
		}
	}
	return nil
}

// initialGroup is the group of samples that nothing maps to one (ISO/IEC
// 14496-12 §8.9.3.3).
func (t *traf) initialGroup(tr *track) uint32 {
	if t.seigs.end != 0 && t.seigs.initial != 0 {
		return localGroups + t.seigs.initial
	}
	return tr.seigs.initial
}

// group is the index in s.prots of a group of the sample entry at hand.
func (s *segment) group(entry int, group uint32) (int, error) {
	if entry < 0 {
		return s.addProt(s.base, protection{track: s.traf.track}) // a clear sample entry
	}
	if group == 0 {
		return entry, nil
	}
	for _, known := range s.traf.known {
		if known.group == group && known.entry == entry {
			return known.prot, nil
		}
	}
	d, r, index := s.traf.seigs, &s.reader, group-localGroups
	if group <= localGroups {
		d, index = s.in.tracks[s.traf.track].seigs, group
		r = &reader{object: s.object, b: s.in.b, base: s.in.base, path: s.path}
	}
	p, _, err := r.seig(d, index, s.prots[entry])
	if err != nil {
		return 0, err
	}
	p.group = int(group)
	if why := p.check(); why != "" {
		return 0, r.unsupported(d.start, "sample group %d: %s", index, why)
	}
	prot, err := s.addProt(d.start, p)
	s.traf.known = append(s.traf.known, knownGroup{group, entry, prot})
	return prot, err
}

// maxProtections bounds the different protections in one window.
const maxProtections = 1 << 12

func (s *segment) addProt(at int, p protection) (int, error) {
	p.pool = poolOf(s.prots, &p)
	if i := slices.Index(s.prots, p); i >= 0 {
		return i, nil
	}
	if len(s.prots) >= maxProtections+len(s.in.prots) {
		return 0, s.fail(ErrLimit, at, "more than %d different keys or parameters in one segment", maxProtections)
	}
	s.prots = append(s.prots, p)
	return len(s.prots) - 1, nil
}

func (s *segment) assignOverride(list []sample, x box, entry int) error {
	algorithm, ivSize, kidAt, err := s.override(x)
	if err != nil {
		return err
	}
	if entry < 0 {
		return s.unsupported(x.start, "overrides the parameters of a clear sample entry")
	}
	p := s.prots[entry]
	p.group = groupOverride
	p.scheme, p.protected, p.ivSize = piffScheme(algorithm), algorithm != 0, int(ivSize)
	p.kid = key.KID(s.bytes(kidAt, kidAt+16))
	if why := p.check(); why != "" {
		return s.unsupported(x.start, "overrides the track's parameters: %s", why)
	}
	s.kidAt = append(s.kidAt, kidAt)
	n, err := s.addProt(x.start, p)
	for i := range list {
		list[i].prot = int32(n)
	}
	return err
}

// scanSenc reads senc or PIFF's box (ISO/IEC 23001-7 §7.2). If the samples have
// their information already, it is compared, and the place of a copy kept.
func (s *segment) scanSenc(x box, list []sample, known bool, which int) (found bool, err error) {
	f := s.fields(x)
	_, flags := f.full()
	if flags&sencOverride != 0 {
		f.skip(20)
	}
	count := f.u32()
	if f.short {
		return false, s.malformed(x.start, "ends early")
	}
	if count == 0 {
		return false, nil
	}
	if uint64(count) != uint64(len(list)) {
		return false, s.malformed(x.start, "%d samples, but there are %d", count, len(list))
	}
	s.spans = append(s.spans, span{f.at, x.end})
	for i := range list {
		sm := &list[i]
		iv, n := f.skip(s.prots[sm.prot].ivSize), 0
		if flags&sencSubsamples != 0 {
			n = int(f.u16())
		}
		subs := f.skip(6 * n)
		switch {
		case f.short:
			return false, s.malformed(x.start, "ends at sample %d of %d", i, count)
		case !s.prots[sm.prot].protected:
			continue // its group is clear; the entry says nothing
		case !known:
			err = s.setAux(sm, iv, subs, n)
		default:
			err = s.compareAux(x, sm, iv, subs, n, which)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// compareAux checks a second statement about sm against the first.
func (s *segment) compareAux(x box, sm *sample, iv, subs, n, which int) error {
	ivSize := s.prots[sm.prot].ivSize
	switch {
	case sm.known && int(sm.nsubs) == n && (sm.iv == iv || ivSize == 0):
		if n == 0 || sm.subs == subs || bytes.Equal(s.at(sm.subs, 6*n)[:6*n], s.at(subs, 6*n)[:6*n]) {
			return nil
		}
		return s.unsupported(subs, "sample %d: contradicts saiz and saio", sm.index)
	case !sm.known && ivSize == 0 && n == 0:
		return nil
	case sm.iv >= x.body && sm.iv < x.end:
		return s.malformed(iv, "saio points between the samples of the box")
	case !sm.known || int(sm.nsubs) != n || n > 0 && !bytes.Equal(s.at(sm.subs, 6*n)[:6*n], s.at(subs, 6*n)[:6*n]):
		return s.unsupported(iv, "sample %d: contradicts saiz and saio", sm.index)
	}
	if !bytes.Equal(s.at(sm.iv, ivSize)[:ivSize], s.at(iv, ivSize)[:ivSize]) {
		s.mismatch++
	}
	sm.copies[which] = iv
	return nil
}
