package access

import (
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

const notAccepted = "token is not accepted"

// Why a token is not accepted. To whoever presents it the three say the same: what
// is known of a token is told to no one who may have found it.
var (
	ErrUnauthenticated = errors.New(notAccepted)
	ErrExpired         = errors.New(notAccepted)
	ErrRevoked         = errors.New(notAccepted)
)

// The other classes. What the store or the audit log returned is wrapped and keeps
// its own class.
var (
	// ErrForbidden: none of the identity's roles may do that.
	ErrForbidden = errors.New("role does not allow that")
	// ErrInvalid: what was given names nothing that could be done.
	ErrInvalid = errors.New("not valid")
	// ErrFull: there are as many as there may be.
	ErrFull = errors.New("too many")
	// ErrNotFound: there is no such identity or request.
	ErrNotFound = errors.New("not found")
	// ErrCorrupt: a stored object does not read as what its name says.
	ErrCorrupt = errors.New("object is corrupt")
	// ErrForged: a stored object carries no signature that is trusted, or stands
	// where another belongs.
	ErrForged = errors.New("object is not signed as what it stands for")
	// ErrNoSigner: this process has no signing key, so it cannot decide anything.
	ErrNoSigner = errors.New("no signing key")

	// ErrApprovalNeeded: a second person must release that, and none has yet.
	ErrApprovalNeeded = errors.New("needs the approval of a second person")
	// ErrSelfApproval: the approver is the person who asked.
	ErrSelfApproval = errors.New("nobody approves what they asked for")
	// ErrMismatch: what was approved is another action, another subject, or was
	// asked for by another person.
	ErrMismatch = errors.New("approval is for something else")
	// ErrLapsed: the request or its approval is out of time.
	ErrLapsed = errors.New("approval is out of time")
	// ErrDecided: the request was granted or refused already.
	ErrDecided = errors.New("request is decided already")
	// ErrRefused: an approver refused the request.
	ErrRefused = errors.New("request was refused")
	// ErrUsed: the approval was used already.
	ErrUsed = errors.New("approval was used already")
	// ErrApprover: whoever approved may not approve any more.
	ErrApprover = errors.New("approver may no longer approve")
)

// Error says which stored object could not be believed, and where it goes wrong.
type Error struct {
	Object string // the name in the control store
	Offset int64  // in bytes; -1: unknown
	Reason string
	Class  error // ErrCorrupt or ErrForged
}

func (e *Error) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", e.Offset)
	}
	return fmt.Sprintf("read %s: %v%s: %s", e.Object, e.Class, at, e.Reason)
}

// Unwrap is the class.
func (e *Error) Unwrap() error { return e.Class }

func corrupt(object, format string, args ...any) *Error {
	return &Error{Object: object, Offset: -1, Reason: fmt.Sprintf(format, args...), Class: ErrCorrupt}
}

func forged(object, format string, args ...any) *Error {
	return &Error{Object: object, Offset: -1, Reason: fmt.Sprintf(format, args...), Class: ErrForged}
}

// refusals are the classes of what was decided against; all else went wrong.
var refusals = []error{
	ErrUnauthenticated, ErrExpired, ErrRevoked, ErrForbidden, ErrInvalid, ErrFull, ErrNotFound, ErrCorrupt, ErrForged,
	ErrApprovalNeeded, ErrSelfApproval, ErrMismatch, ErrLapsed, ErrDecided, ErrRefused, ErrUsed, ErrApprover,
}

func isOneOf(err error, classes ...error) bool {
	for _, c := range classes {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

// maxQuoted bounds what an error quotes of its input, in bytes.
const maxQuoted = 64

func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "…"
	}
	return strconv.Quote(s)
}

// checkText refuses what an approver might read otherwise than it is written:
// control characters, line breaks, marks that turn the direction of writing.
func checkText(what, s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrInvalid, what, len(s), most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, what)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: %s holds the unprintable %U", ErrInvalid, what, r)
		}
	}
	return nil
}
