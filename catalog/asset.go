package catalog

import (
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/hls"
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
	// SampleAES is HLS SAMPLE-AES in MPEG-2 TS or packed audio; over fMP4 it is
	// CENC.
	SampleAES Format = "sample-aes"
)

// InPlaylist reports a format whose objects are encrypted as HLS segments: key and IV
// stand in the playlist.
func (f Format) InPlaylist() bool { return f == AES128 || f == SampleAES }

// Segment is one media object of a track.
type Segment struct {
	Object
	// KID is the content key of an AES-128 or SAMPLE-AES segment; zero where it
	// is clear. A CENC segment's key is its track's.
	KID key.KID `json:"kid,omitzero"`
	// IV of such a segment, explicit or implicit (RFC 8216 §5.2).
	IV key.IV `json:"iv,omitzero"`
	// UnknownIV: the key system gives the IV with the key, and IV is not it. Rekeyed
	// with any IV the media comes out right, but for that its clear form is not:
	// the first block of each sample says nothing.
	UnknownIV bool `json:"unknown_iv,omitempty"`
	// Messages are the segments in an object that playlists list by byte ranges,
	// in order and without gaps; KID and IV are zero then.
	Messages []Message `json:"messages,omitempty"`
}

// Message is a sub-range of an object that is encrypted by itself (RFC 8216
// §5.2).
type Message struct {
	Offset int64   `json:"offset"`
	Length int64   `json:"length"`
	KID    key.KID `json:"kid,omitzero"`
	IV     key.IV  `json:"iv,omitzero"`
	// UnknownIV as in Segment.
	UnknownIV bool `json:"unknown_iv,omitempty"`
}

// Parts are the object's messages: the whole of it is one where it is not listed
// by ranges.
func (s Segment) Parts() []Message {
	if s.Messages != nil {
		return s.Messages
	}
	return []Message{{Length: s.Size, KID: s.KID, IV: s.IV, UnknownIV: s.UnknownIV}}
}

// Under reports whether any of the object is under one of the keys.
func (s Segment) Under(kids map[key.KID]bool) bool {
	return slices.ContainsFunc(s.Parts(), func(m Message) bool { return kids[m.KID] })
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
	// InitFixed is true where a manifest says how long the init section is, or may:
	// it is read by a byte range.
	InitFixed bool `json:"init_fixed,omitempty"`
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
	// Context is what a playlist takes from the one that leads to it.
	Context Context `json:"context,omitzero"`
}

// Context is what a media playlist takes from the multivariant playlist that leads
// to it (rfc8216bis §4.4.2.3).
type Context struct {
	// Variables may be imported.
	Variables map[string]string `json:"variables,omitempty"`
	// Query of the reference that leads to it.
	Query string `json:"query,omitempty"`
	// AnyQuery is of an entry manifest, whose query the player makes.
	AnyQuery bool `json:"any_query,omitempty"`
}

// HLS is the context as package hls takes it.
func (c Context) HLS() hls.Context {
	return hls.Context{Imported: hls.Variables(c.Variables), Query: c.Query, AnyQuery: c.AnyQuery}
}

// KeyObject is an HLS key that the library itself publishes.
type KeyObject struct {
	Object
	KID key.KID `json:"kid"`
}

// KeyURI is an HLS key URI that leads out of the media root, to a key server or
// a key system.
type KeyURI struct {
	URI string  `json:"uri"`
	KID key.KID `json:"kid"`
	// Playlist and Line are where it stands.
	Playlist string `json:"playlist"`
	Line     int    `json:"line"`
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
	KeyURIs   []KeyURI    `json:"key_uris,omitempty"`
	// Refusals is empty for an asset that can be rekeyed.
	Refusals []Refusal `json:"refusals,omitempty"`
	// Findings are what its owner should know and rekey leaves alone.
	Findings []string `json:"findings,omitempty"`
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

func (a *Asset) refuse(object, why string) {
	r := refusal(object, why)
	if !slices.Contains(a.Refusals, r) {
		a.Refusals = append(a.Refusals, r)
	}
}

func refusal(object, reason string) Refusal {
	reason = strings.TrimPrefix(strings.TrimPrefix(reason, "read "), object+": ")
	return Refusal{Object: object, Reason: reason}
}
