package journal

import (
	"time"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// Phase is how far a rotation has come.
type Phase string

// The phases of a rotation. Planning: its plans are being written; a rotation
// that died there has touched nothing. Paused: nothing of it is worked or
// published until it is resumed. Done, Partial, Failed and Cancelled are final.
const (
	Planning  Phase = "planning"
	Working   Phase = "working"
	Paused    Phase = "paused"
	Done      Phase = "done"
	Partial   Phase = "partial"
	Failed    Phase = "failed"
	Cancelled Phase = "cancelled"
)

// Final reports whether nothing more will happen, by itself or by a resume.
func (p Phase) Final() bool {
	return p == Done || p == Partial || p == Failed || p == Cancelled
}

// Stopped reports whether nothing is to be worked or published now.
func (p Phase) Stopped() bool { return p == Paused || p.Final() }

// Kind is why a rotation runs. It is also its priority in the queue.
type Kind string

// The kinds of rotation, most urgent first.
const (
	Compromise Kind = "compromise"
	Scheduled  Kind = "scheduled"
)

// State is how the rotation as a whole stands.
type State struct {
	Rotation string    `json:"rotation"`
	Kind     Kind      `json:"kind"`
	Phase    Phase     `json:"state"`
	KIDs     []key.KID `json:"kids"`
	Reason   string    `json:"reason"`
	Actor    string    `json:"actor"`
	Created  time.Time `json:"created"`
	// Assets counts the plans; the plan listing is whole once Phase has left
	// Planning.
	Assets int `json:"assets"`
	// AcceptUnproved publishes assets whose old key the media neither proves
	// nor disproves.
	AcceptUnproved bool `json:"accept_unproved,omitempty"`
	// Generation makes queue task names new, so that work can be queued again
	// although the queue still holds a task of that name.
	Generation int `json:"generation"`
	// HandoverNone is the choice, made at the start, that nobody receives the
	// new keys.
	HandoverNone bool `json:"handover_none,omitempty"`
	// HandedOver is when the receiver acknowledged the new keys.
	HandedOver time.Time `json:"handed_over,omitzero"`
	// Halt is who paused or cancelled the rotation, while it is.
	Halt *Halt `json:"halt,omitempty"`
	// Resumed is when it was last taken up after a pause: what is bounded in time
	// from the start of a rotation is bounded from then.
	Resumed time.Time `json:"resumed,omitzero"`
}

// Halt is why a rotation was paused or cancelled.
type Halt struct {
	Actor  string    `json:"actor"`
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time"`
}

// Lease says who drives a rotation, and until when. Every step of driving is
// conditional or create-only, so two drivers are wasteful and not harmful.
type Lease struct {
	Owner string    `json:"owner"`
	Until time.Time `json:"until"`
}

// PartRecord is the proof that a part is done.
type PartRecord struct {
	Part     int               `json:"part"`
	Worker   string            `json:"worker"`
	Finished time.Time         `json:"finished"`
	Objects  []ObjectRecord    `json:"objects"`
	Evidence evidence.Evidence `json:"evidence"`
	// ByKID is the evidence for each old key, of a track that has several: what
	// proves one of them says nothing of another.
	ByKID    map[key.KID]evidence.Evidence `json:"by_kid,omitempty"`
	Findings []string                      `json:"findings,omitempty"`
}

// ObjectRecord is one object as it was written.
type ObjectRecord struct {
	Key       string `json:"key"`
	Size      int64  `json:"size"`
	CRC64NVME string `json:"crc64nvme"`
	// Digest is a GMAC over the object's clear form, nonce first (SP 800-38D):
	// it shows equality with the clear media after the old ciphertext is gone.
	Digest []byte `json:"digest"`
	// Grown says where the object is longer than the old one: byte ranges behind
	// that moved.
	Grown []Growth `json:"grown,omitempty"`
}

// Growth is bytes inserted before an offset of the old object.
type Growth struct {
	At int64 `json:"at"`
	By int64 `json:"by"`
}

// Failure is why a part can never be done.
type Failure struct {
	Part   int       `json:"part"`
	Object string    `json:"object"`
	Reason string    `json:"reason"`
	Worker string    `json:"worker"`
	Time   time.Time `json:"time"`
}

// AssetState is what became of one asset.
type AssetState string

// The states of an asset. Verified means: every object was proved equal as it was
// written, the asset is published, and its entry manifests lead to all of it.
// Cancelled is for good: a fence keeps its manifests from ever being flipped, and
// what was written of it is garbage.
const (
	AssetPending   AssetState = "pending"
	AssetPublished AssetState = "published"
	AssetVerified  AssetState = "verified"
	AssetRefused   AssetState = "refused"
	AssetFailed    AssetState = "failed"
	AssetCancelled AssetState = "cancelled"
)

// Outcome is the record of an asset's state.
type Outcome struct {
	Asset    string            `json:"asset"`
	State    AssetState        `json:"state"`
	Reason   string            `json:"reason,omitempty"`
	Object   string            `json:"object,omitempty"`
	Evidence evidence.Evidence `json:"evidence,omitzero"`
	Findings []string          `json:"findings,omitempty"`
	Time     time.Time         `json:"time"`
	// Cleaned is when nothing was left of an asset that was cancelled.
	Cleaned time.Time `json:"cleaned,omitzero"`
}
