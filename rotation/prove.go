package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// proveObjects bounds the segments of a track that are looked at before work
// begins. What they leave undecided the workers go on weighing.
const proveObjects = 3

// prove weighs the old keys of a plan by the media itself, before anything is
// written. A key that is wrong fails the asset in its plan.
func (e *Engine) prove(ctx context.Context, p *journal.Plan) error {
	if p.Refusal != nil {
		return nil
	}
	keys := map[key.KID]key.ContentKey{}
	for _, k := range p.Keys {
		old, err := e.Ring.Unwrap(ctx, k.OldKID, keyring.Verify, p.Rotation)
		if errors.Is(err, keyring.ErrNotFound) {
			p.Refusal = &journal.Refusal{Object: p.Asset, Failed: true, Reason: "no key record for KID " + k.OldKID.String()}
			return nil
		}
		if err != nil {
			return err
		}
		keys[k.OldKID] = old
	}
	for i := range p.Tracks {
		object, why, err := e.proveTrack(ctx, &p.Tracks[i], keys)
		if err != nil {
			return err
		}
		if why != "" {
			p.Refusal = &journal.Refusal{Object: object, Failed: true, Reason: why}
			return nil
		}
	}
	return nil
}

// proveTrack returns the object and reason that speak against a key; empty
// where none does.
func (e *Engine) proveTrack(ctx context.Context, t *journal.Track, keys map[key.KID]key.ContentKey) (string, string, error) {
	if !t.Media {
		return "", "", nil
	}
	decrypt, object, why, err := e.decrypter(ctx, t, keys)
	if err != nil || why != "" {
		return object, why, err
	}
	var pool, stored evidence.Evidence
	looked := 0
	for _, o := range t.Objects {
		if o.Init {
			continue
		}
		b, _, err := store.ReadAll(ctx, e.Media, o.From, o.ETag, worker.MaxObject, nil)
		if err != nil {
			return refusal(o.From, err)
		}
		ev, err := decrypt(o, b)
		if err != nil {
			return o.From, err.Error(), nil
		}
		pool.Add(ev.clear)
		stored.Add(ev.stored)
		looked++
		switch {
		case pool.Verdict() == evidence.Wrong && stored.Verdict() == evidence.Right:
			return o.From, "it signals encryption, and what is stored is clear already", nil
		case pool.Verdict() == evidence.Wrong:
			return o.From, fmt.Sprintf("%v: %d structural checks of the clear media failed in %d bytes", worker.ErrWrongKey, pool.Against, pool.Bytes), nil
		case pool.Verdict() == evidence.Right:
			t.Proved = true
			return "", "", nil
		case looked == proveObjects:
			return "", "", nil
		}
	}
	return "", "", nil
}

// refusal turns an error that is about one object into a reason, and leaves the
// others, which are about the store, as errors.
func refusal(object string, err error) (string, string, error) {
	switch {
	case errors.Is(err, store.ErrPrecondition):
		return object, worker.ErrStale.Error(), nil
	case errors.Is(err, store.ErrNotFound):
		return object, "missing: a manifest leads to it and it is not in the store", nil
	default:
		return "", "", err
	}
}

// weighed is what one object says of the key: decrypted, and as it is stored.
type weighed struct{ clear, stored evidence.Evidence }

type decryptFunc func(o journal.Object, src []byte) (weighed, error)

func (e *Engine) decrypter(ctx context.Context, t *journal.Track, keys map[key.KID]key.ContentKey) (decryptFunc, string, string, error) {
	if t.Format == catalog.AES128 {
		return func(o journal.Object, src []byte) (weighed, error) {
			r, err := hls.NewDecrypter(keys[o.KID]).Segment(o.From, o.IV, src)
			return weighed{clear: r.Evidence}, err
		}, "", "", nil
	}
	b, _, err := store.ReadAll(ctx, e.Media, t.Init.Key, t.Init.ETag, catalog.MaxInit, nil)
	if err != nil {
		object, why, err := refusal(t.Init.Key, err)
		return nil, object, why, err
	}
	in, err := cenc.ParseInit(t.Init.Key, b)
	if err != nil {
		return nil, t.Init.Key, err.Error(), nil
	}
	t.Proved = true
	for _, kid := range t.OldKIDs {
		switch in.CheckKey(kid, keys[kid]) {
		case evidence.Wrong:
			return nil, t.Init.Key, fmt.Sprintf("%v: the PlayReady CHECKSUM of KID %s does not match", worker.ErrWrongKey, kid), nil
		case evidence.Undecided:
			t.Proved = false
		case evidence.Right:
		}
	}
	d, err := cenc.NewDecrypter(in, keys)
	if err != nil {
		return nil, t.Init.Key, err.Error(), nil
	}
	return func(o journal.Object, src []byte) (weighed, error) {
		r, err := d.Segment(o.From, src)
		return weighed{clear: r.Evidence, stored: r.Stored}, err
	}, "", "", nil
}
