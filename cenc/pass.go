package cenc

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/aesbulk"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// pass is what Rekeyer and Decrypter share: one object scanned and decrypted.
type pass struct {
	in    *Init
	keys  []keys // by track
	seg   segment
	check segment // the second scan, of the result

	clear    []byte
	parts    []span // protected ranges of the sample at hand, within it
	size     int    // bytes in parts
	tallies  []tally
	counters []counters

	count     int
	protected int64
}

// keys of a track; nil for one that stays as it is.
type keys struct{ old, new *aesbulk.CTR }

func newPass(in *Init) pass {
	return pass{in: in, keys: make([]keys, len(in.tracks)), tallies: make([]tally, len(in.tracks))}
}

func (in *Init) encrypted() bool {
	for i := range in.tracks {
		if in.tracks[i].Encrypted {
			return true
		}
	}
	return false
}

// begin scans the object and counts what there is to decrypt.
func (p *pass) begin(object string, src []byte) error {
	if err := p.seg.scan(p.in, object, src); err != nil {
		return err
	}
	clear(p.tallies)
	p.counters = p.counters[:0]
	p.count, p.protected = 0, 0
	for i := range p.seg.samples {
		sm := &p.seg.samples[i]
		if p.keys[sm.track].old == nil {
			continue
		}
		p.count++
	}
	return nil
}

// transform makes p.clear of src, with every IV zeroed, and tallies it; with out
// it makes that too, under the new keys and the IVs of place. It goes sample by
// sample, so that a sample is still in the cache when it is encrypted again; the
// samples are in the order of their data.
func (p *pass) transform(src, out []byte, place Place) {
	p.clear = grow(p.clear, len(src))
	pos := 0
	for i := range p.seg.samples {
		sm := &p.seg.samples[i]
		k := &p.keys[sm.track]
		if k.old == nil {
			continue
		}
		from, to := sm.data, sm.data+sm.size
		copy(p.clear[pos:from], src[pos:from])
		iv := p.getIV(src, sm)
		p.ranges(sm)
		p.protected += int64(p.size)
		p.counters = appendCounters(p.counters, p.keyIndex(sm.track), iv, p.size, sm.index)
		k.old.Start(iv, p.size)
		crypt(k.old, p.clear[from:to], src[from:to], p.parts)
		p.tallies[sm.track].look(&p.in.tracks[sm.track], p.clear[from:to], p.parts)
		if out != nil {
			copy(out[pos:from], src[pos:from])
			k.new.Start(place.iv(sm.index), p.size)
			crypt(k.new, out[from:to], p.clear[from:to], p.parts)
		}
		pos = to
	}
	copy(p.clear[pos:], src[pos:])
	if out != nil {
		copy(out[pos:], src[pos:])
	}
	p.putIVs(out, place)
}

// putIVs comes after all copying: an IV may stand on either side of its sample.
func (p *pass) putIVs(out []byte, place Place) {
	for i := range p.seg.samples {
		sm := &p.seg.samples[i]
		if p.keys[sm.track].old == nil {
			continue
		}
		p.putIV(p.clear, sm, [16]byte{})
		if out != nil {
			p.putIV(out, sm, place.iv(sm.index))
		}
	}
}

// grow returns b with length n, its content lost.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// keyIndex is the first track with the same KID: counters meet by key.
func (p *pass) keyIndex(t int) int {
	for i := range p.in.tracks[:t] {
		if p.in.tracks[i].Encrypted && p.in.tracks[i].KID == p.in.tracks[t].KID {
			return i
		}
	}
	return t
}

// ranges sets p.parts and p.size to the protected ranges of sm.
func (p *pass) ranges(sm *sample) {
	p.parts, p.size = p.parts[:0], 0
	if sm.nsubs == 0 {
		p.parts, p.size = append(p.parts, span{0, sm.size}), sm.size
		return
	}
	at := 0
	for i := range sm.nsubs {
		sub := sm.subs + 6*i
		at += p.seg.clearBytes(sub)
		n := p.seg.protectedBytes(sub)
		if n > 0 {
			p.parts = append(p.parts, span{at, at + n})
		}
		at += n
		p.size += n
	}
}

// crypt runs one sample's key stream over its protected ranges, which are one
// message (ISO/IEC 23001-7 §9.5.1), and copies the rest.
func crypt(c *aesbulk.CTR, dst, src []byte, parts []span) {
	at := 0
	for _, x := range parts {
		copy(dst[at:x.from], src[at:x.from])
		c.XOR(dst[x.from:x.to], src[x.from:x.to])
		at = x.to
	}
	copy(dst[at:], src[at:])
}

// getIV reads a sample's IV; 8 bytes are followed by a zero block counter
// (ISO/IEC 23001-7 §9.1).
func (p *pass) getIV(b []byte, sm *sample) (iv [16]byte) {
	copy(iv[:], b[sm.iv:sm.iv+p.in.tracks[sm.track].IVSize])
	return iv
}

// putIV writes a sample's IV where the old one stands, and over its copies.
func (p *pass) putIV(b []byte, sm *sample, iv [16]byte) {
	n := p.in.tracks[sm.track].IVSize
	copy(b[sm.iv:], iv[:n])
	for _, at := range sm.copies {
		if at != 0 {
			copy(b[at:], iv[:n])
		}
	}
}

// result weighs the evidence and looks for what is odd.
func (p *pass) result(src []byte) (Result, error) {
	res := Result{Clear: p.clear, Samples: p.count, Protected: p.protected, Evidence: p.weigh()}
	if res.Evidence.Verdict() == evidence.Wrong {
		res.Stored = p.stored(src)
	}
	if res.Stored.Verdict() == evidence.Right {
		return Result{}, p.seg.fail(ErrClear, 0, "%d bytes signalled as encrypted are clear media as they stand", p.protected)
	}
	if n, first := reuse(p.counters); n > 0 {
		res.Findings = append(res.Findings, Finding{p.seg.object, FindingIVReuse, first, n,
			fmt.Sprintf("%d samples use counter blocks that another sample of the object uses under the same key", n)})
	}
	if p.seg.mismatch > 0 {
		res.Findings = append(res.Findings, Finding{p.seg.object, FindingIVCopies, 0, p.seg.mismatch,
			"the IVs in senc or its PIFF copy differ from those that saio points at"})
	}
	return res, nil
}

// stored tallies src as if it were clear.
func (p *pass) stored(src []byte) evidence.Evidence {
	clear(p.tallies)
	for i := range p.seg.samples {
		sm := &p.seg.samples[i]
		if p.keys[sm.track].old == nil {
			continue
		}
		p.ranges(sm)
		p.tallies[sm.track].look(&p.in.tracks[sm.track], src[sm.data:sm.data+sm.size], p.parts)
	}
	return p.weigh()
}

// weigh pools the tracks: everything against, and for the key only as much as
// the weakest track says.
func (p *pass) weigh() evidence.Evidence {
	var sum evidence.Evidence
	first := true
	for i := range p.tallies {
		if p.tallies[i].bytes == 0 {
			continue
		}
		e := p.tallies[i].weigh()
		sum.Against += e.Against
		sum.Bytes += e.Bytes
		if first || e.ForLog10 > sum.ForLog10 {
			sum.ForLog10 = e.ForLog10
		}
		first = false
	}
	return sum
}

// Decrypter gives the canonical clear form of segments.
type Decrypter struct{ pass }

// NewDecrypter returns a Decrypter for in. Every encrypted track must have its
// key in ks.
func NewDecrypter(in *Init, ks map[key.KID]key.ContentKey) (*Decrypter, error) {
	if err := in.Supported(); err != nil {
		return nil, err
	}
	d := &Decrypter{newPass(in)}
	for i := range in.tracks {
		t := &in.tracks[i]
		if !t.Encrypted {
			continue
		}
		k, ok := ks[t.KID]
		if !ok || k.IsZero() {
			return nil, in.missing(t, "no key")
		}
		d.keys[i].old = aesbulk.NewCTR(k.Block())
	}
	return d, nil
}

// Segment decrypts one object; Out of the Result is nil.
func (d *Decrypter) Segment(object string, src []byte) (Result, error) {
	if !d.in.encrypted() {
		return Result{Clear: src}, nil
	}
	if err := d.begin(object, src); err != nil {
		return Result{}, err
	}
	d.transform(src, nil, Place{})
	return d.result(src)
}
