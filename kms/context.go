package kms

import (
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// Context returns what every provider authenticates along with a wrapped key:
// the KID and what the bytes are for. A provider with an encryption context of
// its own sends these entries as they are. They stay the same when a key is
// wrapped again under another KEK, and hold nothing secret: providers log them.
func Context(kid key.KID) map[string]string {
	return map[string]string{
		"kid":     kid.String(),
		"purpose": "rekey content key",
	}
}

// Canonical spells a context as one string of bytes, for providers that take
// bytes: "key=value\n" for each entry, in ascending order of keys. No key holds
// '=' and neither holds a line feed, so two contexts never spell the same.
func Canonical(context map[string]string) []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(context)) {
		b = append(b, k...)
		b = append(b, '=')
		b = append(b, context[k]...)
		b = append(b, '\n')
	}
	return b
}
