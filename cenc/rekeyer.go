package cenc

import (
	"bytes"
	"fmt"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// Result is what one segment came to. Its slices are valid until the next call.
type Result struct {
	// Out is the rekeyed object; nil from a Decrypter.
	Out []byte
	// Clear is the canonical clear form: the object with the samples decrypted,
	// their IVs under AES-CTR zeroed, and zeros for every KID in a sample group
	// and for the content of every pssh box in moof, with the free box after it
	// taken into it. Nothing else is changed, so that an object before and after
	// rekeying has the same. Samples whose KID
	// does not change stay as they are in it.
	Clear []byte
	// Samples counts the protected samples that were decrypted, Protected their
	// encrypted bytes.
	Samples   int
	Protected int64
	// Evidence says whether the old key was the right one. With several KIDs in
	// the object it is as strong as the weakest of them.
	Evidence evidence.Evidence
	// ByKID is the evidence for each old key by itself, for pooling over objects.
	ByKID map[key.KID]evidence.Evidence
	// Stored says the same of the bytes as they were stored, looked at as if they
	// were clear. It is left empty unless Evidence is Wrong. Pooled over a track
	// it tells clear media in disguise where one object is too little to.
	Stored evidence.Evidence
	// Readings is how cens samples were read; zero where the question did not
	// come up.
	Readings Readings
	Findings []Finding
	// Kept lists the KIDs of protected samples that were left as they are.
	Kept []key.KID
}

// Finding is something a person should know about the old media. It stops
// nothing.
type Finding struct {
	Object string
	Code   string // iv-reuse, iv-copies, counter-carry, counter-wrap, old-drm-data
	Sample int    // the first sample concerned, by index in the object
	Count  int    // samples concerned; pssh boxes, of old-drm-data
	Reason string
}

// String says it on one line, without the object.
func (f Finding) String() string {
	if f.Code == FindingOldDRM {
		return f.Code + ": " + f.Reason
	}
	return fmt.Sprintf("%s from sample %d, %d samples: %s", f.Code, f.Sample, f.Count, f.Reason)
}

// Codes of findings.
const (
	FindingIVReuse  = "iv-reuse"
	FindingIVCopies = "iv-copies"
	FindingCarry    = "counter-carry"
	FindingWrap     = "counter-wrap"
	// FindingOldDRM: new DRM data does not go where the old stood.
	FindingOldDRM = "old-drm-data"
)

// Options say what the media itself may be too short to tell.
type Options struct {
	// Readings are what was found in other objects of the same track.
	Readings Readings
}

// Rekeyer rekeys the segments of one init section. It keeps its buffers, so
// there is one for each goroutine.
type Rekeyer struct {
	pass
	changes key.Changes
	out     []byte
}

// NewRekeyer returns a Rekeyer for the samples of in whose KID is in ch. It
// refuses what in.Supported refuses, and changes that change nothing: a KID or
// key that stays.
func NewRekeyer(in *Init, ch key.Changes, o Options) (*Rekeyer, error) {
	if err := in.Supported(); err != nil {
		return nil, err
	}
	r := &Rekeyer{pass: newPass(in, o.Readings), changes: ch}
	return r, r.addChanges(ch)
}

func (p *pass) addChanges(ch key.Changes) error {
	if err := p.in.checkReplacements(ch); err != nil {
		return err
	}
	newKIDs := map[key.KID]key.ContentKey{}
	for kid, c := range ch {
		if c.Old.IsZero() || c.New.IsZero() {
			return p.in.missing(kid, "the change has no old or no new key")
		}
		if c.NewKID == kid || c.New.Equal(c.Old) {
			return p.in.missing(kid, "the change keeps the KID or the key")
		}
		if _, ok := ch[c.NewKID]; ok {
			return p.in.missing(kid, "the new KID is the old one of another change")
		}
		if k, ok := newKIDs[c.NewKID]; ok && !k.Equal(c.New) {
			return p.in.missing(kid, "the new KID stands for two keys")
		}
		newKIDs[c.NewKID] = c.New
		p.keys[kid] = &change{newCiphers(c.Old.Block()), newCiphers(c.New.Block()), c.NewKID}
	}
	return nil
}

// missing is an ErrMissingKey about one key.
func (in *Init) missing(kid key.KID, reason string) error {
	return &Error{in.object, "moov", 0, fmt.Sprintf("KID %v: %s", kid, reason), ErrMissingKey}
}

// Segment rekeys one object: decrypt, look at the evidence, encrypt under the
// new key with the IVs of p, decrypt that again and compare. An object that has
// nothing to change comes back as it is. src is only read.
//
// Evidence of a wrong key is not an error; the caller pools it and decides.
// ErrClear is returned when the stored bytes are positively right and the
// decrypted ones positively wrong: the media is not encrypted at all.
func (r *Rekeyer) Segment(p Place, src []byte) (Result, error) {
	r.begin()
	if !r.in.Encrypted() {
		return Result{Out: src, Clear: src}, nil
	}
	if err := r.seg.scan(r.in, p.Object, src); err != nil {
		return Result{}, err
	}
	n, err := r.prepare(r.seg.samples, 0, src)
	if err != nil {
		return Result{}, err
	}
	if n == 0 && len(r.seg.kidAt)+len(r.seg.pssh) == 0 {
		return Result{Out: src, Clear: src, Kept: r.kept}, nil
	}
	if err := p.check(&r.seg); err != nil {
		return Result{}, err
	}
	r.clear, r.out = grow(r.clear, len(src)), grow(r.out, len(src))
	r.transform(r.seg.samples, 0, src, r.clear, r.out, p)
	if err := r.finish(p); err != nil {
		return Result{}, err
	}
	res, err := r.result(src)
	res.Out = r.out
	return res, err
}

// finish writes the IVs and names after all copying, for they may stand on
// either side of their samples, and reads the result again.
func (r *Rekeyer) finish(p Place) error {
	r.putIVs(r.seg.samples, r.clear, r.seg.base, p, true)
	r.putIVs(r.seg.samples, r.out, r.seg.base, p, false)
	if err := r.putNames(r.out, r.clear, r.changes); err != nil {
		return err
	}
	r.check.reset(r.in, p.Object, r.out, r.seg.base, r.seg.first)
	if err := r.check.scanWindow(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return r.verify(r.seg.samples, r.check.samples, r.seg.base, r.out, r.clear)
}

// result weighs the evidence of one object.
func (p *pass) result(src []byte) (Result, error) {
	res := Result{Clear: p.clear, Samples: p.count, Protected: p.protected, Evidence: p.weigh(), ByKID: p.weighKIDs(), Readings: p.read, Kept: p.kept}
	if res.Evidence.Verdict() == evidence.Wrong {
		p.stored(p.seg.samples, 0, src)
		res.Stored = p.weigh()
	}
	if res.Stored.Verdict() == evidence.Right {
		return Result{}, p.seg.fail(ErrClear, 0, "%d bytes signalled as encrypted are clear media as they stand", p.protected)
	}
	res.Findings = p.findings()
	return res, nil
}

// verify reads samples as a stranger would, from the second scan, decrypts them
// and compares them with their clear form, byte for byte. out and cl begin at
// base.
func (p *pass) verify(old, samples []sample, base int, out, cl []byte) error {
	if err := p.sameSamples(old, samples, base); err != nil {
		return err
	}
	for i := range samples {
		sm := &samples[i]
		k := p.use[old[i].prot]
		if k == nil {
			continue
		}
		p.fill(&p.check, sm)
		p.scratch = grow(p.scratch, int(sm.size))
		p.msg.decrypt(k.new, p.seg.prots[old[i].prot].scheme, p.scratch, out[sm.data-base:sm.end()-base])
		if !bytes.Equal(p.scratch, cl[sm.data-base:sm.end()-base]) {
			return p.check.fail(ErrVerify, sm.data, "sample %d does not decrypt to its clear bytes", sm.index)
		}
	}
	return nil
}

// sameSamples compares two scans: the samples must be where they were, and under
// the keys that they should be under now.
func (p *pass) sameSamples(old, now []sample, base int) error {
	if len(now) != len(old) {
		return p.check.fail(ErrVerify, base, "%d samples became %d", len(old), len(now))
	}
	was, is := int32(-1), int32(-1) // the pair that was compared last
	for i := range now {
		x := now[i]
		if x.prot = old[i].prot; x != old[i] {
			return p.check.fail(ErrVerify, x.data, "sample %d is not where it was", x.index)
		}
		if old[i].prot == was && now[i].prot == is {
			continue
		}
		if was, is = old[i].prot, now[i].prot; !p.renamed(was, is) {
			return p.check.fail(ErrVerify, x.data, "sample %d was under KID %v and is under KID %v", x.index, p.seg.prots[was].kid, p.check.prots[is].kid)
		}
	}
	return nil
}

// renamed tells whether a protection of the second scan is the first one's, with
// the new KID where the bytes that were scanned name it. What only moov names is
// checked where moov is written.
func (p *pass) renamed(old, now int32) bool {
	was, is := p.seg.prots[old], p.check.prots[now]
	inMoov := p.check.in == p.in && (int(old) < len(p.in.prots) || was.group > 0 && was.group <= localGroups)
	if k := p.use[old]; k != nil && !inMoov {
		was.kid = k.newKID
	}
	was.pool, is.pool = 0, 0
	return was == is
}
