package vault

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/seed-6133abe0/rekey/kms"
)

// Scheme is what the ids of KEKs in a transit engine begin with.
const Scheme = "vault"

// markerPrefix begins the names of keys that mark others for destruction. Names
// that Create takes hold no dot, and parseKEK takes none that begins with it.
const markerPrefix = "rekey-destroy."

// keyName is what transit takes for a key's name, bounded.
var keyName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_])?$`)

// transitKey names one key of the mount.
type transitKey struct{ mount, name string }

// parseKEK reads the id of a KEK in the mount; what is none is kms.ErrNotFound.
func parseKEK(mount, kek string) (transitKey, error) {
	name, ok := strings.CutPrefix(kek, Scheme+":"+mount+"/")
	if !ok || !keyName.MatchString(name) || strings.HasPrefix(name, markerPrefix) {
		return transitKey{}, fmt.Errorf("%w: %.300q is not %s:%s/<key name>", kms.ErrNotFound, kek, Scheme, mount)
	}
	return transitKey{mount, name}, nil
}

// kek is the KEK's id.
func (k transitKey) kek() string { return Scheme + ":" + k.mount + "/" + k.name }

// path is the key's own, under /v1/.
func (k transitKey) path() string { return k.mount + "/keys/" + k.name }

// use is the path of encrypt and decrypt.
func (k transitKey) use(operation string) string { return k.mount + "/" + operation + "/" + k.name }

// marker is the key that marks this one for destruction.
func (k transitKey) marker() transitKey { return transitKey{k.mount, markerPrefix + k.name} }
