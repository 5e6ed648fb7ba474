package watch

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

// Names of events. Others may be added; none is renamed.
const (
	CompromisedUnwrap = "compromised-unwrap" // a compromised key was asked for outside its rotation, and refused
	RefusedBurst      = "refused-burst"      // much was refused in a short time
	NewOrigin         = "new-origin"         // a key was opened by whom, or from where, it was not before
	KeysNearExpiry    = "keys-near-expiry"
	KeysExpired       = "keys-expired"
	KMSErrors         = "kms-errors"
	CheckpointLate    = "checkpoint-late"  // records wait for a signed checkpoint
	AuditUnreadable   = "audit-unreadable" // a record does not read, or does not follow the one before
)

// Events lists the names.
func Events() []string {
	return []string{
		CompromisedUnwrap, RefusedBurst, NewOrigin, KeysNearExpiry, KeysExpired, KMSErrors, CheckpointLate, AuditUnreadable,
	}
}

// How much an event matters.
const (
	Critical = "critical" // somebody should look now
	Warning  = "warning"
)

// Event is what a webhook gets, in JSON. Fields may be added.
type Event struct {
	ID       string    `json:"id"` // the same where the same record is told of again
	Event    string    `json:"event"`
	Severity string    `json:"severity"`
	Time     time.Time `json:"time"`  // of the newest it tells of
	Count    int       `json:"count"` // how many it tells of: a burst is one event
	Summary  string    `json:"summary"`
	Details  Details   `json:"details"` // of the newest
}

// Details are what is known of an event. Empty fields do not apply.
type Details struct {
	Record   string     `json:"record,omitempty"` // id on the audit log
	Action   string     `json:"action,omitempty"`
	Use      string     `json:"use,omitempty"`
	Outcome  string     `json:"outcome,omitempty"`
	KID      string     `json:"kid,omitempty"`
	Rotation string     `json:"rotation,omitempty"`
	Object   string     `json:"object,omitempty"`
	Actor    string     `json:"actor,omitempty"`
	Role     string     `json:"role,omitempty"`
	Origin   string     `json:"origin,omitempty"`
	Client   string     `json:"client,omitempty"`
	Host     string     `json:"host,omitempty"`
	Scheme   string     `json:"scheme,omitempty"` // of a key service
	Class    string     `json:"class,omitempty"`  // of its error
	Expires  *time.Time `json:"expires,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
}

// maxDetail bounds each text of an event, in bytes: records may hold what
// strangers sent.
const maxDetail = 256

func detailsOf(e audit.Entry) Details {
	return Details{
		Record: cut(e.ID), Action: cut(e.Action), Outcome: cut(e.Outcome), KID: cut(e.KID), Rotation: cut(e.Rotation),
		Object: cut(e.Object), Actor: cut(e.Actor), Role: cut(e.Role), Origin: cut(e.Origin), Client: cut(e.Client), Host: cut(e.Host),
	}
}

func ofRecord(name, severity, summary string, e audit.Entry) Event {
	return Event{
		ID: eventID(name, e.ID), Event: name, Severity: severity, Time: e.Time.UTC(), Count: 1,
		Summary: summary, Details: detailsOf(e),
	}
}

func cut(s string) string {
	if len(s) > maxDetail {
		return s[:maxDetail]
	}
	return s
}

// eventID is the same for the same event of the same record.
func eventID(name, of string) string {
	sum := sha256.Sum256([]byte(name + "\n" + of))
	return hex.EncodeToString(sum[:16])
}
