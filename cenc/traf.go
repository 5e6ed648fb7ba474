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

// traf is the track fragment being scanned.
type traf struct {
	box
	track int
	entry int        // index of the sample entry in the track
	mixed []entryRun // of a progressive file: the entry of each sample
	size  uint32     // default sample size
	base  int        // of data offsets
	first int        // index in segment.samples of its first sample
	known []knownGroup
	truns []trun

	senc, piff, saiz, saio, groups box
	seigs                          descriptions
}

// knownGroup is a sample group that was looked up: its index in segment.prots.
type knownGroup struct {
	group uint32
	entry int
	prot  int
}

// entryRun is a run of samples of one sample entry.
type entryRun struct{ entry, count int }

func (t *traf) addEntry(entry, count int) {
	if n := len(t.mixed); n > 0 && t.mixed[n-1].entry == entry {
		t.mixed[n-1].count += count
		return
	}
	t.mixed = append(t.mixed, entryRun{entry, count})
}

// trun is one run: its samples are segment.samples[first:first+count].
type trun struct{ first, count int }

// scanTraf reads one track fragment. prev is where data lies if tfhd does not
// say; the value returned is where it lies for the next one (§8.8.7.1).
func (s *segment) scanTraf(moof, x box, prev int) (int, error) {
	t := &s.traf
	*t = traf{box: x, track: -1, first: len(s.samples), known: t.known[:0], truns: t.truns[:0], mixed: t.mixed[:0]}
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
		default:
			err = s.keepTrafBox(c)
		}
		if err != nil {
			return 0, err
		}
		s.pop()
	}
	if s.probe {
		return end, s.probeAux()
	}
	return end, s.scanAux()
}

// keepTrafBox keeps the place of a box that says how samples are encrypted.
func (s *segment) keepTrafBox(c box) (err error) {
	t := &s.traf
	switch c.typ {
	case typeSenc:
		err = s.once(&t.senc, c)
	case typeSaiz, typeSaio:
		err = s.keepAux(&t.saiz, &t.saio, c)
	case typeUuid:
		if s.isUUID(c, piffSenc) {
			err = s.once(&t.piff, box{c.typ, c.start, c.body + 16, c.end})
		}
	case typeSgpd:
		if s.isSeig(c) {
			if err = s.once(&t.seigs.box, c); err == nil {
				err = s.keepSeigs(c)
			}
		}
	case typeSbgp, typeCsgp:
		if s.isSeig(c) {
			err = s.once(&t.groups, c)
		}
	}
	return err
}

// keepSeigs reads a traf's own descriptions. Their KIDs are replaced whether
// samples use them or not.
func (s *segment) keepSeigs(x box) (err error) {
	if s.traf.seigs, err = s.readSgpd(x); err != nil {
		return err
	}
	return s.eachSeig(s.traf.seigs, func(i int, f *fields) error {
		_, at, err := s.seigEntry(s.traf.seigs, uint32(i), f, protection{})
		s.kidAt = append(s.kidAt, at)
		return err
	})
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
	case base > uint64(s.end()) && !s.probe || base > 1<<62:
		return s.malformed(x.start, "base_data_offset %d is past the end of the bytes at hand", base)
	case uint64(desc) > uint64(len(tr.entries)) || desc == 0:
		return s.malformed(x.start, "sample entry %d of %d", desc, len(tr.entries))
	}
	t.base, t.entry = int(base), int(desc-1)
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
	f := fields{b: s.b, base: s.base, end: x.end}
	from, size := data, int(t.size)
	encrypted := s.in.tracks[t.track].entries[t.entry] >= 0
	if room := 4*len(s.b) + 1<<20; encrypted && !s.probe && (len(s.samples)+count)*sampleBytes > room {
		return 0, s.fail(ErrLimit, x.start, "%d samples in %d bytes", len(s.samples)+count, len(s.b))
	}
	if s.probe {
		end, err := s.probeRun(x, data, count, table, stride, sized)
		s.reach = max(s.reach, end)
		return end, err
	}
	for i := range count {
		if sized {
			f.at = table + i*stride
			size = int(f.u32())
		}
		if data < s.base || size > s.end()-data {
			return 0, s.malformed(x.start, "sample %d, %d bytes at %d, lies outside the object", i, size, data)
		}
		if encrypted {
			s.samples = append(s.samples, sample{data: data, size: uint32(size), index: int32(s.total)})
		}
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

// probeRun sums the sizes of a run.
func (s *segment) probeRun(x box, data, count, table, stride int, sized bool) (int, error) {
	if data < 0 {
		return 0, s.malformed(x.start, "samples at %d", data)
	}
	if !sized {
		return data + count*int(s.traf.size), nil
	}
	f := fields{b: s.b, base: s.base, end: x.end}
	for i := range count {
		f.at = table + i*stride
		data += int(f.u32())
	}
	return data, nil
}

// probeAux takes the KID of PIFF's override.
func (s *segment) probeAux() error {
	for _, x := range [...]box{s.traf.senc, s.traf.piff} {
		if !s.overrides(x) {
			continue
		}
		_, _, kidAt, err := s.override(x)
		if err != nil {
			return err
		}
		s.kidAt = append(s.kidAt, kidAt)
	}
	return nil
}
