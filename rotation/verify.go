package rotation

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// Report is what a verification found. JSON shape: {"asset","objects","bytes",
// "equal","right","undecided","problems":[{"object","reason"}]}.
type Report struct {
	Asset   string `json:"asset"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
	// Equal counts media objects whose clear form has the digest that was
	// taken from the old ciphertext.
	Equal int `json:"equal"`
	// Right counts tracks whose key is proved, by PlayReady's CHECKSUM or by the
	// clear media; Undecided those where neither does, nor a digest.
	Right     int               `json:"right"`
	Undecided int               `json:"undecided"`
	Problems  []catalog.Refusal `json:"problems"`
}

// Verify decrypts and checks everything that an asset or one entry manifest
// leads to, with the keys it names.
func (e *Engine) Verify(ctx context.Context, name string) (Report, error) {
	if !catalog.IsManifest(name) {
		a, err := e.walk(ctx, name)
		if err != nil {
			return Report{}, err
		}
		return e.verify(ctx, a, true)
	}
	id, err := e.assetOf(ctx, name)
	if err != nil {
		return Report{}, err
	}
	a, err := catalog.Walk(ctx, e.Media, id, []string{name}, e.Options())
	if err != nil {
		return Report{}, err
	}
	rep, err := e.verify(ctx, a, true)
	rep.Asset = name
	return rep, err
}

// assetOf is the indexed asset that an entry manifest belongs to; the manifest's
// own name where there is none.
func (e *Engine) assetOf(ctx context.Context, manifest string) (string, error) {
	for s, err := range e.Index().Summaries(ctx) {
		if err != nil {
			return "", err
		}
		if slices.Contains(s.Entries, manifest) {
			return s.Asset, nil
		}
	}
	return manifest, nil
}

// verify reads everything, or, where full is not set, the first and last
// segment of each track; of the others it compares the size with the record of
// what was written, whose bytes the worker has proved.
func (e *Engine) verify(ctx context.Context, a *catalog.Asset, full bool) (Report, error) {
	v := &verifier{e: e, full: full, rep: Report{Asset: a.ID, Problems: []catalog.Refusal{}}, digests: map[string]digests{}}
	v.rep.Problems = append(v.rep.Problems, a.Refusals...)
	for _, k := range a.Keys {
		if err := v.keyObject(ctx, k); err != nil {
			return v.rep, err
		}
	}
	for _, t := range a.Tracks {
		if err := v.track(ctx, a.ID, t); err != nil {
			return v.rep, err
		}
	}
	return v.rep, nil
}

// digests are the records of one rotation's objects.
type digests struct {
	mac cipher.AEAD
	of  map[string]journal.ObjectRecord
	// kids are the new keys: what was under others when the digests were taken
	// stayed as it was in them.
	kids map[key.KID]bool
}

type verifier struct {
	e       *Engine
	full    bool
	rep     Report
	digests map[string]digests
	buf     []byte
}

func (v *verifier) problem(object string, err error) {
	v.rep.Problems = append(v.rep.Problems, catalog.Refusal{Object: object, Reason: err.Error()})
}

// keep returns err where it is about the store or the key service and not about one
// object, and otherwise counts it as a problem of the object.
func (v *verifier) keep(object string, err error) error {
	for _, class := range []error{
		store.ErrUnavailable, store.ErrDenied, context.Canceled, context.DeadlineExceeded,
		kms.ErrThrottled, kms.ErrUnavailable, kms.ErrDenied, kms.ErrDisabled,
	} {
		if errors.Is(err, class) {
			return err
		}
	}
	v.problem(object, err)
	return nil
}

// keyObject compares what a player would fetch with the key on record.
func (v *verifier) keyObject(ctx context.Context, k catalog.KeyObject) error {
	want, err := v.e.Ring.Unwrap(ctx, k.KID, keyring.Verify, "")
	if err != nil {
		return v.keep(k.Key, err)
	}
	b, _, err := store.ReadAll(ctx, v.e.Media, k.Key, k.ETag, 16, nil)
	if err != nil {
		return v.keep(k.Key, err)
	}
	got, err := key.ContentKeyFromBytes(b)
	clear(b)
	if err != nil || !got.Equal(want) {
		v.problem(k.Key, errors.New("the key object does not hold the key on record"))
	}
	return nil
}

func (v *verifier) track(ctx context.Context, asset string, t catalog.Track) error {
	var open openFunc
	var c trackCount
	// What a rotation did not write needs no proof that it did not change.
	if v.full || slices.ContainsFunc(t.Segments, func(s catalog.Segment) bool { return catalog.InTree(s.Key) }) {
		var err error
		if open, c.proved, err = v.opener(ctx, t); err != nil {
			return v.keep(t.ID, err)
		}
	}
	if t.Init != nil {
		v.rep.Objects++
		v.rep.Bytes += t.Init.Size
	}
	for i, s := range t.Segments {
		v.rep.Objects++
		v.rep.Bytes += s.Size
		d, err := v.recordsOf(ctx, asset, s.Key)
		if err != nil {
			return err
		}
		if r, ok := d.of[s.Key]; ok && r.Size != s.Size {
			v.problem(s.Key, fmt.Errorf("it has %d bytes, %d were written", s.Size, r.Size))
			continue
		}
		if open == nil || (!v.full && i != 0 && i != len(t.Segments)-1) {
			continue
		}
		if err := v.segment(ctx, s, open, d, &c); err != nil {
			return err
		}
	}
	v.count(t, c)
	return nil
}

// trackCount is what the segments of one track came to.
type trackCount struct {
	pool          evidence.Evidence
	opened, equal int
	// proved by a check value, which is exact.
	proved bool
}

// segment decrypts one segment as a player would and compares its clear form
// with the digest that the rotation took (a GMAC, SP 800-38D).
func (v *verifier) segment(ctx context.Context, s catalog.Segment, open openFunc, d digests, c *trackCount) error {
	b, _, err := store.ReadAll(ctx, v.e.Media, s.Key, s.ETag, worker.MaxObject, v.buf)
	if err != nil {
		return v.keep(s.Key, err)
	}
	v.buf = b
	o, err := open(s, b, nil)
	if err != nil {
		v.problem(s.Key, err)
		return nil
	}
	c.opened++
	c.pool.Add(o.evidence)
	r, ok := d.of[s.Key]
	if !ok {
		return nil
	}
	if !o.within(d.kids) {
		if o, err = open(s, b, d.kids); err != nil {
			v.problem(s.Key, err)
			return nil
		}
	}
	if _, err := d.mac.Open(nil, nil, r.Digest, o.clear); err != nil {
		v.problem(s.Key, errors.New("its clear media is not what the old object's was"))
		return nil
	}
	c.equal++
	return nil
}

func (v *verifier) count(t catalog.Track, c trackCount) {
	v.rep.Equal += c.equal
	if t.Format == catalog.Clear {
		return
	}
	switch verdict := c.pool.Verdict(); {
	case verdict == evidence.Wrong:
		v.problem(t.ID, fmt.Errorf("%w for what the manifests lead to", worker.ErrWrongKey))
	case verdict == evidence.Right, c.proved:
		v.rep.Right++
	case c.equal < c.opened:
		v.rep.Undecided++
	}
}

// recordsOf returns the records of the rotation that wrote the object; none for
// an original.
func (v *verifier) recordsOf(ctx context.Context, asset, k string) (digests, error) {
	r := catalog.TreeOf(k)
	if r == "" {
		return digests{}, nil
	}
	if d, ok := v.digests[r]; ok {
		return d, nil
	}
	d, err := v.load(ctx, r, asset)
	if err == nil {
		v.digests[r] = d
	}
	return d, err
}

func (v *verifier) load(ctx context.Context, rotation, asset string) (digests, error) {
	d := digests{of: map[string]journal.ObjectRecord{}, kids: map[key.KID]bool{}}
	_, _, err := v.e.Journal().State(ctx, rotation)
	if errors.Is(err, journal.ErrNoRotation) {
		// Its journal is gone, and its digests with it.
		return d, nil
	}
	if err != nil {
		return d, err
	}
	k, err := v.e.Ring.OpenSecret(ctx, worker.MACKeyKID(rotation), "verify "+asset)
	if err != nil {
		return d, fmt.Errorf("unwrap MAC key: %w", err)
	}
	if d.mac, err = cipher.NewGCMWithRandomNonce(k.Block()); err != nil {
		return d, err
	}
	plan, err := v.e.Journal().Plan(ctx, rotation, asset)
	if err != nil {
		return d, err
	}
	for _, c := range plan.Keys {
		d.kids[c.NewKID] = true
	}
	for r, err := range v.e.Journal().Parts(ctx, rotation, asset) {
		if err != nil {
			return d, err
		}
		for _, o := range r.Objects {
			d.of[o.Key] = o
		}
	}
	return d, nil
}
