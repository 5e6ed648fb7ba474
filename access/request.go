package access

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

const (
	maxField = 512     // bytes of one field of a subject
	maxThing = 8 << 10 // bytes of its object: the terms of a backup for all holders that there may be

	// MaxRequestLife bounds how long a request waits for an approver.
	MaxRequestLife = 7 * 24 * time.Hour
	// MaxApprovalLife bounds how long an approval waits for its use.
	MaxApprovalLife = 24 * time.Hour
)

// Subject is what an action is done to, exactly: an approval is good for a subject
// that is equal to its own. Empty fields do not apply.
type Subject struct {
	KID      key.KID `json:"kid,omitzero"`
	KEK      string  `json:"kek,omitempty"`
	Rotation string  `json:"rotation,omitempty"`
	Asset    string  `json:"asset,omitempty"`
	Object   string  `json:"object,omitempty"` // another thing, for people: a backup, or who is to open one
	// Digest is the SHA-256 of the content that is acted on, in lower-case hex.
	Digest string `json:"digest,omitempty"`
}

// String lists what is set, for people and for the record.
func (s Subject) String() string {
	var parts []string
	for _, f := range s.fields() {
		if f.value != "" {
			parts = append(parts, f.name+" "+f.value)
		}
	}
	return strings.Join(parts, ", ")
}

type field struct {
	name, value string
	most        int // bytes
}

func (s Subject) fields() []field {
	kid := ""
	if !s.KID.IsZero() {
		kid = s.KID.String()
	}
	return []field{
		{"kid", kid, maxField},
		{"kek", s.KEK, maxField}, {"rotation", s.Rotation, maxField}, {"asset", s.Asset, maxField},
		{"object", s.Object, maxThing}, {"digest", s.Digest, maxField},
	}
}

// check says whether s names what a is done to.
func (s Subject) check(a Action) error {
	wanted, ok := needsApproval[a]
	if !ok {
		return fmt.Errorf("%w: %s needs no approval", ErrInvalid, quote(string(a)))
	}
	found := false
	for _, f := range s.fields() {
		if err := checkText(f.name, f.value, f.most); err != nil {
			return err
		}
		for _, w := range wanted {
			found = found || f.name == w && f.value != ""
		}
	}
	if s.Digest != "" && !isHex(s.Digest, 64) {
		return fmt.Errorf("%w: digest is no SHA-256 in lower-case hex", ErrInvalid)
	}
	if !found {
		return fmt.Errorf("%w: %s without its %s", ErrInvalid, a, strings.Join(wanted, " or "))
	}
	return nil
}

// Party is an identity in one of these objects.
type Party struct {
	Identity string `json:"identity"`
	Person   string `json:"person"`
}

func party(id Identity) Party { return Party{Identity: id.ID, Person: id.Person} }

func (p Party) check(what string) error {
	if !isID(p.Identity) {
		return fmt.Errorf("%w: %s has no valid id", ErrInvalid, what)
	}
	return checkPerson(what, p.Person)
}

// Request is what somebody asks a second person to release.
type Request struct {
	ID        string    `json:"id"`
	Action    Action    `json:"action"`
	Subject   Subject   `json:"subject"`
	Reason    string    `json:"reason"`
	Requester Party     `json:"requester"`
	Time      time.Time `json:"time"`
	// Expires is until when it can be granted.
	Expires time.Time `json:"expires"`
}

func (r *Request) check() error {
	began, ok := requestTime(r.ID)
	if !ok {
		return fmt.Errorf("%w: request has no valid id", ErrInvalid)
	}
	if err := r.Subject.check(r.Action); err != nil {
		return err
	}
	if r.Reason == "" {
		return fmt.Errorf("%w: no reason", ErrInvalid)
	}
	if err := checkText("reason", r.Reason, maxReason); err != nil {
		return err
	}
	if err := r.Requester.check("requester"); err != nil {
		return err
	}
	if !r.Time.UTC().Truncate(time.Second).Equal(began) {
		return fmt.Errorf("%w: request is not of the time its id says", ErrInvalid)
	}
	return checkSpan("request", r.Time, r.Expires, MaxRequestLife)
}

// Verdict is what an approver says.
type Verdict string

// The verdicts.
const (
	Granted Verdict = "granted"
	Refused Verdict = "refused"
)

// Approval is what an approver decided: the whole request again, so that it reads
// by itself, and the digest of it as it was asked.
type Approval struct {
	Request       Request   `json:"request"`
	RequestSHA256 string    `json:"request_sha256"` // of the signed text
	Verdict       Verdict   `json:"verdict"`
	Reason        string    `json:"reason,omitempty"` // of a refusal
	Approver      Party     `json:"approver"`
	Time          time.Time `json:"time"`
	// Expires is until when it can be used.
	Expires time.Time `json:"expires"`
	Nonce   string    `json:"nonce"` // no two decisions are the same bytes

	note []byte
}

// Note is the signed object, to keep with what was done under it.
func (a Approval) Note() []byte { return a.note }

func (a *Approval) check() error {
	if err := a.Request.check(); err != nil {
		return err
	}
	if err := a.Approver.check("approver"); err != nil {
		return err
	}
	if err := checkText("reason", a.Reason, maxReason); err != nil {
		return err
	}
	nonce, err := hex.DecodeString(a.Nonce)
	switch {
	case !isHex(a.RequestSHA256, 64):
		return fmt.Errorf("%w: no digest of the request", ErrInvalid)
	case a.Verdict != Granted && a.Verdict != Refused:
		return fmt.Errorf("%w: verdict is neither %s nor %s", ErrInvalid, Granted, Refused)
	case a.Verdict == Granted && a.Approver.Person == a.Request.Requester.Person:
		return fmt.Errorf("%w: %w", ErrInvalid, ErrSelfApproval)
	case err != nil || len(nonce) != nonceSize:
		return fmt.Errorf("%w: no nonce", ErrInvalid)
	}
	return checkSpan("approval", a.Time, a.Expires, MaxApprovalLife)
}
