package backup

import (
	"errors"
	"fmt"
)

// The classes of this package's errors. What the caller's reader, writer,
// entries or hook returned is wrapped and keeps its own class.
var (
	ErrOptions = errors.New("backup cannot be made that way")
	ErrEntry   = errors.New("entry cannot stand in a backup")
	// ErrSyntax: the file is no backup, or a share no share.
	ErrSyntax = errors.New("not a backup")
	// ErrVersion: the file is a backup in a format this program does not know.
	ErrVersion = errors.New("backup is of another format version")
	// ErrDamaged: the file was changed, cut, extended or mixed since it was made.
	ErrDamaged = errors.New("backup is damaged")
	// ErrForeign: the share, or the file, is another backup's.
	ErrForeign = errors.New("belongs to another backup")
	// ErrShare: the share does not open, or is not on the polynomial.
	ErrShare    = errors.New("share is wrong")
	ErrRepeated = errors.New("share is given twice")
	ErrTooFew   = errors.New("too few shares")
	// ErrHolder: the share is sealed to another key.
	ErrHolder = errors.New("share is not sealed to this key")
	// ErrFactor: the code of the second factor is wrong.
	ErrFactor = errors.New("second factor refused")
	// ErrUsed: the code is right and was used before. A hook of Unlock returns it.
	ErrUsed = errors.New("code was used before")
	// ErrAttempts: too many wrong codes. Combine the shares again.
	ErrAttempts = errors.New("too many wrong codes")
	ErrClosed   = errors.New("master is closed")
	// ErrKeyFile: the file does not hold a holder's key that may be used.
	ErrKeyFile = errors.New("key file is not usable")
)

// Error says where a backup or a share goes wrong.
type Error struct {
	Part   string // "manifest", "share 2 (alice)", "chunk 17", "entry 3"
	Offset int64  // of the part in the file, in bytes; -1: unknown
	Reason string // quotes nothing secret
	Class  error
}

func (e *Error) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", e.Offset)
	}
	return fmt.Sprintf("%s%s: %v: %s", e.Part, at, e.Class, e.Reason)
}

// Unwrap is the class.
func (e *Error) Unwrap() error { return e.Class }

func fault(class error, part string, offset int64, reason string, args ...any) *Error {
	return &Error{Part: part, Offset: offset, Reason: fmt.Sprintf(reason, args...), Class: class}
}
