package hls

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-6133abe0/rekey/pssh"
)

// The classes of error, for errors.Is.
var (
	// ErrMalformed: the object is not what its specification says.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported: the object is legal and rekey does not handle it.
	ErrUnsupported = errors.New("not supported")
	// ErrWrongKey: what the key decrypts is not media.
	ErrWrongKey = errors.New("wrong key")
	// ErrMissingKey: a key is not set, or the new key is the old one.
	ErrMissingKey = errors.New("missing key")
	// ErrLimit: the object is larger than the package's stated limits.
	ErrLimit = errors.New("limit exceeded")
	// ErrReplacement: the fault lies with the new DRM data that a change brings.
	ErrReplacement = pssh.ErrReplacement
)

// Error says which object is wrong, where and why. It never holds key bytes.
type Error struct {
	Object string
	// Line counts from 1; 0 where the object has no lines.
	Line int
	// Column counts bytes from 1; 0 where the error is of the whole line.
	Column int
	// Offset is in bytes from the start of the object.
	Offset int64
	Reason string
	// Class is one of the sentinel errors of this package.
	Class error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Object != "" {
		b.WriteString(e.Object + ": ")
	}
	switch {
	case e.Line > 0 && e.Column > 0:
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	case e.Line > 0:
		fmt.Fprintf(&b, "line %d: ", e.Line)
	default:
		fmt.Fprintf(&b, "offset %d: ", e.Offset)
	}
	fmt.Fprintf(&b, "%v: %s", e.Class, e.Reason)
	return b.String()
}

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.Class }
