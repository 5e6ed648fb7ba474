package rotation

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// settle takes an asset whose parts are all done to its end: proof, hand-over,
// publish, verify.
func (e *Engine) settle(ctx context.Context, state *journal.State, p *journal.Plan) error {
	o, _, err := e.Journal().Outcome(ctx, p.Rotation, p.Asset)
	if err != nil {
		return err
	}
	if o.State == journal.AssetPending {
		if _, err := e.goesOn(ctx, p.Rotation); err != nil {
			return err
		}
		weighed, err := e.weigh(ctx, *state, p)
		if err != nil {
			return err
		}
		if weighed.State == journal.AssetFailed {
			return e.outcome(ctx, p, weighed)
		}
		if err := e.handOver(ctx, state); err != nil {
			return err
		}
		findings, err := e.publish(ctx, p)
		if err != nil {
			e.takeBack(ctx, p)
		}
		var at *publishError
		if errors.As(err, &at) {
			return e.fail(ctx, p, at.object, at.err.Error())
		}
		if err != nil {
			return err
		}
		o = weighed
		o.State, o.Findings = journal.AssetPublished, append(o.Findings, findings...)
		if err := e.outcome(ctx, p, o); err != nil {
			return err
		}
	}
	return e.confirm(ctx, p, o)
}

// publishError is what stops one asset at its publish and no other.
type publishError struct {
	object string
	err    error
}

func (e *publishError) Error() string { return e.object + ": " + e.err.Error() }
func (e *publishError) Unwrap() error { return e.err }

// publish writes key objects and playlists of the new tree, create-only, then
// flips the entry manifests. Each step may be repeated. It returns what the
// asset's owner should know of its manifests.
func (e *Engine) publish(ctx context.Context, p *journal.Plan) (findings []string, err error) {
	ch, err := e.changes(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := e.Audit.Append(ctx, audit.Record{Action: "media.publish", Rotation: p.Rotation, Asset: p.Asset, Outcome: "begin"}); err != nil {
		return nil, err
	}
	for _, k := range p.Keys {
		if k.Object != nil {
			if err := e.publishKey(ctx, *k.Object, ch[k.OldKID].New); err != nil {
				return nil, err
			}
		}
	}
	rw, err := e.rewriter(ctx, p, ch)
	if err != nil {
		return nil, err
	}
	if findings, err = e.publishManifests(ctx, p, rw); err != nil {
		return nil, err
	}
	return findings, e.Audit.Append(ctx, audit.Record{Action: "media.publish", Rotation: p.Rotation, Asset: p.Asset, Outcome: "ok"})
}

// publishManifests writes the new manifests, those that viewers enter by last.
// Every flip is prepared, and its manifest compared with what the plan saw, before
// the first is made: where the records of all flips stand, so does all that the
// manifests will lead to, and the asset may be flipped from them alone.
func (e *Engine) publishManifests(ctx context.Context, p *journal.Plan, rw rewriter) (findings []string, err error) {
	keep := func(m journal.Move, old []byte) error {
		kept, err := rw.oldDRMData(m, old)
		if err != nil {
			return &publishError{object: m.From, err: err}
		}
		findings = append(findings, kept...)
		return nil
	}
	for _, m := range p.Manifests {
		if m.From == m.To {
			continue
		}
		old, err := e.publishPlaylist(ctx, m, rw)
		if err == nil {
			err = keep(m, old)
		}
		if err != nil {
			return nil, err
		}
	}
	// The last look: from here the asset is flipped, whatever becomes of the
	// rotation.
	if _, err := e.goesOn(ctx, p.Rotation); err != nil {
		return nil, err
	}
	for _, m := range p.Flips() {
		f, _, _, err := e.prepareFlip(ctx, p, m, rw)
		if err == nil {
			err = keep(m, f.Old)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, m := range p.Flips() {
		if err := e.flip(ctx, p, m, rw); err != nil {
			return nil, err
		}
	}
	return findings, nil
}

// changes unwraps the new keys: PlayReady data holds a check value of them.
func (e *Engine) changes(ctx context.Context, p *journal.Plan) (key.Changes, error) {
	ch := key.Changes{}
	for _, k := range p.Keys {
		fresh, err := e.Ring.Unwrap(ctx, k.NewKID, keyring.Encrypt, p.Rotation)
		if err != nil {
			return nil, fmt.Errorf("unwrap new key %s: %w", k.NewKID, err)
		}
		ch[k.OldKID] = key.Change{New: fresh, NewKID: k.NewKID, PSSH: k.PSSH()}
	}
	return ch, nil
}

// rewriter is what makes the new manifests of a plan whose objects are written.
func (e *Engine) rewriter(ctx context.Context, p *journal.Plan, ch key.Changes) (rewriter, error) {
	rw := rewriter{
		space: e.Space, tree: tree{base: p.Base, rotation: p.Rotation},
		moves: p.Moves(), keyURIs: p.KeyURIs(), changes: ch, grown: map[string][]journal.Growth{},
	}
	from := map[string]string{}
	for _, t := range p.Tracks {
		for _, o := range t.Objects {
			from[o.To] = o.From
		}
	}
	for r, err := range e.Journal().Parts(ctx, p.Rotation, p.Asset) {
		if err != nil {
			return rw, err
		}
		for _, o := range r.Objects {
			if len(o.Grown) > 0 {
				rw.grown[from[o.Key]] = o.Grown
			}
		}
	}
	return rw, nil
}

// publishKey writes the one thing that holds key bytes outside the keyring: the
// successor of a key object that the library publishes itself.
func (e *Engine) publishKey(ctx context.Context, m journal.Move, k key.ContentKey) error {
	info, err := e.Media.Stat(ctx, m.From)
	if err != nil {
		return atObject(m.From, err)
	}
	raw := k.RevealSecretBytes()
	_, err = store.PutOnce(ctx, e.Media, m.To, raw[:], info.Attributes)
	clear(raw[:])
	return atObject(m.To, err)
}

// publishPlaylist writes a playlist of the new tree and returns the old one.
func (e *Engine) publishPlaylist(ctx context.Context, m journal.Move, rw rewriter) (old []byte, err error) {
	old, info, err := store.ReadAll(ctx, e.Media, m.From, m.ETag, catalog.MaxManifest, nil)
	if err != nil {
		return nil, atObject(m.From, err)
	}
	out, err := rw.rewrite(m, old)
	if err != nil {
		return nil, &publishError{object: m.From, err: err}
	}
	_, err = store.PutOnce(ctx, e.Media, m.To, out, info.Attributes)
	return old, atObject(m.To, err)
}

// flip replaces one entry manifest, on the condition that it is still what the
// plan saw. A flip that was made before a crash is found by its bytes.
func (e *Engine) flip(ctx context.Context, p *journal.Plan, m journal.Move, rw rewriter) error {
	f, now, info, err := e.prepareFlip(ctx, p, m, rw)
	if err != nil {
		return err
	}
	if bytes.Equal(now, f.New) {
		return nil
	}
	_, err = e.Media.Put(ctx, m.From, f.New, store.PutOptions{IfMatch: m.ETag, Attributes: info.Attributes})
	if !errors.Is(err, store.ErrPrecondition) {
		return atObject(m.From, err)
	}
	// A retry of our own write looks like a race that was lost.
	now, _, rerr := store.ReadAll(ctx, e.Media, m.From, "", catalog.MaxManifest, nil)
	if rerr == nil && bytes.Equal(now, f.New) {
		return nil
	}
	return atObject(m.From, err)
}

// prepareFlip reads the manifest as it is and returns it with its flip.
func (e *Engine) prepareFlip(ctx context.Context, p *journal.Plan, m journal.Move, rw rewriter) (journal.Flip, []byte, store.Info, error) {
	now, info, err := store.ReadAll(ctx, e.Media, m.From, "", catalog.MaxManifest, nil)
	if err != nil {
		return journal.Flip{}, nil, info, atObject(m.From, err)
	}
	f, err := e.flipRecord(ctx, p, m, now, info, rw)
	if err == nil && f.Fence() {
		err = fmt.Errorf("flip %s: %w", m.From, ErrFenced)
	}
	if err == nil && info.ETag != m.ETag && !bytes.Equal(now, f.New) {
		err = &publishError{object: m.From, err: ErrStale}
	}
	return f, now, info, err
}

// flipRecord returns the record of the flip, written before the flip is made.
func (e *Engine) flipRecord(ctx context.Context, p *journal.Plan, m journal.Move, now []byte, info store.Info, rw rewriter) (journal.Flip, error) {
	f, err := e.Journal().Flip(ctx, p.Rotation, p.Asset, m.From)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	if info.ETag != m.ETag {
		return f, &publishError{object: m.From, err: ErrStale}
	}
	out, err := rw.rewrite(m, now)
	if err != nil {
		return f, &publishError{object: m.From, err: err}
	}
	f = journal.Flip{Key: m.From, Old: now, New: out}
	err = e.Journal().AddFlip(ctx, p.Rotation, p.Asset, f)
	if errors.Is(err, store.ErrPrecondition) {
		return e.Journal().Flip(ctx, p.Rotation, p.Asset, m.From)
	}
	return f, err
}

// atObject makes an error about one object stop its asset, and lets one about
// the store stop the drive, which can go on later.
func atObject(object string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrPrecondition):
		return &publishError{object: object, err: fmt.Errorf("%w: %w", ErrStale, err)}
	case errors.Is(err, store.ErrNotFound):
		return &publishError{object: object, err: err}
	default:
		return err
	}
}

// confirm reads a published asset back through its entry manifests.
func (e *Engine) confirm(ctx context.Context, p *journal.Plan, o journal.Outcome) error {
	a, err := catalog.Walk(ctx, e.Media, p.Asset, p.Entries, e.Options())
	if err != nil {
		return err
	}
	// Whatever comes of the rest: the manifests lead to this now, and the index
	// must not say otherwise.
	if err := e.Index().Put(ctx, a); err != nil {
		return err
	}
	rep, err := e.verify(ctx, a, false)
	if err != nil {
		return err
	}
	if len(rep.Problems) > 0 {
		o.State, o.Object, o.Reason = journal.AssetFailed, rep.Problems[0].Object, "published, and not verified: "+rep.Problems[0].Reason
		return e.outcome(ctx, p, o)
	}
	if left := leftBehind(p, a); left != "" {
		o.State, o.Object, o.Reason = journal.AssetFailed, left, "published, and under a new key by name, though this rotation did not write it"
		return e.outcome(ctx, p, o)
	}
	for _, k := range p.Keys {
		for _, kid := range a.KIDs() {
			if kid == k.OldKID {
				o.State, o.Object, o.Reason = journal.AssetFailed, p.Asset, "published, and still leads to media under KID "+kid.String()
				return e.outcome(ctx, p, o)
			}
		}
	}
	o.State, o.Object, o.Reason = journal.AssetVerified, "", ""
	return e.outcome(ctx, p, o)
}

// leftBehind finds an object that manifests name a new key of the plan for, and
// that the rotation did not write.
func leftBehind(p *journal.Plan, a *catalog.Asset) string {
	fresh := map[key.KID]bool{}
	for _, k := range p.Keys {
		fresh[k.NewKID] = true
	}
	for _, t := range a.Tracks {
		for _, s := range t.Segments {
			if s.Under(fresh) && catalog.TreeOf(s.Key) != p.Rotation {
				return s.Key
			}
		}
	}
	return ""
}
