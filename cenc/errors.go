package cenc

import (
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/pssh"
)

// Classes of Error.
var (
	// ErrMalformed: the bytes break the file format or contradict themselves.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported: well-formed, in a layout this package does not rekey.
	ErrUnsupported = errors.New("unsupported")
	// ErrMissingKey: a track is encrypted under a KID no key was given for.
	ErrMissingKey = errors.New("missing key")
	// ErrClear: the media is signalled as encrypted but lies there in the clear;
	// the transform would destroy it.
	ErrClear = errors.New("clear in disguise")
	// ErrWrongKey: the old key did not decrypt the media, by what its codec rules out.
	ErrWrongKey = errors.New("wrong key")
	// ErrLimit: a number does not fit where it must go.
	ErrLimit = errors.New("limit exceeded")
	// ErrVerify: the new ciphertext did not decrypt to the clear bytes.
	ErrVerify = errors.New("verification failed")
	// ErrReplacement: the fault lies with the new DRM data that a change brings.
	ErrReplacement = pssh.ErrReplacement
)

// Error says what is wrong with an object, and where.
type Error struct {
	Object string
	Box    string // path, such as moof/traf[1]/senc; the first of its kind has no index
	Offset int64  // from the start of the object
	Reason string
	Class  error // one of the classes above
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("read %s: %s at %d: %v: %s", e.Object, e.Box, e.Offset, e.Class, e.Reason)
}

// Unwrap makes errors.Is see the class.
func (e *Error) Unwrap() error { return e.Class }
