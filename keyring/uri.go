package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
// key. ErrExists where the URI is another key's, ErrNotFound where the key is not
// there. One that it has already is no error.
func (r *Ring) AddURI(ctx context.Context, kid key.KID, uri string) error {
	e := audit.Record{Action: audit.KeyImport, KID: kid.String(), Reason: reasonURI}
	err := checkURI(uri)
	if err == nil && uri == "" {
		err = fmt.Errorf("%w: no key URI given", ErrSyntax)
	}
	if err != nil {
		return r.refuse(ctx, e, err)
	}
	err = r.change(ctx, e, kid, func(rec Record, e *audit.Record) (Event, error) {
		if rec.hasURI(uri) {
			e.Outcome = audit.Exists
			return Event{}, errSettled
		}
		return r.addURI(ctx, rec, uri)
	})
	if err != nil {
		return fmt.Errorf("add key URI to %s: %w", kid, err)
	}
	return nil
}

const reasonURI = "key URI added"

// addURI is the event that gives a key a URI, if that is no other key's.
func (r *Ring) addURI(ctx context.Context, rec Record, uri string) (Event, error) {
	n, err := r.readURI(ctx, uri)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Event{}, err
	}
	if err == nil && n.KID != rec.KID {
		return Event{}, fmt.Errorf("%w: the key URI is of KID %s", ErrExists, n.KID)
	}
	ev := r.event(rec.State, reasonURI, "")
	ev.URI = uri
	return ev, nil
}

// uris are all by which a key is known, each once.
func (r Record) uris() []string {
	var out []string
	if r.URI != "" {
		out = append(out, r.URI)
	}
	for _, e := range r.History {
		if e.URI != "" && !slices.Contains(out, e.URI) {
			out = append(out, e.URI)
		}
	}
	return out
}

func (r Record) hasURI(uri string) bool { return slices.Contains(r.uris(), uri) }

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
