package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// CreateOptions says more of a key that is made. All fields may be empty.
type CreateOptions struct {
	URI      string   // the HLS key URI it will be known by
	Rotation string   // that it is made for
	Asset    string   // that it is made for
	Scheme   string   // that the asset's media is encrypted with
	Tags     []string // pick the lifetimes that apply
	// Key is a value that a key service made. Zero: a new random one
	// (crypto/rand, 128 bits).
	Key key.ContentKey
	// DRM is what a key service gave along with the value.
	DRM []DRM
}

// Create makes a new key under kid. If the rotation named made that key before,
// under the same URI, its record is returned as it stands now: a rotation that
// starts again finds its keys. Anything else that stands there is ErrExists, such
// as another value than the one given; without a rotation, whatever stands there.
// So is a key whose record was lost and whose events are left: its value is not
// known. A value given that is weak, or stands under another KID, is ErrWeak.
func (r *Ring) Create(ctx context.Context, kid key.KID, o CreateOptions) (Record, error) {
	e := audit.Record{Action: audit.KeyCreate, KID: kid.String(), Rotation: o.Rotation, Asset: o.Asset}
	rec, err := r.create(ctx, e, kid, o)
	if err != nil {
		return Record{}, fmt.Errorf("create key %s: %w", kid, err)
	}
	return rec, nil
}

func (r *Ring) create(ctx context.Context, e audit.Record, kid key.KID, o CreateOptions) (Record, error) {
	if kid.IsZero() {
		return Record{}, r.refuse(ctx, e, fmt.Errorf("%w: a KID of zeros names no key", ErrSyntax))
	}
	if err := errors.Join(checkURI(o.URI), checkTags(o.Tags)); err != nil {
		return Record{}, r.refuse(ctx, e, err)
	}
	rec, _, err := r.read(ctx, kid)
	if errors.Is(err, ErrNotFound) {
		rec, err = r.createNew(ctx, e, kid, o)
		if err == nil || !errors.Is(err, store.ErrPrecondition) {
			return rec, err
		}
		// Someone else made it in between: perhaps for this very rotation.
		rec, _, err = r.read(ctx, kid)
	}
	if err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	same := e.Rotation != "" && rec.Rotation == e.Rotation && rec.URI == o.URI
	if same && !o.Key.IsZero() {
		if same, err = r.same(ctx, rec, o.Key); err != nil {
			return Record{}, r.fail(ctx, e, err)
		}
	}
	if !same {
		return Record{}, r.refuse(ctx, e, ErrExists)
	}
	return rec, r.note(ctx, e, audit.Exists)
}

func (r *Ring) createNew(ctx context.Context, e audit.Record, kid key.KID, o CreateOptions) (Record, error) {
	k := o.Key
	if k.IsZero() {
		k = key.NewContentKey()
	} else if weak(kid, k) {
		return Record{}, r.refuse(ctx, e, ErrWeak)
	} else if err := r.checkValue(ctx, &e, kid, k, false); err != nil {
		return Record{}, err
	}
	rec := Record{
		KID: kid, State: Active, URI: o.URI, Rotation: o.Rotation, Asset: o.Asset, Scheme: o.Scheme, Tags: o.Tags, DRM: o.DRM,
		History: []Event{r.event(Active, "created", o.Rotation)},
	}
	switch n, err := r.catchUp(ctx, &rec); {
	case err != nil:
		return Record{}, r.fail(ctx, e, err)
	case n > 0:
		return Record{}, r.refuse(ctx, e, fmt.Errorf("%w: its record was lost, and %d events of it are left", ErrExists, n))
	}
	return r.add(ctx, e, k, rec)
}
