package cpix

import (
	"errors"
	"fmt"
)

// The classes of this package's errors.
var (
	// ErrMalformed: no well-formed XML, or not what CPIX says.
	ErrMalformed = errors.New("malformed CPIX")
	// ErrUnsupported: well-formed, but nothing that is read: a document type
	// declaration, another encoding, another algorithm.
	ErrUnsupported = errors.New("unsupported CPIX")
	// ErrLimit: larger, deeper or more than is read.
	ErrLimit = errors.New("CPIX beyond limits")
	// ErrNoRecipient: keys are encrypted, and to nobody whose private key was
	// given.
	ErrNoRecipient = errors.New("CPIX is not encrypted to any private key given")
	// ErrMAC: an encrypted key has no MAC, or not the MAC it must have.
	ErrMAC = errors.New("CPIX key fails its MAC")
	// ErrDecrypt: the private key is the recipient's, and what it should open
	// does not open.
	ErrDecrypt = errors.New("CPIX does not decrypt")
	// ErrNotFIPS: only SHA-1 would do, and this process enforces FIPS 140-3.
	ErrNotFIPS = errors.New("CPIX needs SHA-1, which FIPS 140-3 does not allow here")
)

// Error says where a document goes wrong, and why. It quotes nothing of the
// document but the names of elements that CPIX knows.
type Error struct {
	Object string // what the caller called the document
	Line   int    // from 1; 0: unknown, or the document was to be emitted
	Path   string // "CPIX/ContentKeyList/ContentKey[2]"; "": unknown
	Reason string
	Class  error
}

// Error implements error.
func (e *Error) Error() string {
	verb := "read "
	if e.Line == 0 {
		verb = "write "
	}
	s := verb + e.Object
	if e.Line > 0 {
		s += fmt.Sprintf(": line %d", e.Line)
	}
	if e.Path != "" {
		s += ": " + e.Path
	}
	return s + ": " + e.Class.Error() + ": " + e.Reason
}

// Unwrap is the class.
func (e *Error) Unwrap() error { return e.Class }
