package cenc

import (
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// pass is what Rekeyer, Decrypter and File share: an object, or a window of
// one, scanned and decrypted. It keeps its buffers.
type pass struct {
	in    *Init
	keys  map[key.KID]*change
	known Readings // what the caller knows of the media

	seg      segment
	check    segment // the second scan, of the result
	use      []*change
	readings []Readings       // by track
	read     Readings         // of this object
	marks    map[int32]uint64 // by sample index: what marks its new IV

	clear    []byte
	scratch  []byte
	msg      message
	batch    batch
	tallies  []tally
	counters []counters
	kidIndex map[key.KID]int

	count     int
	protected int64
	kept      []key.KID
	notes     []Finding
}

// change is what happens to the samples of one KID.
type change struct {
	old, new *ciphers // new is nil where they are only decrypted
	newKID   key.KID
}

func newPass(in *Init, known Readings) pass {
	return pass{in: in, keys: map[key.KID]*change{}, known: known, kidIndex: map[key.KID]int{},
		readings: make([]Readings, len(in.tracks))}
}

// begin starts an object: nothing is counted yet.
func (p *pass) begin() {
	p.counters, p.kept, p.notes = p.counters[:0], p.kept[:0], p.notes[:0]
	p.count, p.protected, p.read = 0, 0, Readings{}
}

// prepare looks up the keys of the samples that were scanned, whose bytes begin
// at base, and says how many there are to decrypt.
func (p *pass) prepare(samples []sample, base int, src []byte) (int, error) {
	p.use = p.use[:0]
	for i := range p.seg.prots {
		p.use = append(p.use, p.keys[p.seg.prots[i].kid])
	}
	for len(p.tallies) < len(p.seg.prots) {
		p.tallies = append(p.tallies, tally{})
	}
	if err := p.checkBare(base, src); err != nil {
		return 0, err
	}
	clear(p.tallies)
	clear(p.marks)
	n := 0
	for i := range samples {
		if k := p.use[samples[i].prot]; k != nil {
			n++
		} else {
			p.kept = appendKID(p.kept, p.seg.prots[samples[i].prot].kid)
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, p.decideReadings(samples, base, src)
}

// checkBare looks at the samples without an IV. They stay as they are, which is
// right for a clear lead; media whose IVs were lost must not get new KIDs, as if
// anybody could decrypt it.
func (p *pass) checkBare(base int, src []byte) error {
	clear(p.tallies)
	for i := range p.seg.bare {
		sm := &p.seg.bare[i]
		if sm.data < base || sm.end() > base+len(src) {
			continue
		}
		prot := &p.seg.prots[sm.prot]
		p.msg.reset()
		p.msg.add(0, int(sm.size))
		t := &p.tallies[prot.pool]
		t.look(prot.codec, src[sm.data-base:sm.end()-base], p.msg.runs, p.msg.size)
		if t.weigh().Against > 0 {
			return p.seg.unsupported(sm.data, "sample %d has no IV and is not clear media: nobody can decrypt it", sm.index)
		}
	}
	return nil
}

// transform makes cl of src, decrypted, and tallies it; with out it makes that
// too, under the new keys and the IVs of place. All three are the bytes from
// base on. It goes sample by sample, so that a sample is still in the cache when
// it is encrypted again; the samples are in the order of their data.
func (p *pass) transform(samples []sample, base int, src, cl, out []byte, place Place) {
	pos := base
	for i := range samples {
		sm := &samples[i]
		k := p.use[sm.prot]
		if k == nil {
			continue
		}
		from, to := sm.data, sm.end()
		copy(cl[pos-base:from-base], src[pos-base:])
		prot := &p.seg.prots[sm.prot]
		p.fill(&p.seg, sm)
		p.count++
		p.protected += int64(p.msg.size)
		if prot.scheme.ctr() {
			p.counters = appendCounters(p.counters, p.keyIndex(prot.kid), p.msg.iv, p.msg.size, int(sm.index))
			p.msg.carry = p.carries(sm, src[from-base:to-base])
		}
		p.msg.decrypt(k.old, prot.scheme, cl[from-base:to-base], src[from-base:])
		y := &p.tallies[prot.pool]
		y.assumed = prot.scheme == schemeCENS && prot.crypt != 0 && sm.nsubs > 1
		y.look(prot.codec, cl[from-base:to-base], p.msg.runs, p.msg.size)
		p.msg.firsts(&y.first, prot, cl[from-base:to-base], src[from-base:to-base])
		if out != nil {
			copy(out[pos-base:from-base], src[pos-base:])
			p.encrypt(sm, k.new, out, cl[from-base:to-base], from-base, place)
		}
		pos = to
	}
	p.batch.flush(out)
	copy(cl[pos-base:], src[pos-base:])
	if out != nil {
		copy(out[pos-base:], src[pos-base:])
	}
}

// encrypt makes the sample that was decrypted last, from at on in out. Under CBC
// it is finished when the batch is.
func (p *pass) encrypt(sm *sample, k *ciphers, out, cl []byte, at int, place Place) {
	if p.seg.prots[sm.prot].scheme.ctr() {
		p.msg.iv, p.msg.carry = p.newIV(sm, place), false
		p.msg.stream(k.ctr, out[at:at+len(cl)], cl)
		return
	}
	if len(cl) > 0 && &out[at] != &cl[0] {
		copy(out[at:], cl)
	}
	p.batch.add(&p.msg, k, out, at)
}

// fill sets p.msg to the encrypted bytes of sm and its IV.
func (p *pass) fill(s *segment, sm *sample) {
	prot := &s.prots[sm.prot]
	var table []byte
	if sm.nsubs > 0 {
		table = s.at(sm.subs, 6*int(sm.nsubs))
	}
	p.msg.fill(prot, int(sm.size), int(sm.nsubs), table, p.readings[prot.track])
	p.msg.carry = false
	if p.msg.iv = prot.constant; prot.ivSize > 0 {
		// 8 bytes are followed by a zero block counter (ISO/IEC 23001-7 §9.1).
		p.msg.iv = [16]byte{}
		copy(p.msg.iv[:], s.at(sm.iv, prot.ivSize)[:prot.ivSize])
	}
}

// putIVs writes the IVs of CTR samples where the old ones stand and over their
// copies, as far as they stand in b, whose first byte is base: those of place in
// a new object, zeros in its clear form (zero true). CBC schemes keep their IVs:
// the key is new.
func (p *pass) putIVs(samples []sample, b []byte, base int, place Place, zero bool) {
	for i := range samples {
		sm := &samples[i]
		prot := &p.seg.prots[sm.prot]
		if p.use[sm.prot] == nil || !prot.scheme.ctr() {
			continue
		}
		var iv [16]byte
		if !zero {
			iv = p.newIV(sm, place)
		}
		put := func(at int) {
			if at > 0 && at >= base && at+prot.ivSize <= base+len(b) {
				copy(b[at-base:], iv[:prot.ivSize])
			}
		}
		put(sm.iv)
		put(sm.copies[0])
		put(sm.copies[1])
	}
}

// putNames writes the new KIDs into out, and blanks in cl what names a key: the
// clear form is the same before a rekey and after.
func (p *pass) putNames(out, cl []byte, ch key.Changes) error {
	blankNames(cl, p.seg.base, p.seg.kidAt, p.seg.pssh)
	putKIDs(out, p.seg.base, p.seg.kidAt, ch)
	// One box for one: else the clear form could not tell them from boxes that
	// were several before.
	names, err := p.seg.rekeyPSSH(out, p.seg.pssh, naming{changes: ch})
	p.noteAll(names.notes)
	return err
}

// noteAll keeps findings, those that say the same as one.
func (p *pass) noteAll(list []Finding) {
	for _, f := range list {
		i := slices.IndexFunc(p.notes, func(o Finding) bool { return o.Code == f.Code && o.Reason == f.Reason })
		if i < 0 {
			p.notes = append(p.notes, f)
		} else {
			p.notes[i].Count += f.Count
		}
	}
}

func blankNames(cl []byte, base int, kidAt []int, boxes []psshBox) {
	for _, at := range kidAt {
		clear(cl[at-base : at-base+16])
	}
	for i := range boxes {
		boxes[i].blank(cl, base)
	}
}

// grow returns b with length n, its content lost. Windows are of about one size:
// some room more saves the next ones a buffer of their own.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n, n+n/8)
	}
	return b[:n]
}

// keyIndex numbers the keys: counters meet by key.
func (p *pass) keyIndex(kid key.KID) int {
	i, ok := p.kidIndex[kid]
	if !ok {
		i = len(p.kidIndex)
		p.kidIndex[kid] = i
	}
	return i
}

// findings lists what is odd about the object.
func (p *pass) findings() []Finding {
	list := slices.Clone(p.notes)
	if n, first := reuse(p.counters); n > 0 {
		list = append(list, Finding{p.seg.object, FindingIVReuse, first, n,
			fmt.Sprintf("%d samples use counter blocks that another sample of the object uses under the same key", n)})
	}
	if p.seg.mismatch > 0 {
		list = append(list, Finding{p.seg.object, FindingIVCopies, 0, p.seg.mismatch,
			"the IVs in senc or its PIFF copy differ from those that saio points at"})
	}
	return list
}

// stored tallies src, whose first byte is base, as if it were clear.
func (p *pass) stored(samples []sample, base int, src []byte) []tally {
	clear(p.tallies)
	for i := range samples {
		sm := &samples[i]
		if p.use[sm.prot] == nil {
			continue
		}
		p.fill(&p.seg, sm)
		prot := &p.seg.prots[sm.prot]
		p.tallies[prot.pool].look(prot.codec, src[sm.data-base:sm.end()-base], p.msg.runs, p.msg.size)
	}
	return p.tallies
}

// weigh pools what was tallied: everything against, and for the key only as
// much as the weakest of tracks and KIDs says.
func (p *pass) weigh() evidence.Evidence {
	var list []evidence.Evidence
	for i := range p.tallies {
		if p.tallies[i].bytes > 0 {
			list = append(list, p.tallies[i].weigh())
		}
	}
	return weakest(list)
}

// weighKIDs is the evidence for each KID.
func (p *pass) weighKIDs() map[key.KID]evidence.Evidence {
	out := map[key.KID]evidence.Evidence{}
	for i := range p.tallies {
		if p.tallies[i].bytes > 0 {
			kid := p.seg.prots[i].kid
			e := out[kid]
			e.Add(p.tallies[i].weigh())
			out[kid] = e
		}
	}
	return out
}

func weakest(list []evidence.Evidence) (sum evidence.Evidence) {
	for i, e := range list {
		sum.Against += e.Against
		sum.Bytes += e.Bytes
		if i == 0 || e.ForLog10 > sum.ForLog10 {
			sum.ForLog10 = e.ForLog10
		}
	}
	return sum
}
