package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// valuePrefix holds an empty object for each key under the fingerprint of its
// value: key-values/<fingerprint>/<kid>. It tells that one value stands under
// several KIDs without opening any key.
const valuePrefix = "key-values/"

// values makes fingerprints: HMAC-SHA-256 (FIPS 198-1) of a key's bytes under a
// secret of the store's own, cut to 16 bytes. Without the secret, a guess at a
// value cannot be tested. The secret is opened once.
type values struct {
	mu     sync.Mutex
	secret key.ContentKey
}

func valuesKID() key.KID { return key.KIDFromURI("rekey:fingerprints") }

func (r *Ring) fingerprint(ctx context.Context, k key.ContentKey) (string, error) {
	v := r.values
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secret.IsZero() {
		const reason = "fingerprints of key values"
		if err := r.CreateSecret(ctx, valuesKID(), reason); err != nil {
			return "", err
		}
		var err error
		if v.secret, err = r.OpenSecret(ctx, valuesKID(), reason); err != nil {
			return "", err
		}
	}
	secret, raw := v.secret.RevealSecretBytes(), k.RevealSecretBytes()
	defer clear(secret[:])
	defer clear(raw[:])
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(raw[:])
	return hex.EncodeToString(mac.Sum(nil)[:16]), nil
}

func valueName(fingerprint string, kid key.KID) string {
	return valuePrefix + fingerprint + "/" + kid.String()
}

func (r *Ring) nameValue(ctx context.Context, rec Record) error {
	_, err := store.PutOnce(ctx, r.o.Store, valueName(rec.Fingerprint, rec.KID), nil, store.Attributes{})
	return err
}

// sameValue lists the other KIDs under which a value stands.
func (r *Ring) sameValue(ctx context.Context, fingerprint string, but key.KID) ([]key.KID, error) {
	var out []key.KID
	at := valuePrefix + fingerprint + "/"
	for info, err := range r.o.Store.List(ctx, at) {
		if err != nil {
			return nil, fmt.Errorf("look for the key's value: %w", err)
		}
		kid, err := key.ParseKID(strings.TrimPrefix(info.Key, at))
		if err != nil {
			return nil, corrupt(info.Key, -1, "is not named as a key's value")
		}
		if kid == but {
			continue
		}
		// The name goes before the record, which may never have been written, or
		// later with another value. One that cannot be read counts.
		rec, err := r.Get(ctx, kid)
		switch {
		case err == nil && rec.Fingerprint == fingerprint || errors.Is(err, ErrCorrupt):
			out = append(out, kid)
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	return out, nil
}

// Twins lists the other KIDs under which a key's value stands: packagers copy one
// key file beside each rendition, and who holds the value holds all of them.
// ErrNotFound if there is no such key. No key is opened.
func (r *Ring) Twins(ctx context.Context, kid key.KID) ([]key.KID, error) {
	rec, err := r.Get(ctx, kid)
	if err != nil || rec.Fingerprint == "" {
		return nil, err
	}
	twins, err := r.sameValue(ctx, rec.Fingerprint, kid)
	if err != nil {
		return nil, fmt.Errorf("find twins of key %s: %w", kid, err)
	}
	return twins, nil
}
