package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/key"
)

// Record is what the ring knows of one content key. It holds the key wrapped,
// never raw.
type Record struct {
	KID      key.KID   `json:"kid"`
	State    State     `json:"state"`
	URI      string    `json:"uri,omitempty"`          // the HLS key URI, absolute or relative to the media root
	KEK      string    `json:"kek"`                    // the id of the KEK that Wrapped is under
	KEKs     []string  `json:"earlier_keks,omitempty"` // that it was under before
	Wrapped  []byte    `json:"wrapped,omitempty"`      // as the provider made it; base64 in JSON; none of a destroyed key
	Created  time.Time `json:"created"`                // in the ring, not of the key itself
	Expires  time.Time `json:"expires,omitzero"`       // when it leaves active use; zero: never
	Rotation string    `json:"rotation,omitempty"`     // that made it; "": imported, or made by hand
	Asset    string    `json:"asset,omitempty"`        // that it was made for; many may use an imported one
	Scheme   string    `json:"scheme,omitempty"`       // of that asset's media
	Tags     []string  `json:"tags,omitempty"`         // pick its lifetime
	// Fingerprint is of the key's value, keyed: equal ones are equal keys.
	Fingerprint string  `json:"fingerprint,omitempty"`
	DRM         []DRM   `json:"drm,omitempty"` // what a key service gave along with the key
	History     []Event `json:"history"`       // oldest first, never empty; their number is the state's version
}

// UnderKEK reports whether the key is, or was, wrapped under a KEK: who has that
// KEK and an old copy of the record has the key.
func (r Record) UnderKEK(kek string) bool { return r.KEK == kek || slices.Contains(r.KEKs, kek) }

// moveTo names the KEK that the key is under, and keeps the one that it was under.
func (r *Record) moveTo(kek string) {
	if r.KEK != "" && r.KEK != kek && !slices.Contains(r.KEKs, r.KEK) {
		r.KEKs = append(slices.Clone(r.KEKs), r.KEK)
	}
	r.KEK = kek
}

// DRM is what one DRM system needs to find the key, as a key service gave it.
type DRM struct {
	System string `json:"system"`         // the system's id, a UUID in lower case
	PSSH   []byte `json:"pssh,omitempty"` // a whole pssh box
}

// Event is one thing that happened to a record.
type Event struct {
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	State    State     `json:"state"` // after it
	Reason   string    `json:"reason,omitempty"`
	Rotation string    `json:"rotation,omitempty"`
	URI      string    `json:"uri,omitempty"` // the key URI that it added
}

// checkTags returns nil or an error of class ErrSyntax.
func checkTags(tags []string) error {
	if len(tags) > 16 {
		return fmt.Errorf("%w: more than 16 tags", ErrSyntax)
	}
	for _, t := range tags {
		if t == "" || len(t) > 64 || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
			return fmt.Errorf("%w: a tag is 1 to 64 printable ASCII characters without spaces and commas", ErrSyntax)
		}
	}
	return nil
}

const (
	prefix = "keys/"
	suffix = ".json"

	recordVersion = 1
	maxRecord     = 1 << 20       // bytes
	roomToEnd     = 5 * maxAnchor // for deactivated, compromised, destroyed, a URI, and another KEK
)

// wire is how a record stands in the store.
type wire struct {
	Version int `json:"version"`
	Record
}

func objectName(kid key.KID) string { return prefix + kid.String() + suffix }

// kidOfName is objectName's inverse. Only the one spelling that objectName
// makes is taken: two objects must never be one key.
func kidOfName(name string) (key.KID, error) {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, prefix), suffix)
	kid, err := key.ParseKID(digits)
	if err != nil || objectName(kid) != name {
		return key.KID{}, corrupt(name, -1, "is not named as a key record")
	}
	return kid, nil
}

// encodeLiving is encodeRecord, but of a key that may still be used freely it
// keeps room for the events that lead to its end: a key whose record is full
// could not be marked compromised.
func encodeLiving(r Record) ([]byte, error) {
	b, err := encodeRecord(r)
	living := r.State == PreActivation || r.State == Active || r.State == Suspended
	if err == nil && living && len(b) > maxRecord-roomToEnd {
		err = fmt.Errorf("encode key record %s: %w: %d bytes, at most %d of a key that is %s", r.KID, ErrSyntax, len(b), maxRecord-roomToEnd, r.State)
	}
	return b, err
}

func encodeRecord(r Record) ([]byte, error) {
	b, err := json.MarshalIndent(wire{recordVersion, r}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode key record %s: %w", r.KID, err)
	}
	if len(b) >= maxRecord {
		return nil, fmt.Errorf("encode key record %s: %w: %d bytes, at most %d", r.KID, ErrSyntax, len(b)+1, maxRecord)
	}
	return append(b, '\n'), nil
}

// decodeRecord reads the record that stands under name. Its errors are *Error
// of class ErrCorrupt.
func decodeRecord(name string, b []byte) (Record, error) {
	kid, err := kidOfName(name)
	if err != nil {
		return Record{}, err
	}
	var w wire
	if err := strictjson.Decode(b, &w); err != nil {
		var at *strictjson.Error
		if errors.As(err, &at) {
			return Record{}, corrupt(name, at.Offset, at.Reason)
		}
		return Record{}, corrupt(name, -1, err.Error())
	}
	if w.Version != recordVersion {
		return Record{}, corrupt(name, -1, fmt.Sprintf("version %d, want %d", w.Version, recordVersion))
	}
	if w.KID != kid {
		return Record{}, corrupt(name, -1, fmt.Sprintf("is the record of KID %s", w.KID))
	}
	if reason := w.Record.fault(); reason != "" {
		return Record{}, corrupt(name, -1, reason)
	}
	return w.Record, nil
}

// fault says what a record lacks, or "".
func (r Record) fault() string {
	switch {
	case permissions[r.State] == nil:
		return fmt.Sprintf("unknown state %q", r.State)
	case r.KEK == "":
		return "no KEK"
	case len(r.Wrapped) == 0 && r.State != Destroyed:
		return "no wrapped key"
	case len(r.Wrapped) != 0 && r.State == Destroyed:
		return "is destroyed, and has a wrapped key"
	case r.Created.IsZero():
		return "no time of creation"
	case len(r.History) == 0:
		return "no history"
	}
	for i, e := range r.History {
		reason := e.fault()
		if reason == "" && i > 0 {
			reason = e.misfit(r.History[i-1].State)
		}
		if reason != "" {
			return fmt.Sprintf("event %d: %s", i, reason)
		}
	}
	if last := r.History[len(r.History)-1].State; last != r.State {
		return fmt.Sprintf("is %s, but its history ends in %s", r.State, last)
	}
	return ""
}

// fault says what an event lacks, or "".
func (e Event) fault() string {
	switch {
	case permissions[e.State] == nil:
		return fmt.Sprintf("unknown state %q", e.State)
	case e.Time.IsZero():
		return "no time"
	case e.Actor == "":
		return "no actor"
	}
	return ""
}

// misfit says why an event cannot come to a key that is in state before, or "".
func (e Event) misfit(before State) string {
	if e.State != before && checkTransition(before, e.State) != nil {
		return fmt.Sprintf("%s after %s", e.State, before)
	}
	return ""
}

// same reports whether two events are one.
func (e Event) same(o Event) bool {
	if !e.Time.Equal(o.Time) {
		return false
	}
	e.Time = o.Time
	return e == o
}

func corrupt(name string, offset int64, reason string) *Error {
	return &Error{Object: name, Offset: offset, Reason: reason, Class: ErrCorrupt}
}
