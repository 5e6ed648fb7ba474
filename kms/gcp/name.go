package gcp

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/seed-6133abe0/rekey/kms"
)

// Scheme is what the ids of KEKs in Google Cloud KMS begin with.
const Scheme = "gcp-kms"

// The resource names of Cloud KMS. Projects of a domain hold a colon
// ("example.com:media"); versions are counted from 1.
var (
	ringName    = regexp.MustCompile(`^projects/[a-z0-9][a-z0-9.:-]{0,99}/locations/[a-z0-9-]{1,63}/keyRings/[a-zA-Z0-9_-]{1,63}$`)
	versionName = regexp.MustCompile(`^(projects/[^/]+/locations/[^/]+/keyRings/[^/]+)/cryptoKeys/([a-zA-Z0-9_-]{1,63})/cryptoKeyVersions/([1-9][0-9]{0,9})$`)
)

// version names one CryptoKeyVersion.
type version struct{ ring, key, number string }

// parseKEK reads a KEK id; what is none is kms.ErrNotFound.
func parseKEK(kek string) (version, error) {
	name, ok := strings.CutPrefix(kek, Scheme+":")
	m := versionName.FindStringSubmatch(name)
	if !ok || m == nil || !ringName.MatchString(m[1]) {
		return version{}, fmt.Errorf("%w: %.300q is not %s:projects/…/cryptoKeyVersions/…", kms.ErrNotFound, kek, Scheme)
	}
	return version{ring: m[1], key: m[2], number: m[3]}, nil
}

// cryptoKey is the resource name of the CryptoKey.
func (v version) cryptoKey() string { return v.ring + "/cryptoKeys/" + v.key }

// name is the resource name of the CryptoKeyVersion.
func (v version) name() string { return v.cryptoKey() + "/cryptoKeyVersions/" + v.number }

// kek is the KEK's id.
func (v version) kek() string { return Scheme + ":" + v.name() }
