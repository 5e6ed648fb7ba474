package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// uriPrefix holds one object for each key URI, named by its SHA-256, since a URI
// is no object name.
const uriPrefix = "key-uris/"

// named is the KID that a key URI stands for.
type named struct {
	URI string  `json:"uri"`
	KID key.KID `json:"kid"`
}

func uriName(uri string) string {
	sum := sha256.Sum256([]byte(uri))
	return uriPrefix + hex.EncodeToString(sum[:]) + suffix
}

// KIDOfURI is the KID of the key that is known by this URI, as it was imported or
// created; found is false where there is none. ErrCorrupt, or an error of the
// store.
func (r *Ring) KIDOfURI(ctx context.Context, uri string) (kid key.KID, found bool, err error) {
	n, err := r.readURI(ctx, uri)
	if errors.Is(err, store.ErrNotFound) {
		return key.KID{}, false, nil
	}
	if err != nil {
		return key.KID{}, false, fmt.Errorf("look up key URI: %w", err)
	}
	_, err = r.Get(ctx, n.KID)
	if errors.Is(err, ErrNotFound) { // its key was never written
		return key.KID{}, false, nil
	}
	return n.KID, err == nil, err
}

func (r *Ring) readURI(ctx context.Context, uri string) (named, error) {
	name := uriName(uri)
	b, _, err := store.ReadAll(ctx, r.o.Store, name, "", maxRecord, nil)
	if err != nil {
		return named{}, err
	}
	var n named
	if err := json.Unmarshal(b, &n); err != nil || n.URI != uri || n.KID.IsZero() {
		return named{}, corrupt(name, -1, "is not the record of this key URI")
	}
	return n, nil
}

// AddURI makes a key of the ring known by one more URI: several may lead to one
// key. ErrExists where the URI is another key's.
func (r *Ring) AddURI(ctx context.Context, kid key.KID, uri string) error {
	e := audit.Record{Action: audit.KeyImport, KID: kid.String(), Reason: "key URI added"}
	if err := checkURI(uri); err != nil {
		return r.refuse(ctx, e, err)
	}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	if err := r.nameURI(ctx, kid, uri); err != nil {
		return r.fail(ctx, e, fmt.Errorf("add key URI to %s: %w", kid, err))
	}
	return nil
}

// nameURI writes what KIDOfURI reads; no URI is none to write. It goes before the
// key's own record, since a key without its name would be asked for under another
// KID. Of two who name one URI one wins, for good: a name whose key was never
// written is waiting for that key.
func (r *Ring) nameURI(ctx context.Context, kid key.KID, uri string) error {
	if uri == "" {
		return nil
	}
	body, err := json.Marshal(named{uri, kid})
	if err != nil {
		return err
	}
	_, err = store.PutOnce(ctx, r.o.Store, uriName(uri), body, recordAttributes())
	if !errors.Is(err, store.ErrPrecondition) {
		return err
	}
	n, err := r.readURI(ctx, uri)
	if err == nil && n.KID != kid {
		err = fmt.Errorf("%w: the key URI is of KID %s", ErrExists, n.KID)
	}
	return err
}
