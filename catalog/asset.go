package catalog

import (
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// Object is one stored object as it was when it was looked at.
type Object struct {
	Key  string `json:"key"`
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

// Format says how a track's objects are encrypted.
type Format string

// The formats that a track can have.
const (
	Clear  Format = "clear"
	CENC   Format = "cenc"
	AES128 Format = "aes-128"
)

// Segment is one media object of a track.
type Segment struct {
	Object
	// KID is the content key of an AES-128 segment; zero where it is clear. A
	// CENC segment's key is its track's.
	KID key.KID `json:"kid,omitzero"`
	// IV of an AES-128 segment, explicit or implicit (RFC 8216 §5.2).
	IV key.IV `json:"iv,omitzero"`
}

// Track is one rendition or Representation.
type Track struct {
	// ID is the key of its init section or of its single file, or of its media
	// playlist where it has neither.
	ID     string `json:"id"`
	Format Format `json:"format"`
	// Scheme is cenc, AES-128 or empty.
	Scheme string  `json:"scheme,omitempty"`
	Init   *Object `json:"init,omitempty"`
	// Single is true where one object holds the init section and all media: it
	// is the only one of Segments, and Init is nil.
	Single bool `json:"single,omitempty"`
	// KIDs are the content keys its media is encrypted with.
	KIDs []key.KID `json:"kids,omitempty"`
	// PSSHKIDs are the KIDs that its init section's PSSH boxes name.
	PSSHKIDs []key.KID `json:"pssh_kids,omitempty"`
	Segments []Segment `json:"segments"`
}

// Uses reports whether the track's media is encrypted with kid.
func (t Track) Uses(kid key.KID) bool { return slices.Contains(t.KIDs, kid) }

// Names reports whether the track's init section names kid anywhere.
func (t Track) Names(kid key.KID) bool {
	return t.Uses(kid) || slices.Contains(t.PSSHKIDs, kid)
}

// Bytes is the size of the track's media, its init section included.
func (t Track) Bytes() int64 {
	var n int64
	if t.Init != nil {
		n = t.Init.Size
	}
	for _, s := range t.Segments {
		n += s.Size
	}
	return n
}

// Objects counts the track's media objects, its init section included.
func (t Track) Objects() int {
	if t.Init != nil {
		return len(t.Segments) + 1
	}
	return len(t.Segments)
}

// ManifestKind is hls or dash.
type ManifestKind string

// The kinds of manifest.
const (
	HLS  ManifestKind = "hls"
	DASH ManifestKind = "dash"
)

// Manifest is one manifest of an asset's closure.
type Manifest struct {
	Object
	Kind  ManifestKind `json:"kind"`
	Entry bool         `json:"entry"`
}

// KeyObject is an HLS key that the library itself publishes.
type KeyObject struct {
	Object
	KID key.KID `json:"kid"`
}

// Refusal names the object that rekey does not understand, and why.
type Refusal struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
}

// Asset is the closure of the entry manifests that share media.
type Asset struct {
	ID        string      `json:"id"`
	Manifests []Manifest  `json:"manifests"`
	Tracks    []Track     `json:"tracks"`
	Keys      []KeyObject `json:"keys,omitempty"`
	// Refusals is empty for an asset that can be rekeyed.
	Refusals []Refusal `json:"refusals,omitempty"`
	// Opaque is true where the asset could not be read far enough to tell all
	// the keys it uses.
	Opaque bool `json:"opaque,omitempty"`
}

// KIDs are the content keys that the asset's media is encrypted with, sorted.
func (a *Asset) KIDs() []key.KID {
	seen := map[key.KID]bool{}
	for _, t := range a.Tracks {
		for _, k := range t.KIDs {
			seen[k] = true
		}
	}
	kids := make([]key.KID, 0, len(seen))
	for k := range seen {
		kids = append(kids, k)
	}
	slices.SortFunc(kids, func(x, y key.KID) int { return slices.Compare(x[:], y[:]) })
	return kids
}

// Entries are the asset's entry manifests, in key order.
func (a *Asset) Entries() []Manifest {
	var out []Manifest
	for _, m := range a.Manifests {
		if m.Entry {
			out = append(out, m)
		}
	}
	return out
}

func (a *Asset) refuse(object, reason string) {
	reason = strings.TrimPrefix(strings.TrimPrefix(reason, "read "), object+": ")
	r := Refusal{Object: object, Reason: reason}
	if !slices.Contains(a.Refusals, r) {
		a.Refusals = append(a.Refusals, r)
	}
}
