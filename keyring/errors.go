package keyring

import (
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/kms"
)

// The classes of this package's errors. What the store, the audit log or the
// KMS returned is wrapped and keeps its own class.
var (
	ErrNotFound   = errors.New("no such key")
	ErrExists     = errors.New("another key stands under this KID")
	ErrTransition = errors.New("key state does not change that way")
	ErrForbidden  = errors.New("key may not be used for that")
	ErrCorrupt    = errors.New("key record is corrupt")
	ErrSyntax     = errors.New("bad key syntax")
	// ErrWeak: a value that no generator gives: all zero, one byte repeated, the
	// KID itself, or one that stands under another KID.
	ErrWeak = errors.New("key is a known-weak value")
	// ErrKEKInUse: disabling the KEK would make keys unreadable, of this control
	// store or of another.
	ErrKEKInUse = kms.ErrInUse
	// ErrContended: others kept changing the record, or the store kept failing.
	// Call again: what was done already is found done.
	ErrContended = errors.New("key record is contended")
)

// errOtherKey: the key service returned another key than was wrapped. Never seen,
// and the end of trust in it.
var errOtherKey = errors.New("key service returned another key")

// Error says where a record or an import file goes wrong.
type Error struct {
	Object string // the record's name in the control store; "" for an import
	Offset int64  // in bytes; -1: unknown
	Line   int    // of an import, from 1; 0: unknown
	Reason string // never quotes what was read from an import: it may be a key
	Class  error  // ErrCorrupt or ErrSyntax
}

func (e *Error) Error() string {
	s := "read keys"
	if e.Object != "" {
		s = "read " + e.Object
	}
	if e.Line > 0 {
		s += fmt.Sprintf(": line %d", e.Line)
	}
	s += ": " + e.Class.Error()
	if e.Offset >= 0 && e.Object != "" {
		s += fmt.Sprintf(" at offset %d", e.Offset)
	}
	return s + ": " + e.Reason
}

// Unwrap is the class.
func (e *Error) Unwrap() error { return e.Class }
