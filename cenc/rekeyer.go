package cenc

import (
	"bytes"
	"fmt"

	"github.com/seed-6133abe0/rekey/aesbulk"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// Result is what one segment came to. Its slices are valid until the next call.
type Result struct {
	// Out is the rekeyed object; nil from a Decrypter.
	Out []byte
	// Clear is the canonical clear form: the object with the samples decrypted
	// and their IVs zeroed, and nothing else changed, so that an object before
	// and after rekeying has the same. Tracks whose KID does not change stay as
	// they are in it.
	Clear []byte
	// Samples counts the protected samples of the tracks that were decrypted,
	// Protected their protected bytes.
	Samples   int
	Protected int64
	// Evidence says whether the old key was the right one. With several KIDs in
	// the object it is as strong as the weakest of them.
	Evidence evidence.Evidence
	// Stored says the same of the bytes as they were stored, looked at as if they
	// were clear. It is left empty unless Evidence is Wrong. Pooled over a track
	// it tells clear media in disguise where one object is too little to.
	Stored   evidence.Evidence
	Findings []Finding
}

// Finding is something a person should know about the old media. It stops
// nothing.
type Finding struct {
	Object string
	Code   string // iv-reuse, iv-copies
	Sample int    // the first sample concerned, by index in the object
	Count  int    // samples concerned
	Reason string
}

// Codes of findings.
const (
	FindingIVReuse  = "iv-reuse"
	FindingIVCopies = "iv-copies"
)

// Rekeyer rekeys the segments of one init section. It keeps its buffers, so
// there is one for each goroutine.
type Rekeyer struct {
	pass
	out     []byte
	scratch [4096]byte
}

// NewRekeyer returns a Rekeyer for the tracks of in whose KID is in ch. It
// refuses what in.Supported refuses, and changes that change nothing: a KID or
// key that stays.
func NewRekeyer(in *Init, ch key.Changes) (*Rekeyer, error) {
	if err := in.Supported(); err != nil {
		return nil, err
	}
	r := &Rekeyer{pass: newPass(in)}
	for i := range in.tracks {
		t := &in.tracks[i]
		c, ok := ch[t.KID]
		if !t.Encrypted || !ok {
			continue
		}
		if c.Old.IsZero() || c.New.IsZero() {
			return nil, in.missing(t, "the change has no old or no new key")
		}
		if c.NewKID == t.KID || c.New.Equal(c.Old) {
			return nil, in.missing(t, "the change keeps the KID or the key")
		}
		r.keys[i] = keys{old: aesbulk.NewCTR(c.Old.Block()), new: aesbulk.NewCTR(c.New.Block())}
	}
	return r, nil
}

// missing is an ErrMissingKey about one track.
func (in *Init) missing(t *track, reason string) error {
	return &Error{in.object, "moov/trak", 0, fmt.Sprintf("KID %v: %s", t.KID, reason), ErrMissingKey}
}

// Segment rekeys one object: decrypt, look at the evidence, encrypt under the
// new key with the IVs of p, decrypt that again and compare. An object that has
// nothing to change comes back as it is. src is only read.
//
// Evidence of a wrong key is not an error; the caller pools it and decides.
// ErrClear is returned when the stored bytes are positively right and the
// decrypted ones positively wrong: the media is not encrypted at all.
func (r *Rekeyer) Segment(p Place, src []byte) (Result, error) {
	if !r.in.encrypted() {
		return Result{Out: src, Clear: src}, nil
	}
	if err := r.begin(p.Object, src); err != nil {
		return Result{}, err
	}
	if r.count == 0 {
		return Result{Out: src, Clear: src}, nil
	}
	if p.Number > maxNumber || r.seg.total-1 > maxIndex {
		return Result{}, r.seg.fail(ErrLimit, 0, "object %d with %d samples: numbers of IVs have 24 bits", p.Number, r.seg.total)
	}
	r.out = grow(r.out, len(src))
	r.transform(src, r.out, p)
	if err := r.verify(p); err != nil {
		return Result{}, err
	}
	res, err := r.result(src)
	if err != nil {
		return Result{}, err
	}
	res.Out = r.out
	return res, nil
}

// verify reads r.out as a stranger would, decrypts it and compares it with
// r.clear, byte for byte.
func (r *Rekeyer) verify(p Place) error {
	if err := r.check.scan(r.in, p.Object, r.out); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if len(r.check.samples) != len(r.seg.samples) {
		return r.check.fail(ErrVerify, 0, "%d samples became %d", len(r.seg.samples), len(r.check.samples))
	}
	for i := range r.check.samples {
		sm := &r.check.samples[i]
		k := &r.keys[sm.track]
		if *sm != r.seg.samples[i] {
			return r.check.fail(ErrVerify, sm.data, "sample %d is not where it was", sm.index)
		}
		if k.new == nil {
			continue
		}
		r.ranges(sm)
		k.new.Start(r.getIV(r.out, sm), r.size)
		for _, part := range r.parts {
			if !r.same(k.new, span{sm.data + part.from, sm.data + part.to}) {
				return r.check.fail(ErrVerify, sm.data, "sample %d does not decrypt to its clear bytes", sm.index)
			}
		}
	}
	return nil
}

// same takes the key stream over x of r.out and compares with r.clear.
func (r *Rekeyer) same(c *aesbulk.CTR, x span) bool {
	for x.from < x.to {
		n := min(len(r.scratch), x.to-x.from)
		c.XOR(r.scratch[:n], r.out[x.from:x.from+n])
		if !bytes.Equal(r.scratch[:n], r.clear[x.from:x.from+n]) {
			return false
		}
		x.from += n
	}
	return true
}
