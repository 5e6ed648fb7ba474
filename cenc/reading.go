package cenc

import (
	"encoding/binary"
	"fmt"
)

// Readings are what packagers of scheme cens disagree about, and how the one of
// this media reads it. The zero value leaves it to each object's own evidence.
type Readings struct {
	Tails   Tails
	Pattern Pattern
}

// Tails is how a packager treats the partial block at the end of a protected
// range under cens without a pattern. ISO/IEC 23001-7 §9.7 (whole-block full
// sample encryption) leaves it in the clear; some packagers encrypt it, as §9.4
// has it for cenc. The media tells which.
type Tails uint8

// Readings of trailing partial blocks.
const (
	TailsUnknown Tails = iota
	TailsClear
	TailsEncrypted
)

func (t Tails) String() string {
	return [...]string{"unknown", "clear", "encrypted"}[t]
}

// Pattern is where the pattern of cens begins in a sample of several
// subsamples: anew in each (ISO/IEC 23001-7 §9.6.1), or once in the sample, so
// that it runs on from subsample to subsample, as some packagers have it.
type Pattern uint8

// Readings of the pattern.
const (
	PatternUnknown Pattern = iota
	PatternRestarts
	PatternRunsOn
)

func (p Pattern) String() string {
	return [...]string{"unknown", "restarts", "runs-on"}[p]
}

// String is empty where nothing is known; else it can be parsed again.
func (r Readings) String() string {
	if r == (Readings{}) {
		return ""
	}
	return r.Tails.String() + "," + r.Pattern.String()
}

// ParseReadings is the inverse of String.
func ParseReadings(s string) (Readings, error) {
	var all [3]Readings
	for t := range all {
		for p := range all {
			if r := (Readings{Tails(t), Pattern(p)}); r.String() == s {
				return r, nil
			}
		}
	}
	return Readings{}, fmt.Errorf("parse readings %q: unknown", s)
}

// decideReadings settles how the samples of each track of the object are read.
func (p *pass) decideReadings(samples []sample, base int, src []byte) error {
	for t := range p.readings {
		p.readings[t] = Readings{}
		if err := p.decideTails(samples, t, base, src); err != nil {
			return err
		}
		if err := p.decidePattern(samples, t); err != nil {
			return err
		}
	}
	return nil
}

// tailVotes is by how many samples one reading must be ahead to be believed
// without being told: a wrong one passes for each with a chance of 1/4.
const tailVotes = 7

// decideTails settles how the trailing partial blocks of a track are read.
func (p *pass) decideTails(samples []sample, t, base int, src []byte) error {
	if !p.hasTails(samples, t) {
		return nil
	}
	reading, known := p.voteTails(samples, t, base, src), p.known.Tails
	switch {
	case reading == TailsUnknown && known == TailsUnknown:
		return p.seg.unsupported(base, "track %d: cens samples end in partial blocks, and the media is too little to tell whether they are encrypted",
			p.in.tracks[t].ID)
	case reading == TailsUnknown:
		reading = known
	case known != TailsUnknown && known != reading:
		return p.seg.unsupported(base, "track %d: trailing partial blocks are %v here, and were %v before", p.in.tracks[t].ID, reading, known)
	}
	p.readings[t].Tails, p.read.Tails = reading, reading
	return nil
}

// decidePattern settles where the pattern of a track begins. A packager whose
// 16-byte IVs run on from sample to sample shows it: by the blocks that were
// encrypted where the clause is obeyed, by all the blocks of protected ranges
// where the pattern is one stream over them.
func (p *pass) decidePattern(samples []sample, t int) error {
	votes, asked, narrow := 0, false, false
	for i := range samples {
		sm := &samples[i]
		prot := &p.seg.prots[sm.prot]
		if prot.track != t || prot.scheme != schemeCENS || prot.crypt == 0 || p.use[sm.prot] == nil {
			continue
		}
		p.fill(&p.seg, sm)
		all := p.protectedBytes(sm) / 16
		asked = asked || sm.nsubs > 1
		narrow = narrow || prot.ivSize == 8
		if i+1 == len(samples) || samples[i+1].prot != sm.prot || prot.ivSize != 16 || all*16 == p.msg.size {
			continue
		}
		next := p.seg.at(samples[i+1].iv, 16)
		switch binary.BigEndian.Uint64(next[8:]) - binary.BigEndian.Uint64(p.msg.iv[8:]) {
		case uint64(all):
			votes++
		case uint64(p.msg.size / 16):
			votes--
		}
	}
	if !asked {
		return nil
	}
	reading, known := p.known.Pattern, p.known.Pattern
	switch {
	case votes > 0:
		reading = PatternRunsOn
	case votes < 0:
		reading = PatternRestarts
	case known == PatternUnknown && narrow:
		// No packager whose pattern runs on is known to write 8-byte IVs.
		reading = PatternRestarts
	case known == PatternUnknown:
		return p.seg.unsupported(p.seg.base, "track %d: cens samples of several subsamples, and nothing tells whether the pattern begins anew in each",
			p.in.tracks[t].ID)
	}
	if known != PatternUnknown && known != reading {
		return p.seg.unsupported(p.seg.base, "track %d: the pattern %v here, and %v before", p.in.tracks[t].ID, reading, known)
	}
	p.readings[t].Pattern, p.read.Pattern = reading, reading
	p.mark(samples, t)
	return nil
}

// mark has the new IVs of a track tell how its pattern is read, as the old ones
// did: their low halves count blocks from sample to sample, all of the protected
// ranges or only the encrypted ones. The high halves alone keep them apart.
func (p *pass) mark(samples []sample, t int) {
	if p.marks == nil {
		p.marks = map[int32]uint64{}
	}
	at := uint64(0)
	for i := range samples {
		sm := &samples[i]
		prot := &p.seg.prots[sm.prot]
		if prot.track != t || prot.scheme != schemeCENS || prot.ivSize != 16 || prot.crypt == 0 || p.use[sm.prot] == nil {
			continue
		}
		p.marks[sm.index] = at
		p.fill(&p.seg, sm)
		if p.readings[t].Pattern == PatternRunsOn {
			at += uint64(p.protectedBytes(sm) / 16)
		} else {
			at += uint64(p.msg.size / 16)
		}
	}
}

// newIV is the IV of a sample under its new key.
func (p *pass) newIV(sm *sample, place Place) [16]byte {
	iv := place.iv(int(sm.index))
	if low, ok := p.marks[sm.index]; ok {
		binary.BigEndian.PutUint64(iv[8:], low)
	}
	return iv
}

func (p *pass) protectedBytes(sm *sample) (sum int) {
	if sm.nsubs == 0 {
		return int(sm.size)
	}
	table := p.seg.at(sm.subs, 6*int(sm.nsubs))
	for i := range int(sm.nsubs) {
		_, e := subsample(table[6*i:])
		sum += e
	}
	return sum
}

// hasTails tells whether the question comes up in a track.
func (p *pass) hasTails(samples []sample, track int) bool {
	for i := range samples {
		prot := &p.seg.prots[samples[i].prot]
		if prot.track != track || prot.scheme != schemeCENS || prot.crypt != 0 || p.use[samples[i].prot] == nil {
			continue
		}
		if samples[i].nsubs > 0 || samples[i].size%16 != 0 {
			return true
		}
	}
	return false
}

// voteTails looks at the ends of AAC frames, as stored and as decrypted.
func (p *pass) voteTails(samples []sample, track, base int, src []byte) Tails {
	votes := 0
	for i := range samples {
		sm := &samples[i]
		prot, k := &p.seg.prots[sm.prot], p.use[sm.prot]
		tail := int(sm.size % 16)
		if prot.track != track || k == nil || sm.nsubs > 0 || tail < 2 || prot.codec.rule != ruleAAC {
			continue
		}
		p.fill(&p.seg, sm)
		iv := p.msg.iv
		binary.BigEndian.PutUint64(iv[8:], binary.BigEndian.Uint64(iv[8:])+uint64(sm.size/16))
		var clear [16]byte
		stored := src[sm.end()-tail-base : sm.end()-base]
		k.old.ctr.Start(iv, tail)
		k.old.ctr.XOR(clear[:tail], stored)
		if endsBlock(stored[tail-2:]) {
			votes--
		}
		if endsBlock(clear[tail-2 : tail]) {
			votes++
		}
	}
	switch {
	case votes >= tailVotes:
		return TailsEncrypted
	case votes <= -tailVotes:
		return TailsClear
	}
	return TailsUnknown
}

// carries tells whether the packager's 128-bit counter carries out of its low
// half within sample i, against ISO/IEC 23001-7 §9.3. The IVs after it prove
// nothing: some packagers carry from sample to sample and wrap within one. The
// frame itself is asked, and where it says nothing, the clause holds.
func (p *pass) carries(sm *sample, src []byte) bool {
	prot := &p.seg.prots[sm.prot]
	low, blocks := binary.BigEndian.Uint64(p.msg.iv[8:]), uint64(p.msg.size+15)/16
	if prot.ivSize != 16 || blocks == 0 || low+(blocks-1) >= low {
		return false
	}
	return p.weighCarry(prot, sm, src)
}

func (p *pass) note(code string, sm *sample, reason string) bool {
	p.notes = append(p.notes, Finding{p.seg.object, code, int(sm.index), 1, reason})
	return true
}

// weighCarry decrypts a sample both ways and lets its codec's rule decide.
func (p *pass) weighCarry(prot *protection, sm *sample, src []byte) bool {
	k := p.use[sm.prot]
	p.scratch = grow(p.scratch, len(src))
	var score [2]float64
	for way := range score {
		p.msg.carry = way == 1
		p.msg.decrypt(k.old, prot.scheme, p.scratch, src)
		var t tally
		t.look(prot.codec, p.scratch, p.msg.runs, p.msg.size)
		e := t.weigh()
		score[way] = e.ForLog10 + 3*float64(e.Against)
		if prot.codec.rule == ruleAAC && len(src) >= 2 && !endsBlock(p.scratch[len(src)-2:]) {
			score[way] += 2
		}
	}
	if score[1] < score[0] {
		return p.note(FindingCarry, sm, "the counter carries over 128 bits, by the sample itself; ISO/IEC 23001-7 wraps the low 64")
	}
	p.note(FindingWrap, sm, "the counter wraps within its low 64 bits, as ISO/IEC 23001-7 has it; nothing says otherwise")
	p.msg.carry = false
	return false
}
