package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
)

// Actions. Others may be added; none is renamed.
const (
	KeyImport = "key.import"
	KeyCreate = "key.create"
	KeyWrap   = "key.wrap"   // a secret that is no content key
	KeyUnwrap = "key.unwrap" // a key leaves the ring; the reason names the use
	KeyState  = "key.state"
	KeyExport = "key.export" // a key leaves the ring for a person
	KeyRefuse = "key.refuse" // a use of a key was refused; the reason names it

	KeyDestroy = "key.destroy"
	KeyRewrap  = "key.rewrap" // a key is wrapped under another KEK
	KeyBackup  = "key.backup"
	KeyRestore = "key.restore"

	KEKCreate  = "kek.create"
	KEKRotate  = "kek.rotate" // new keys are wrapped under another KEK from now on
	KEKDisable = "kek.disable"
	KEKEnable  = "kek.enable"
	KEKDestroy = "kek.destroy"

	MediaPublish = "media.publish"
)

// Outcomes.
const (
	Allowed   = "allowed"   // permitted, and about to be done
	Refused   = "refused"   // not permitted, and not done
	Failed    = "failed"    // permitted, and went wrong; what was done is uncertain
	Exists    = "exists"    // nothing to do: the same thing stands already
	Unchanged = "unchanged" // nothing to do: it is so already
)

// ErrCorrupt is the class of a record that does not read as one.
var ErrCorrupt = errors.New("audit record is corrupt")

// ErrInvalid is the class of a record that may not be appended.
var ErrInvalid = errors.New("audit record is not valid")

// Error says which record could not be read, and where it goes wrong.
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

// Record is one thing that was done, or refused. Empty fields do not apply.
type Record struct {
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	Host     string    `json:"host,omitempty"`
	Client   string    `json:"client,omitempty"` // who asked over the network
	Action   string    `json:"action"`
	KID      string    `json:"kid,omitempty"`
	Rotation string    `json:"rotation,omitempty"`
	Asset    string    `json:"asset,omitempty"`
	Object   string    `json:"object,omitempty"` // that is neither a key nor an asset: a KEK, a backup, an identity
	// StateVersion is the number of the key's event that this makes.
	StateVersion int    `json:"state_version,omitempty"`
	Outcome      string `json:"outcome"`
	Reason       string `json:"reason,omitempty"`
}

// maxRecord bounds one object, in bytes.
const maxRecord = 64 << 10

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

func encode(r Record) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(b) >= maxRecord {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrInvalid, len(b)+1, maxRecord)
	}
	return append(b, '\n'), nil
}

// decode reads the record that stands under name: its fields, and that it is
// the record the name says.
func decode(name string, b []byte) (Record, error) {
	var r Record
	if err := strictjson.Decode(b, &r); err != nil {
		var at *strictjson.Error
		if errors.As(err, &at) {
			return Record{}, &Error{Object: name, Offset: at.Offset, Reason: at.Reason, Class: ErrCorrupt}
		}
		return Record{}, &Error{Object: name, Offset: -1, Reason: err.Error(), Class: ErrCorrupt}
	}
	if err := r.check(); err != nil {
		return Record{}, &Error{Object: name, Offset: -1, Reason: err.Error(), Class: ErrCorrupt}
	}
	if !nameFits(name, r.Time) {
		return Record{}, &Error{Object: name, Offset: -1, Reason: "is not the record of this name", Class: ErrCorrupt}
	}
	return r, nil
}
