package kms

import "errors"

// The classes of every error a provider returns, but for the context's own
// errors. ErrThrottled and ErrUnavailable pass with time; the others do not.
var (
	// ErrDisabled: the KEK is there but switched off or pending deletion.
	ErrDisabled = errors.New("KEK is disabled")
	// ErrDenied: the provider refuses this caller, or the caller's call.
	ErrDenied = errors.New("KEK use denied")
	// ErrNotFound: the provider does not know the KEK.
	ErrNotFound = errors.New("KEK not found")
	// ErrThrottled: too many calls; try again later.
	ErrThrottled = errors.New("KMS throttled")
	// ErrUnavailable: the provider cannot be reached or failed.
	ErrUnavailable = errors.New("KMS unavailable")
	// ErrMismatch: the wrapped key does not belong to this KID and KEK, or was
	// changed since it was wrapped. Which of them cannot be told.
	ErrMismatch = errors.New("wrapped key does not belong to this KID and KEK")
	// ErrInUse: others need the KEK, or may.
	ErrInUse = errors.New("KEK is in use")
	// ErrExists: the name is another KEK's.
	ErrExists = errors.New("KEK name is taken")
	// ErrMasterFile: the file does not hold a master key that may be used.
	ErrMasterFile = errors.New("master key file is not usable")
)
