package cpix

import (
	"crypto"
	"crypto/x509"

	"github.com/seed-6133abe0/rekey/key"
)

// Document is what a CPIX document says, its encryption undone.
type Document struct {
	ContentID string // CPIX@contentId; "": none
	Keys      []ContentKey
	Systems   []DRMSystem
	Periods   []Period
	Rules     []Rule
}

// ContentKey is a ContentKey element. A KID comes twice only with the same key,
// for another scheme.
type ContentKey struct {
	KID                    key.KID
	Key                    key.ContentKey // zero: no value, as in a request for keys
	Encrypted              bool           // the value came encrypted; Emit does not ask
	ExplicitIV             *key.IV        // nil: none
	CommonEncryptionScheme string         // "cenc", "cbc1", "cens", "cbcs"; "": not said
}

// DRMSystem is a DRMSystem element: what one DRM system signals for one key.
type DRMSystem struct {
	SystemID [16]byte
	KID      key.KID
	Name     string
	PSSH     []byte // one whole pssh box

	// ContentProtectionData is the XML that goes inside the MPD's
	// ContentProtection element, as it was given: well-formed, no document type.
	ContentProtectionData string
	// HLSMedia and HLSMaster are the lines for media and multivariant playlists.
	HLSMedia, HLSMaster string
	// SmoothStreaming is the text of the ProtectionHeader element.
	SmoothStreaming string

	// Asked are the elements that stand empty, or are to: what a request wants.
	Asked Signaling
}

// Signaling is a set of a DRMSystem's elements.
type Signaling uint8

// The elements a DRMSystem may hold.
const (
	PSSH Signaling = 1 << iota
	ContentProtectionData
	HLSMedia
	HLSMaster
	SmoothStreaming
)

// Period is a ContentKeyPeriod element; its attributes are kept as text, ""
// where there is none.
type Period struct{ ID, Index, Start, End string }

// Rule is a ContentKeyUsageRule element: the tracks a key is meant for. Filters
// of one kind are alternatives, kinds must all match. A nil bound is none.
type Rule struct {
	KID               key.KID
	IntendedTrackType string
	Periods           []string // KeyPeriodFilter@periodId
	Labels            []string
	Video             []VideoFilter
	Audio             []AudioFilter
	Bitrate           []BitrateFilter
	// Unusable: there is a filter that is not known here. A document with such a
	// rule must not be used to map keys to tracks. Emit refuses it.
	Unusable bool
}

// VideoFilter takes video, of so many pixels and frames a second.
type VideoFilter struct {
	MinPixels, MaxPixels, MinFPS, MaxFPS *uint32
	HDR, WCG                             *bool
}

// AudioFilter takes audio, of so many channels.
type AudioFilter struct{ MinChannels, MaxChannels *uint32 }

// BitrateFilter takes streams of so many Mb/s.
type BitrateFilter struct{ MinBitrate, MaxBitrate *uint32 }

// ParseOptions say how to read. The zero value reads keys in the clear.
type ParseOptions struct {
	// Decrypters are the private RSA keys of recipients, *rsa.PrivateKey or one
	// that stays in its device: their Decrypt takes *rsa.OAEPOptions.
	Decrypters []crypto.Decrypter
}

// EmitOptions say how to write. The zero value writes keys in the clear.
type EmitOptions struct {
	// Recipients are those to whom keys are encrypted; their keys are RSA of 2048
	// bits or more. Without a key that has a value only the certificates are
	// written, which asks the receiver to encrypt to them. Empty: in the clear.
	Recipients []*x509.Certificate
	// SHA256 wraps the document key by RSA-OAEP with SHA-256, not with SHA-1 as
	// CPIX says: for recipients that are known to read it.
	SHA256 bool
}

// Missing are the KIDs of the keys that have no value.
func (d *Document) Missing() []key.KID {
	var out []key.KID
	for _, k := range d.Keys {
		if k.Key.IsZero() {
			out = append(out, k.KID)
		}
	}
	return out
}
