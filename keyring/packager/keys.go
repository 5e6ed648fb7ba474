package packager

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/key"
)

// ErrInput: what is to be written cannot be, in that packager's syntax.
var ErrInput = errors.New("not for this packager")

// Key is one content key.
type Key struct {
	KID key.KID
	Key key.ContentKey
	// Label is Shaka Packager's DRM label, which ties the key to streams
	// ("AUDIO", "SD", …); "" is the key of every stream without a key of its own.
	Label string
}

// check wants at least one key, each with a KID and a value, and no KID twice.
func check(keys []Key) error {
	if len(keys) == 0 {
		return fmt.Errorf("%w: no keys", ErrInput)
	}
	seen := map[key.KID]bool{}
	for _, k := range keys {
		switch {
		case k.KID.IsZero():
			return fmt.Errorf("%w: a KID of zeros names no key", ErrInput)
		case k.Key.IsZero():
			return fmt.Errorf("%w: KID %s has no key", ErrInput, k.KID)
		case seen[k.KID]:
			return fmt.Errorf("%w: KID %s twice", ErrInput, k.KID)
		}
		seen[k.KID] = true
	}
	return nil
}

// appendKey appends the key in hex.
func appendKey(b []byte, k key.ContentKey) []byte {
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	return hex.AppendEncode(b, raw[:])
}
