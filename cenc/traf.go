package cenc

// Flags of tfhd and trun (ISO/IEC 14496-12 §8.8.7, §8.8.8).
const (
	tfhdBase       = 0x1
	tfhdDesc       = 0x2
	tfhdDuration   = 0x8
	tfhdSize       = 0x10
	tfhdBaseIsMoof = 0x20000

	trunOffset     = 0x1
	trunFirstFlags = 0x4
	trunDuration   = 0x100
	trunSize       = 0x200
	trunFlags      = 0x400
	trunCTO        = 0x800
)

// piff is the usertype of PIFF's sample encryption box, the senc of its day.
const piff = "\xa2\x39\x4f\x52\x5a\x9b\x4f\x14\xa2\x44\x6c\x42\x7c\x64\x8d\xf4"

// traf is the track fragment being scanned.
type traf struct {
	box
	track int
	size  uint32 // default sample size
	base  int    // of data offsets
	first int    // index in segment.samples of its first sample
	truns []trun
	senc, piff,
	saiz, saio box
	saioWide bool
}

// trun is one run: its samples are segment.samples[first:first+count].
type trun struct{ first, count int }

// scanTraf reads one track fragment. prev is where data lies if tfhd does not
// say; the value returned is where it lies for the next one (§8.8.7.1).
func (s *segment) scanTraf(moof, x box, prev int) (int, error) {
	t := &s.traf
	*t = traf{box: x, track: -1, first: len(s.samples), truns: t.truns[:0]}
	if err := s.scanTfhd(moof, prev); err != nil {
		return 0, err
	}
	end := t.base
	runs := 0
	for at := x.body; at < x.end; {
		c, err := s.box(at, x.end)
		if err != nil {
			return 0, err
		}
		at = c.end
		s.push(c.typ, 0)
		switch c.typ {
		case typeTrun:
			s.path[len(s.path)-1].index = runs
			runs++
			end, err = s.scanTrun(c, end)
		case typeSenc:
			err = s.once(&t.senc, c)
		case typeSaiz, typeSaio:
			err = s.keepAux(c)
		case typeUuid:
			if c.end-c.body >= 16 && string(s.b[c.body:c.body+16]) == piff {
				err = s.once(&t.piff, box{c.typ, c.start, c.body + 16, c.end})
			}
		case typeSgpd, typeSbgp, typeCsgp:
			if f := s.fields(c); isSeig(c.typ, &f) {
				err = s.unsupported(c.start, "seig sample group: keys that change within the track")
			}
		}
		if err != nil {
			return 0, err
		}
		s.pop()
	}
	return end, s.scanAux()
}

func (s *segment) once(dst *box, x box) error {
	if dst.end != 0 {
		return s.malformed(x.start, "second %v in one traf", x.typ)
	}
	*dst = x
	return nil
}

// scanTfhd finds tfhd, wherever it stands in traf, and reads it.
func (s *segment) scanTfhd(moof box, prev int) error {
	for at := s.traf.body; at < s.traf.end; {
		x, err := s.box(at, s.traf.end)
		if err != nil {
			return err
		}
		if x.typ == typeTfhd {
			s.push(typeTfhd, 0)
			defer s.pop()
			return s.readTfhd(x, moof, prev)
		}
		at = x.end
	}
	return s.malformed(s.traf.start, "no tfhd")
}

func (s *segment) readTfhd(x, moof box, prev int) error {
	t := &s.traf
	f := s.fields(x)
	_, flags := f.full()
	id := f.u32()
	if t.track = s.in.track(id); t.track < 0 {
		return s.malformed(x.start, "track %d is not in the init section", id)
	}
	tr := &s.in.tracks[t.track]
	base, desc := uint64(prev), tr.defaultDesc
	t.size = tr.defaultSize
	if flags&tfhdBaseIsMoof != 0 {
		base = uint64(moof.start)
	}
	if flags&tfhdBase != 0 {
		base = f.u64()
	}
	if flags&tfhdDesc != 0 {
		desc = f.u32()
	}
	if flags&tfhdDuration != 0 {
		f.u32()
	}
	if flags&tfhdSize != 0 {
		t.size = f.u32()
	}
	switch {
	case f.short:
		return s.malformed(x.start, "tfhd ends early")
	case base > uint64(len(s.b)):
		return s.malformed(x.start, "base_data_offset %d is past the end of the object", base)
	case uint64(desc) > uint64(tr.entries) || desc == 0:
		return s.malformed(x.start, "sample entry %d of %d", desc, tr.entries)
	}
	t.base = int(base)
	return nil
}

// scanTrun appends the samples of one run; next is where its data lies if it
// does not say. It returns where the data ends.
func (s *segment) scanTrun(x box, next int) (int, error) {
	t := &s.traf
	f := s.fields(x)
	_, flags := f.full()
	count := f.u32()
	if flags&trunOffset != 0 {
		next = t.base + int(int32(f.u32()))
	}
	if flags&trunFirstFlags != 0 {
		f.u32()
	}
	before, entry := 0, 0
	if flags&trunDuration != 0 {
		before, entry = 4, 4
	}
	for _, bit := range [...]uint32{trunSize, trunFlags, trunCTO} {
		if flags&bit != 0 {
			entry += 4
		}
	}
	switch {
	case f.short || uint64(count)*uint64(entry) > uint64(f.left()):
		return 0, s.malformed(x.start, "%d samples of %d bytes do not fit into the box", count, entry)
	case flags&trunSize == 0 && t.size == 0 && count > 0:
		return 0, s.malformed(x.start, "samples without a size")
	case int(count) > maxSamples-s.total:
		return 0, s.fail(ErrLimit, x.start, "more than %d samples in one object", maxSamples)
	}
	t.truns = append(t.truns, trun{len(s.samples), int(count)})
	return s.addSamples(x, next, int(count), f.at+before, entry, flags&trunSize != 0)
}

// addSamples appends the samples of the run x, whose data begins at data. The
// sizes stand every stride bytes from table, unless the default holds.
func (s *segment) addSamples(x box, data, count, table, stride int, sized bool) (int, error) {
	t := &s.traf
	f := fields{b: s.b, end: x.end}
	from, size := data, int(t.size)
	for i := range count {
		if sized {
			f.at = table + i*stride
			size = int(f.u32())
		}
		if data < 0 || size > len(s.b)-data {
			return 0, s.malformed(x.start, "sample %d, %d bytes at %d, lies outside the object", i, size, data)
		}
		s.samples = append(s.samples, sample{data: data, size: size, track: t.track, index: s.total})
		s.total++
		data += size
	}
	if data > from {
		if !s.inMdat(span{from, data}) {
			return 0, s.malformed(x.start, "samples at %d to %d lie outside mdat", from, data)
		}
		s.spans = append(s.spans, span{from, data})
	}
	return data, nil
}
