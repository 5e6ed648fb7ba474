package journal

import (
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

// Plan decides everything about one asset before anything is touched: keys,
// names, numbers and source ETags. Any run of any part of it writes the same
// bytes.
type Plan struct {
	Rotation string `json:"rotation"`
	Asset    string `json:"asset"`
	// Unit names the assets that share an object and so share new keys.
	Unit string `json:"unit"`
	// Base is the folder, relative to the media root, that holds the new tree.
	Base string `json:"base"`
	// Entries are all entry manifests of the asset, those that do not change
	// among them.
	Entries   []string    `json:"entries"`
	Keys      []KeyChange `json:"keys"`
	Manifests []Move      `json:"manifests"`
	Tracks    []Track     `json:"tracks"`
	Parts     []Part      `json:"parts"`
	// Findings are what its owner should know and the rotation leaves alone.
	Findings []string `json:"findings,omitempty"`
	// Refusal stops the asset before anything of it is touched.
	Refusal *Refusal `json:"refusal,omitempty"`
}

// KeyChange replaces one content key by a new one with a new KID.
type KeyChange struct {
	OldKID key.KID `json:"old_kid"`
	NewKID key.KID `json:"new_kid"`
	// Object is set for an HLS key that the library publishes: where the old
	// one is, and where the new one goes.
	Object *Move `json:"object,omitempty"`
	// URIs maps each key URI outside the media root to the new key's.
	URIs map[string]string `json:"uris,omitempty"`
	// DRM is what a key service gave for the new key: nothing secret, since it
	// stands in manifests.
	DRM []keyring.DRM `json:"drm,omitempty"`
	// Service is true where a key service made the new key, and so has it.
	Service bool `json:"service,omitempty"`
}

// Published reports whether the library itself publishes the new key: nobody has
// to be handed it.
func (c KeyChange) Published() bool { return c.Object != nil && len(c.URIs) == 0 }

// PSSH is the DRM data as the formats take it.
func (c KeyChange) PSSH() [][]byte {
	var boxes [][]byte
	for _, d := range c.DRM {
		if len(d.PSSH) > 0 {
			boxes = append(boxes, d.PSSH)
		}
	}
	return boxes
}

// Known reports that whoever serves the new key to players has it already.
func (c KeyChange) Known() bool { return c.Published() || c.Service }

// Move is one object and the key of its successor. Entry manifests are flipped
// where they stand: From and To are equal.
type Move struct {
	From string               `json:"from"`
	To   string               `json:"to"`
	ETag string               `json:"etag"`
	Size int64                `json:"size"`
	Kind catalog.ManifestKind `json:"kind,omitempty"`
	// Context is what a playlist takes from the one that leads to it.
	Context catalog.Context `json:"context,omitzero"`
}

// Track is one rendition of the plan.
type Track struct {
	// Number is the track's part of every IV: unique under each new key.
	Number  uint16          `json:"number"`
	ID      string          `json:"id"`
	Format  catalog.Format  `json:"format"`
	Scheme  string          `json:"scheme,omitempty"`
	OldKIDs []key.KID       `json:"old_kids"`
	Init    *catalog.Object `json:"init,omitempty"`
	// InitFixed as in catalog.Track.
	InitFixed bool `json:"init_fixed,omitempty"`
	// Single is true where one object holds the init section and all media.
	Single bool `json:"single,omitempty"`
	// Readings is how the packager reads what others read otherwise, as the first
	// segments showed it (cenc.Readings).
	Readings string `json:"readings,omitempty"`
	// KIDs are all that the plan knows the track's samples to be under; OldKIDs
	// are those of them that change.
	KIDs []key.KID `json:"kids,omitempty"`
	// Media is false where only the init section changes: its PSSH boxes name
	// a changed KID, its media is under another.
	Media bool `json:"media"`
	// Proved is true where the old key was shown to be the right one before
	// any work began, by its check value or by the clear media.
	Proved  bool     `json:"proved"`
	Objects []Object `json:"objects"`
}

// Object is one media object to rewrite.
type Object struct {
	// Number is the object's part of every IV.
	Number uint32  `json:"number"`
	Init   bool    `json:"init,omitempty"`
	From   string  `json:"from"`
	To     string  `json:"to"`
	ETag   string  `json:"etag"`
	Size   int64   `json:"size"`
	KID    key.KID `json:"kid,omitzero"`
	IV     key.IV  `json:"iv,omitzero"`
	// UnknownIV as in catalog.Segment.
	UnknownIV bool `json:"unknown_iv,omitempty"`
	// Messages are the segments in it, where playlists list it by byte ranges.
	Messages []catalog.Message `json:"messages,omitempty"`
}

// Segment is the object as the catalogue has it.
func (o Object) Segment() catalog.Segment {
	return catalog.Segment{
		Object: catalog.Object{Key: o.From, ETag: o.ETag, Size: o.Size},
		KID:    o.KID, IV: o.IV, UnknownIV: o.UnknownIV, Messages: o.Messages,
	}
}

// Part is a bounded run of one track's objects: the unit of queued work.
type Part struct {
	N     int   `json:"n"`
	Track int   `json:"track"`
	First int   `json:"first"`
	Last  int   `json:"last"`
	Bytes int64 `json:"bytes"`
}

// Refusal says which object stops the asset, and why. Failed tells an asset
// that cannot be rekeyed with the keys at hand from one whose layout is not
// supported.
type Refusal struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	Failed bool   `json:"failed,omitempty"`
}

// Flips are the entry manifests that change, where they stand.
func (p *Plan) Flips() []Move {
	var flips []Move
	for _, m := range p.Manifests {
		if m.From == m.To {
			flips = append(flips, m)
		}
	}
	return flips
}

// Moves maps every object that moves to the key of its successor.
func (p *Plan) Moves() map[string]string {
	m := map[string]string{}
	for _, mv := range p.Manifests {
		m[mv.From] = mv.To
	}
	for _, t := range p.Tracks {
		for _, o := range t.Objects {
			m[o.From] = o.To
		}
	}
	for _, k := range p.Keys {
		if k.Object != nil {
			m[k.Object.From] = k.Object.To
		}
	}
	return m
}

// KeyURIs maps each key URI outside the media root to its successor.
func (p *Plan) KeyURIs() map[string]string {
	m := map[string]string{}
	for _, k := range p.Keys {
		maps.Copy(m, k.URIs)
	}
	return m
}

// KIDs maps each old KID to its new one.
func (p *Plan) KIDs() map[key.KID]key.KID {
	m := map[key.KID]key.KID{}
	for _, k := range p.Keys {
		m[k.OldKID] = k.NewKID
	}
	return m
}

// Scheme is what the media under an old key is encrypted with; "" where the plan
// has none under it.
func (p *Plan) Scheme(old key.KID) string {
	for _, t := range p.Tracks {
		if !slices.Contains(t.OldKIDs, old) {
			continue
		}
		if t.Scheme != "" {
			return t.Scheme
		}
		return string(t.Format)
	}
	return ""
}

// IsCENC reports whether media under an old key is ISO BMFF.
func (p *Plan) IsCENC(old key.KID) bool {
	return slices.ContainsFunc(p.Tracks, func(t Track) bool {
		return t.Format == catalog.CENC && slices.Contains(t.OldKIDs, old)
	})
}

// Size counts the objects and bytes that are rewritten.
func (p *Plan) Size() (objects int, bytes int64) {
	for _, t := range p.Tracks {
		for _, o := range t.Objects {
			objects++
			bytes += o.Size
		}
	}
	return objects, bytes
}
