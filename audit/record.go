package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Actions. Others may be added; none is renamed.
const (
	KeyImport  = "key.import"
	KeyCreate  = "key.create"
	KeyWrap    = "key.wrap"   // a secret that is no content key
	KeyUnwrap  = "key.unwrap" // a key leaves the ring; the reason names the use
	KeyState   = "key.state"
	KeyExport  = "key.export" // a key leaves the ring for a person
	KeyRefuse  = "key.refuse" // a use of a key was refused; the reason names it
	KeyBackup  = "key.backup"
	KeyRestore = "key.restore"
	KeyDestroy = "key.destroy"
	KeyRewrap  = "key.rewrap" // wrapped anew under another KEK

	KEKCreate  = "kek.create"
	KEKRotate  = "kek.rotate"
	KEKDisable = "kek.disable"
	KEKEnable  = "kek.enable"
	KEKDestroy = "kek.destroy"

	RoleGrant  = "role.grant"
	RoleRevoke = "role.revoke"
	RoleRefuse = "role.refuse" // somebody asked for what their role does not allow

	ApprovalRequest = "approval.request"
	ApprovalGrant   = "approval.grant"
	ApprovalRefuse  = "approval.refuse"
	ApprovalUse     = "approval.use" // what was approved is about to be done

	MediaPublish  = "media.publish"
	MediaPurge    = "media.purge"
	MediaRollback = "media.rollback"

	CPIXExchange = "cpix.exchange" // keys leave or arrive in a CPIX document
)

// Outcomes.
const (
	Allowed   = "allowed"   // permitted, and about to be done
	Refused   = "refused"   // not permitted, and not done
	Failed    = "failed"    // permitted, and went wrong; what was done is uncertain
	Exists    = "exists"    // nothing to do: the same thing stands already
	Unchanged = "unchanged" // nothing to do: it is so already
)

// ErrCorrupt is the class of what does not read as what its name says.
var ErrCorrupt = errors.New("audit record is corrupt")

// ErrInvalid is the class of a record that may not be appended.
var ErrInvalid = errors.New("audit record is not valid")

// Error says which object could not be read, and where it goes wrong.
type Error struct {
	Object string // the name in the control store
	Offset int64  // in bytes; -1: unknown
	Reason string
	Class  error
}

func (e *Error) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", e.Offset)
	}
	return fmt.Sprintf("read %s: %v%s: %s", e.Object, e.Class, at, e.Reason)
}

func (e *Error) Unwrap() error { return e.Class }

// corrupt is an Error of class ErrCorrupt at no known offset.
func corrupt(object, format string, args ...any) *Error {
	return &Error{Object: object, Offset: -1, Reason: fmt.Sprintf(format, args...), Class: ErrCorrupt}
}

// Record is one thing that was done, or refused. Empty fields do not apply.
type Record struct {
	Time         time.Time `json:"time"`
	Actor        string    `json:"actor"`
	Role         string    `json:"role,omitempty"` // in which the actor acted
	Host         string    `json:"host,omitempty"`
	Origin       string    `json:"origin,omitempty"` // network address of who asked
	Client       string    `json:"client,omitempty"` // id of who asked over the network
	Action       string    `json:"action"`
	KID          string    `json:"kid,omitempty"`
	Rotation     string    `json:"rotation,omitempty"`
	Asset        string    `json:"asset,omitempty"`
	Object       string    `json:"object,omitempty"`        // another thing acted on: a KEK, a role, a backup
	Request      string    `json:"request,omitempty"`       // id that joins records of one request or approval
	StateVersion int       `json:"state_version,omitempty"` // which event of the key record this makes, from 1
	State        string    `json:"state,omitempty"`         // of the key after that event
	Outcome      string    `json:"outcome"`
	Reason       string    `json:"reason,omitempty"`
}

func (r Record) check() error {
	missing := []string{}
	for _, f := range []struct{ name, value string }{
		{"actor", r.Actor}, {"action", r.Action}, {"outcome", r.Outcome},
	} {
		if f.value == "" {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: no %s", ErrInvalid, strings.Join(missing, ", "))
	}
	if y := r.Time.Year(); r.Time.IsZero() || y < 1 || y > 9999 {
		return fmt.Errorf("%w: no time", ErrInvalid)
	}
	return nil
}
