package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Create makes a new random key under kid. If the rotation named made that key
// before, under the same URI, its record is returned as it stands now: a
// rotation that starts again finds its keys. Anything else that stands there is
// ErrExists; without a rotation, whatever stands there.
func (r *Ring) Create(ctx context.Context, kid key.KID, uri, rotation string) (Record, error) {
	e := audit.Record{Action: audit.KeyCreate, KID: kid.String(), Rotation: rotation}
	rec, err := r.create(ctx, e, kid, uri)
	if err != nil {
		return Record{}, fmt.Errorf("create key %s: %w", kid, err)
	}
	return rec, nil
}

func (r *Ring) create(ctx context.Context, e audit.Record, kid key.KID, uri string) (Record, error) {
	if kid.IsZero() {
		return Record{}, r.refuse(ctx, e, fmt.Errorf("%w: a KID of zeros names no key", ErrSyntax))
	}
	if err := checkURI(uri); err != nil {
		return Record{}, r.refuse(ctx, e, err)
	}
	rec, _, err := r.read(ctx, objectName(kid))
	if errors.Is(err, ErrNotFound) {
		rec = Record{KID: kid, URI: uri, Rotation: e.Rotation, History: []Event{r.event(Active, "created", e.Rotation)}}
		rec, err = r.add(ctx, e, key.NewContentKey(), rec)
		if err == nil || !errors.Is(err, store.ErrPrecondition) {
			return rec, err
		}
		// Someone else made it in between: perhaps for this very rotation.
		rec, _, err = r.read(ctx, objectName(kid))
	}
	if err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	if e.Rotation == "" || rec.Rotation != e.Rotation || rec.URI != uri {
		return Record{}, r.refuse(ctx, e, ErrExists)
	}
	return rec, r.note(ctx, e, audit.Exists)
}
