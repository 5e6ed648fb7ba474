package cenc

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// windowBytes is how much of a progressive file is taken at once, unless one
// sample is longer.
const windowBytes = 4 << 20

// progressive goes through a file whose samples moov lists (ISO/IEC 14496-12
// §8.7). Their places, IVs and subsamples are all known first; then the bytes
// are taken in order, moov among them.
func (w *filePass) progressive() error {
	f := w.file
	if err := w.scanTables(&w.seg, f.in); err != nil {
		return err
	}
	w.countTracks()
	if err := w.place.check(&w.seg); err != nil {
		return err
	}
	if _, err := w.prepare(nil, 0, nil); err != nil {
		return err
	}
	if t := w.marked(); t >= 0 {
		return w.seg.unsupported(f.moov.start, "track %d: a pattern under cens in a progressive file", w.in.tracks[t].ID)
	}
	w.ivs = w.ivPlaces()
	samples := w.seg.samples
	for w.done < f.size {
		if w.done == f.moov.start {
			if err := w.writeMoov(); err != nil {
				return err
			}
			continue
		}
		to, n := w.nextWindow(samples)
		if err := w.samplesWindow(samples[:n], to); err != nil {
			return err
		}
		samples = samples[n:]
	}
	return nil
}

// marked is a track whose new IVs would have to say how its pattern is read, which
// they can't before its samples are gone through; -1 if there is none.
func (w *filePass) marked() int {
	for i := range w.seg.samples {
		sm := &w.seg.samples[i]
		prot := &w.seg.prots[sm.prot]
		if prot.scheme == schemeCENS && prot.crypt != 0 && prot.ivSize == 16 && sm.nsubs > 1 && w.use[sm.prot] != nil {
			return prot.track
		}
	}
	return -1
}

// scanTables finds the samples of all tracks, by the moov of in.
func (w *filePass) scanTables(s *segment, in *Init) error {
	s.reset(in, w.file.object, in.b, in.base, 0)
	for _, x := range w.file.top {
		if x.typ == typeMdat {
			s.mdats = append(s.mdats, span{x.body, x.end})
		}
	}
	s.load = func(x span) error { return w.loadAux(s, x) }
	defer func() { s.load = nil }()
	s.push(typeMoov, 0)
	for i := range in.tracks {
		if !in.tracks[i].Encrypted {
			s.total += int(in.tracks[i].stbl.count)
			continue
		}
		s.push(typeTrak, i)
		if err := s.scanTrak(i); err != nil {
			return err
		}
		s.pop()
	}
	s.pop()
	s.sort()
	return s.checkSpans()
}

// loadAux reads auxiliary information that lies between the samples.
func (w *filePass) loadAux(s *segment, x span) error {
	const most = 256 << 20
	if s.held += x.to - x.from; s.held > most {
		return s.fail(ErrLimit, x.from, "more than %d bytes of auxiliary information", most)
	}
	b := make([]byte, x.to-x.from)
	if err := w.file.read(b, x.from); err != nil {
		return err
	}
	if n := len(s.side); n == 0 || s.side[n-1].from < x.from {
		s.side = append(s.side, piece{x.from, b})
		return nil
	}
	i, _ := slices.BinarySearchFunc(s.side, x.from, func(p piece, at int) int { return p.from - at })
	s.side = slices.Insert(s.side, i, piece{x.from, b})
	return nil
}

// scanTrak finds the samples of one encrypted track.
func (s *segment) scanTrak(track int) error {
	tr := &s.in.tracks[track]
	tables := &tr.stbl
	s.traf = traf{box: tables.sizes, track: track, truns: s.traf.truns[:0], known: s.traf.known[:0], mixed: s.traf.mixed[:0],
		senc: tables.senc, piff: tables.piff, saiz: tables.saiz, saio: tables.saio, groups: tables.groups}
	if tables.count == 0 {
		return nil
	}
	if tables.sizes.end == 0 || tables.chunks.end == 0 || tables.runs.end == 0 {
		return s.malformed(s.base, "samples without stsz, stsc, and stco or co64")
	}
	c, err := s.chunkCursor(tables)
	if err != nil {
		return err
	}
	if int(tables.count) > maxSamples-s.total {
		return s.fail(ErrLimit, tables.sizes.start, "more than %d samples in one file", maxSamples)
	}
	media := len(s.b)
	for _, m := range s.mdats {
		media += m.to - m.from
	}
	if (len(s.samples)+int(tables.count))*sampleBytes > 4*media+1<<20 {
		return s.fail(ErrLimit, tables.sizes.start, "%d samples in %d bytes", len(s.samples)+int(tables.count), media)
	}
	return s.scanChunks(c, tr)
}

// scanChunks takes the samples chunk by chunk.
func (s *segment) scanChunks(c *chunkCursor, tr *track) error {
	s.traf.first = len(s.samples)
	for c.left > 0 {
		data, count, entry, err := c.next(s)
		if err != nil {
			return err
		}
		if entry == 0 || int(entry) > len(tr.entries) {
			return s.malformed(tr.stbl.runs.start, "sample entry %d of %d", entry, len(tr.entries))
		}
		s.traf.addEntry(int(entry-1), count)
		s.traf.truns = append(s.traf.truns, trun{len(s.samples), count})
		from := data
		for range count {
			size := c.size()
			s.samples = append(s.samples, sample{data: data, size: size, index: int32(s.total)})
			s.total++
			data += int(size)
		}
		if data > from {
			if !s.inMdat(span{from, data}) {
				return s.malformed(tr.stbl.chunks.start, "samples at %d to %d lie outside mdat", from, data)
			}
			s.spans = append(s.spans, span{from, data})
		}
	}
	return s.scanAux()
}

// ivPlace is where an IV of a CTR sample stands.
type ivPlace struct {
	at     int
	sample int // index in segment.samples
}

// ivPlaces lists the IVs that change, in the order of the file.
func (w *filePass) ivPlaces() []ivPlace {
	var list []ivPlace
	for i := range w.seg.samples {
		sm := &w.seg.samples[i]
		if w.use[sm.prot] == nil || !w.seg.prots[sm.prot].scheme.ctr() {
			continue
		}
		for _, at := range [...]int{sm.iv, sm.copies[0], sm.copies[1]} {
			if at > 0 {
				list = append(list, ivPlace{at, i})
			}
		}
	}
	slices.SortFunc(list, func(a, b ivPlace) int { return a.at - b.at })
	return list
}

// patch writes the IVs that stand in the window from base on.
func (w *filePass) patch(base int, out, cl []byte) {
	for i := w.firstIV(base); i < len(w.ivs) && w.ivs[i].at < base+len(cl); i++ {
		sm := &w.seg.samples[w.ivs[i].sample]
		n := w.seg.prots[sm.prot].ivSize
		at := w.ivs[i].at - base
		clear(cl[at : at+n])
		if out != nil {
			iv := w.place.iv(int(sm.index))
			copy(out[at:at+n], iv[:n])
		}
	}
}

// firstIV is the index of the first IV from at on.
func (w *filePass) firstIV(at int) int {
	i, _ := slices.BinarySearchFunc(w.ivs, at, func(p ivPlace, at int) int { return p.at - at })
	return i
}

// nextWindow is where the window from w.done ends, and how many of the samples
// lie in it. It cuts neither a sample nor an IV in two.
func (w *filePass) nextWindow(samples []sample) (to, n int) {
	to = min(w.done+windowBytes, w.file.size)
	if m := w.file.moov.start; w.done < m {
		to = min(to, m)
	}
	for n < len(samples) && samples[n].data < to {
		if end := samples[n].end(); end > to {
			if n > 0 {
				to = samples[n].data
				break
			}
			to = end
		}
		n++
	}
	if i := w.firstIV(to) - 1; i >= 0 {
		last := w.ivs[i]
		if end := last.at + w.seg.prots[w.seg.samples[last.sample].prot].ivSize; last.at > w.done && end > to {
			to = last.at
		}
	}
	return to, n
}

// samplesWindow does one window of samples.
func (w *filePass) samplesWindow(samples []sample, to int) error {
	from := w.done
	src, err := w.file.window(from, to)
	if err != nil {
		return err
	}
	w.clear = grow(w.clear, len(src))
	out := w.inPlace(src)
	if _, err := w.prepare(samples, from, src); err != nil {
		return err
	}
	w.transform(samples, from, src, w.clear, out, w.place)
	if err := w.weighWindow(samples, from, to); err != nil {
		return err
	}
	w.patch(from, out, w.clear)
	if out != nil {
		if err := w.compare(samples, from, out); err != nil {
			return err
		}
		if err := w.compareIVs(from, out); err != nil {
			return err
		}
	}
	if err := w.wrong(false); err != nil {
		return err
	}
	return w.write(out, w.clear)
}

// compare decrypts what was made under the IVs that moov or the auxiliary
// information gets, and compares it with the clear samples.
func (w *filePass) compare(samples []sample, base int, out []byte) error {
	for i := range samples {
		sm := &samples[i]
		k := w.use[sm.prot]
		if k == nil {
			continue
		}
		w.fill(&w.seg, sm)
		scheme := w.seg.prots[sm.prot].scheme
		if scheme.ctr() {
			w.msg.iv = w.place.iv(int(sm.index))
		}
		w.scratch = grow(w.scratch, int(sm.size))
		w.msg.decrypt(k.new, scheme, w.scratch, out[sm.data-base:sm.end()-base])
		if !bytes.Equal(w.scratch, w.clear[sm.data-base:sm.end()-base]) {
			return w.seg.fail(ErrVerify, sm.data, "sample %d does not decrypt to its clear bytes", sm.index)
		}
	}
	return nil
}

// compareIVs reads the IVs that stand between the samples.
func (w *filePass) compareIVs(base int, out []byte) error {
	for i := w.firstIV(base); i < len(w.ivs) && w.ivs[i].at < base+len(out); i++ {
		sm := &w.seg.samples[w.ivs[i].sample]
		n, at := w.seg.prots[sm.prot].ivSize, w.ivs[i].at
		iv := w.place.iv(int(sm.index))
		if !bytes.Equal(out[at-base:at-base+n], iv[:n]) {
			return w.seg.fail(ErrVerify, at, "the IV of sample %d is not the new one", sm.index)
		}
	}
	return nil
}

// checkMoov reads the new moov as a stranger would: its keys must be the new
// ones, the samples that it lists where they were, and the IVs in it new.
func (w *filePass) checkMoov(moov []byte) error {
	again := &Init{object: w.file.object, b: moov, base: w.in.base}
	r := &reader{object: again.object, b: again.b, base: again.base}
	if err := again.readMoov(r, w.file.moov); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if !slices.Equal(again.kidAt, w.in.kidAt) {
		return r.fail(ErrVerify, w.in.base, "the KIDs of moov are not where they were")
	}
	for _, at := range again.kidAt {
		was := key.KID(w.in.b[at-w.in.base : at-w.in.base+16])
		if c, ok := w.changes[was]; ok {
			was = c.NewKID
		}
		if was != key.KID(r.bytes(at, at+16)) {
			return r.fail(ErrVerify, at, "KID %v is not the new one", key.KID(r.bytes(at, at+16)))
		}
	}
	if w.in.listed == 0 {
		return nil
	}
	return w.checkTables(again)
}

func (w *filePass) checkTables(again *Init) error {
	if err := w.scanTables(&w.check, again); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := w.sameSamples(w.seg.samples, w.check.samples, w.in.base); err != nil {
		return err
	}
	for _, p := range w.ivs {
		n := w.seg.prots[w.seg.samples[p.sample].prot].ivSize
		if p.at < again.base || p.at+n > again.base+len(again.b) {
			continue // in mdat: its window was compared
		}
		iv := w.place.iv(int(w.seg.samples[p.sample].index))
		if !bytes.Equal(w.check.bytes(p.at, p.at+n), iv[:n]) {
			return w.check.fail(ErrVerify, p.at, "the IV of sample %d is not the new one", w.seg.samples[p.sample].index)
		}
	}
	return nil
}
