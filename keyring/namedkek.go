package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// namesPrefix holds which KEK was made for this store under a name, since key
// services do not all tell: kek-names/<scheme>/<name>.json.
const namesPrefix = "kek-names/"

const maxNamedKEK = 8 << 10 // bytes

type namedKEK struct {
	KEK string `json:"kek"`
}

func nameOfKEK(scheme, name string) string { return namesPrefix + scheme + "/" + name + suffix }

// NameKEK writes down that a KEK was made under a name, for who goes on where that
// was broken off.
func (r *Ring) NameKEK(ctx context.Context, name, kek string) error {
	b, err := json.Marshal(namedKEK{kek})
	if err == nil {
		_, err = r.o.Store.Put(ctx, nameOfKEK(kms.Scheme(kek), name), append(b, '\n'), store.PutOptions{Attributes: recordAttributes()})
	}
	if err != nil {
		return fmt.Errorf("name KEK %s: %w", kek, err)
	}
	return nil
}

// KEKNamed is the KEK that was last made for this store under a name; ErrNotFound
// where none was, or someone died before it was written down.
func (r *Ring) KEKNamed(ctx context.Context, scheme, name string) (string, error) {
	if err := kms.CheckName(name); err != nil {
		return "", err
	}
	object := nameOfKEK(scheme, name)
	b, _, err := store.ReadAll(ctx, r.o.Store, object, "", maxNamedKEK, nil)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("%w: no KEK of the name %s was made here", ErrNotFound, name)
	}
	if err != nil {
		return "", fmt.Errorf("look for KEK %s: %w", name, err)
	}
	var n namedKEK
	if err := strictjson.Decode(b, &n); err != nil {
		return "", corrupt(object, -1, err.Error())
	}
	if kms.Scheme(n.KEK) != scheme {
		return "", corrupt(object, -1, "names no KEK of "+scheme)
	}
	return n.KEK, nil
}
