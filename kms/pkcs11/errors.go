//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/kms"
)

// ckrAEADFailed is PKCS#11 v3.0's CKR_AEAD_DECRYPT_FAILED, which the binding does
// not name.
const ckrAEADFailed = 0x42

// code is what the module returned, CKR_OK if err is none of its.
func code(err error) uint {
	var e p11.Error
	if errors.As(err, &e) {
		return uint(e)
	}
	return p11.CKR_OK
}

// classify gives an error of the module its class. What has one already, and the
// context's own, stay what they are.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, class := range []error{
		kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled,
		kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
	} {
		if errors.Is(err, class) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", class(code(err)), err)
}

// class is by PKCS#11 v2.40 §5.1. Codes that say that this call cannot ever work
// are kms.ErrDenied; those that are left, vendors' own too, may pass.
func class(c uint) error {
	switch c {
	case p11.CKR_KEY_FUNCTION_NOT_PERMITTED:
		return kms.ErrDisabled
	case p11.CKR_KEY_HANDLE_INVALID, p11.CKR_OBJECT_HANDLE_INVALID:
		return kms.ErrNotFound
	case p11.CKR_SESSION_COUNT:
		return kms.ErrThrottled
	case p11.CKR_ENCRYPTED_DATA_INVALID, p11.CKR_ENCRYPTED_DATA_LEN_RANGE, p11.CKR_SIGNATURE_INVALID, ckrAEADFailed:
		return kms.ErrMismatch
	case p11.CKR_ACTION_PROHIBITED, p11.CKR_ARGUMENTS_BAD, p11.CKR_ATTRIBUTE_READ_ONLY, p11.CKR_ATTRIBUTE_SENSITIVE,
		p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_ATTRIBUTE_VALUE_INVALID, p11.CKR_CANT_LOCK, p11.CKR_DATA_INVALID,
		p11.CKR_DATA_LEN_RANGE, p11.CKR_FUNCTION_NOT_SUPPORTED, p11.CKR_FUNCTION_REJECTED, p11.CKR_KEY_SIZE_RANGE,
		p11.CKR_KEY_TYPE_INCONSISTENT, p11.CKR_MECHANISM_INVALID, p11.CKR_MECHANISM_PARAM_INVALID,
		p11.CKR_PIN_EXPIRED, p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_LOCKED,
		p11.CKR_SESSION_READ_ONLY, p11.CKR_TEMPLATE_INCOMPLETE, p11.CKR_TEMPLATE_INCONSISTENT,
		p11.CKR_TOKEN_WRITE_PROTECTED, p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, p11.CKR_USER_PIN_NOT_INITIALIZED,
		p11.CKR_USER_TOO_MANY_TYPES, p11.CKR_USER_TYPE_INVALID:
		return kms.ErrDenied
	default:
		return kms.ErrUnavailable
	}
}

// isLost reports that the session, or what it stood on, is gone.
func isLost(err error) bool {
	switch code(err) {
	case p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_DEVICE_REMOVED, p11.CKR_TOKEN_NOT_PRESENT,
		p11.CKR_CRYPTOKI_NOT_INITIALIZED, p11.CKR_USER_NOT_LOGGED_IN:
		return true
	}
	return false
}

// isRefusal reports that the key's attributes forbid the use.
func isRefusal(err error) bool { return code(err) == p11.CKR_KEY_FUNCTION_NOT_PERMITTED }

// isPINRefused reports a login that counts against the PIN, or cannot ever work.
func isPINRefused(err error) bool {
	switch code(err) {
	case p11.CKR_PIN_EXPIRED, p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_LOCKED,
		p11.CKR_USER_PIN_NOT_INITIALIZED:
		return true
	}
	return false
}

// isVague reports a failed decryption that may be the wrapped key's fault or the
// token's.
func isVague(err error) bool {
	c := code(err)
	return c == p11.CKR_GENERAL_ERROR || c == p11.CKR_FUNCTION_FAILED
}

// leavesSession reports an outcome after which the session has no operation under
// way and can be used again.
func leavesSession(err error) bool {
	c := code(err)
	if c == p11.CKR_OK || errors.Is(err, kms.ErrMismatch) {
		return true
	}
	k := class(c)
	return errors.Is(k, kms.ErrDisabled) || errors.Is(k, kms.ErrNotFound) || errors.Is(k, kms.ErrMismatch)
}
