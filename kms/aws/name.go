package aws

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/seed-6133abe0/rekey/kms"
)

// Scheme is what the ids of KEKs in AWS KMS begin with.
const Scheme = "aws-kms"

// Create names a key twice: by its alias, which takes the name, and by its
// description, which DescribeKey tells.
const (
	aliasPrefix       = "alias/rekey-"
	descriptionPrefix = "rekey KEK "
)

// The ARNs of KMS keys; a multi-Region key's id begins with mrk-. The region
// becomes part of a host name, so no dot or slash may be in it.
var (
	regionName = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{1,16}){1,3}-[0-9]{1,2}$`)
	keyName    = regexp.MustCompile(`^arn:aws(?:-[a-z]{1,8}){0,2}:kms:([a-z0-9-]{1,64}):[0-9]{12}:key/(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)
)

// keyARN names one KMS key.
type keyARN struct{ arn, region string }

// parseKEK reads a KEK id; what is none is kms.ErrNotFound.
func parseKEK(kek string) (keyARN, error) {
	arn, ok := strings.CutPrefix(kek, Scheme+":")
	m := keyName.FindStringSubmatch(arn)
	if !ok || m == nil || !regionName.MatchString(m[1]) {
		return keyARN{}, fmt.Errorf("%w: %.300q is not %s:arn:aws:kms:…:key/…", kms.ErrNotFound, kek, Scheme)
	}
	return keyARN{arn: arn, region: m[1]}, nil
}

// kek is the KEK's id.
func (k keyARN) kek() string { return Scheme + ":" + k.arn }

// nameOf reads the description of a key that Create made; "" is any other's.
func nameOf(description string) string {
	name, ok := strings.CutPrefix(description, descriptionPrefix)
	if !ok || kms.CheckName(name) != nil {
		return ""
	}
	return name
}
