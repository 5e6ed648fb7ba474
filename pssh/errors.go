package pssh

import (
	"errors"
	"fmt"
)

// Classes of Error.
var (
	// ErrMalformed: the bytes break the format they claim to be.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported: well-formed, but nothing this package may change safely.
	ErrUnsupported = errors.New("unsupported")
	// ErrReplacement: the fault lies with the new DRM data that a change brings.
	ErrReplacement = errors.New("unusable new DRM data")
)

// Error says what is wrong with protection system data, and where.
type Error struct {
	Place  string // "pssh", "pssh/widevine", "pro/record[0]", "pro/record[0]/WRMHEADER", "new DRM data[0] of KID …"
	Offset int64  // from the start of the box or PlayReady object
	Reason string
	Class  error // one of the classes above
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("read %s at %d: %v: %s", e.Place, e.Offset, e.Class, e.Reason)
}

// Unwrap makes errors.Is see the class.
func (e *Error) Unwrap() error { return e.Class }

func malformed(place string, offset int, format string, a ...any) error {
	return &Error{place, int64(offset), fmt.Sprintf(format, a...), ErrMalformed}
}

func unsupported(place string, offset int, format string, a ...any) error {
	return &Error{place, int64(offset), fmt.Sprintf(format, a...), ErrUnsupported}
}

func replacement(offset int, format string, a ...any) *Error {
	return &Error{Offset: int64(offset), Reason: fmt.Sprintf(format, a...), Class: ErrReplacement}
}
