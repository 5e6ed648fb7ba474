package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/seed-6133abe0/rekey/kms"
)

// failure is an error that the server answered with, of one class.
type failure struct {
	class  error
	status int
	text   string
}

func (f *failure) Error() string { return fmt.Sprintf("%v: HTTP %d: %s", f.class, f.status, f.text) }
func (f *failure) Unwrap() error { return f.class }

// badRequests are the texts of 400 that say more than that the call was wrong.
// None of them is in a key's name: those have no spaces.
var badRequests = []struct {
	text  string
	class error
}{
	{"cipher: message authentication failed", kms.ErrMismatch},
	{"invalid ciphertext", kms.ErrMismatch},
	{"ciphertext or signature version is disallowed by policy (too old)", kms.ErrDisabled},
	{"version for encryption is less than the minimum encryption key version", kms.ErrDisabled},
	{"no such key version", kms.ErrDisabled}, // archived: it lies below the floor
	{"refusing to use soft-deleted key", kms.ErrDisabled},
	{"key not found", kms.ErrNotFound}, // encryption key not found; rotate says key not found
	{"no existing key named", kms.ErrNotFound},
	{"could not delete key; not found", kms.ErrNotFound},
	{"could not delete policy; not found", kms.ErrNotFound},
	// What encrypt asks of a key that it would have to make (see encrypt).
	{"convergent encryption requires derivation", kms.ErrNotFound},
}

// classify gives an error of the client its class, by the status codes of
// https://developer.hashicorp.com/vault/api-docs#http-status-codes and the texts
// of 400. The context's own errors stay what they are.
func classify(ctx context.Context, err error) error {
	if own := ctx.Err(); own != nil {
		return own
	}
	var answer *api.ResponseError
	if !errors.As(err, &answer) { // no answer, or its time was up
		return fmt.Errorf("%w: %s", kms.ErrUnavailable, oneLine(err.Error()))
	}
	text := strings.Join(answer.Errors, "; ")
	if answer.RawError { // a proxy's page
		text = "not an answer of the API"
	}
	return &failure{class(answer.StatusCode, text), answer.StatusCode, oneLine(or(text, "no reason given"))}
}

func class(status int, text string) error {
	switch status {
	case http.StatusBadRequest:
		for _, known := range badRequests {
			if strings.Contains(text, known.text) {
				return known.class
			}
		}
		return kms.ErrDenied
	case http.StatusNotFound: // also: no engine at that mount
		return kms.ErrNotFound
	case http.StatusTooManyRequests: // rate limit and lease count quotas
		return kms.ErrThrottled
	case http.StatusRequestTimeout, http.StatusPreconditionFailed: // 412: this node lags behind
		return kms.ErrUnavailable
	}
	if status >= 400 && status < 500 && status != 472 && status != 473 { // those: a standby that takes no calls
		return kms.ErrDenied
	}
	return kms.ErrUnavailable
}

// oneLine bounds what others wrote.
func oneLine(s string) string {
	const most = 400
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
