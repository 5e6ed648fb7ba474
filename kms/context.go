package kms

import (
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// Context returns what every provider authenticates along with a wrapped key:
// the KEK's id, the KID and what the bytes are for. A provider with an
// encryption context of its own sends these entries as they are.
func Context(kek string, kid key.KID) map[string]string {
	return map[string]string{
		"kek":     kek,
		"kid":     kid.String(),
		"purpose": "rekey content key",
	}
}

// canonical spells a context as one string of bytes: "key=value\n" for each
// entry, in ascending order of keys. No key holds '=' and neither holds a line
// feed, so two contexts never spell the same.
func canonical(context map[string]string) []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(context)) {
		b = append(b, k...)
		b = append(b, '=')
		b = append(b, context[k]...)
		b = append(b, '\n')
	}
	return b
}
