package dash

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/pssh"
)

// The classes of error, for errors.Is.
var (
	// ErrMalformed: the MPD is not what ISO/IEC 23009-1 or XML 1.0 says.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported: the MPD is legal and rekey does not handle it.
	ErrUnsupported = errors.New("not supported")
	// ErrLimit: the MPD is larger than the package's stated limits.
	ErrLimit = errors.New("limit exceeded")
	// ErrReplacement: the fault lies with the new DRM data that a change brings.
	ErrReplacement = pssh.ErrReplacement
)

// Error says which MPD is wrong, where and why.
type Error struct {
	Object string
	// Line and Column count from 1; Column counts bytes.
	Line, Column int
	Reason       string
	// Class is one of the sentinel errors of this package.
	Class error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("line %d column %d: %v: %s", e.Line, e.Column, e.Class, e.Reason)
	if e.Object != "" {
		s = e.Object + ": " + s
	}
	return s
}

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.Class }

// source is the text of an MPD and its name in errors.
type source struct {
	object string
	raw    []byte
}

// fail makes an error about what stands at offset.
func (s source) fail(class error, offset int, format string, args ...any) *Error {
	before := s.raw[:min(max(offset, 0), len(s.raw))]
	return &Error{
		Object: s.object,
		Line:   1 + bytes.Count(before, []byte{'\n'}),
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Reason: fmt.Sprintf(format, args...),
		Class:  class,
	}
}
