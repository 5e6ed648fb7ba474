package store

import (
	"context"
	"errors"
	"fmt"
)

// The classes of errors; match them with errors.Is.
var (
	// ErrNotFound: nothing stands under the key.
	ErrNotFound = errors.New("no such object")
	// ErrPrecondition: what stands is not what the condition says (HTTP 412).
	ErrPrecondition = errors.New("object is not what was expected")
	// ErrConflict: nothing was written since another write is under way (HTTP
	// 409); try again.
	ErrConflict = errors.New("another write is under way")
	// ErrDenied: the store's permissions forbid it.
	ErrDenied = errors.New("access denied")
	// ErrInvalidKey: the key or prefix can't name an object of this store.
	ErrInvalidKey = errors.New("invalid object key")
	// ErrInvalidRange: the range begins at or past the object's end (HTTP 416).
	ErrInvalidRange = errors.New("range is outside the object")
	// ErrArchived: the object's storage class must be restored before it can be
	// read (GLACIER, DEEP_ARCHIVE).
	ErrArchived = errors.New("object is archived and cannot be read")
	// ErrUnavailable: the store or the way to it failed (HTTP 5xx, 429, reset,
	// timeout, a damaged body); try again.
	ErrUnavailable = errors.New("store unavailable")
	// ErrTooLarge: the object is larger than the caller's limit.
	ErrTooLarge = errors.New("object is larger than its limit")
	// ErrTruncated: fewer bytes came than the object has. It always comes with
	// ErrUnavailable.
	ErrTruncated = errors.New("object was cut short")
	// ErrChecksum: the bytes that came do not have the checksum that the store
	// holds. It always comes with ErrUnavailable.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrUnsupported: the store lacks what its user stands on; see Capabilities.
	ErrUnsupported = errors.New("store lacks what is needed")
	// ErrLocation: what was given to Open names no store.
	ErrLocation = errors.New("invalid store location")
)

var errBothConditions = errors.New("IfMatch and CreateOnly exclude each other")

// Error says which operation failed on which object, and why.
type Error struct {
	// Op is stat, get, list, put or delete; for list, Key is the prefix. Versions
	// and uploads have their own: list versions, delete version, begin upload, put
	// part, complete upload, list uploads, abort upload.
	Op, Key string
	Err     error
}

// Error names operation, object and reason.
func (e *Error) Error() string { return fmt.Sprintf("%s %q: %v", e.Op, e.Key, e.Err) }

// Unwrap gives the class and its cause.
func (e *Error) Unwrap() error { return e.Err }

// opError names operation and object, once.
func opError(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Op: op, Key: key, Err: err}
}

// withClass gives err its class. The end of the caller's context goes before any
// class: what broke on the way there is only a consequence.
func withClass(ctx context.Context, class, err error) error {
	if end := ctx.Err(); end != nil {
		class = end
	}
	if class == nil || errors.Is(err, class) {
		return err
	}
	return fmt.Errorf("%w: %w", class, err)
}
