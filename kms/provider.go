package kms

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// Wrapper wraps content keys under a KEK, which is named by its id:
// "<scheme>:<rest>", printable ASCII without spaces, the same for ever. Every
// error is of one class of this package, or the context's own.
type Wrapper interface {
	// Wrap encrypts k, bound to kid and the KEK. Each call gives other bytes, at
	// most 4 KiB. ErrDisabled where the KEK is switched off, ErrDenied where k is
	// no key.
	Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error)
	// Unwrap decrypts what Wrap made for the same kid under the same KEK, and
	// fails on all else: ErrMismatch where the service can tell.
	Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error)
}

// Keeper makes KEKs and switches them. Errors are as those of Wrapper.
type Keeper interface {
	// Create makes a new, enabled KEK of 256 bits. A name, [a-z0-9-]{1,40}, that
	// is taken is ErrExists.
	Create(ctx context.Context, name string) (kek string, err error)
	// Describe says how a KEK stands; ErrNotFound if it never was there, or has
	// gone without a trace.
	Describe(ctx context.Context, kek string) (Description, error)
	// Disable switches a KEK off. It waits until a use was seen refused: nil says
	// that it is off, and ErrUnavailable that this could not be seen. Again is no
	// error, and a destruction that is scheduled stays so. Where the service can
	// tell that others use the KEK it is ErrInUse; most cannot.
	Disable(ctx context.Context, kek string) error
	// Enable switches a KEK on, and calls back a destruction that was scheduled.
	// It waits until a use works. Again is no error.
	Enable(ctx context.Context, kek string) error
	// ScheduleDestruction switches a KEK off, to be destroyed at due; ErrInUse as
	// of Disable.
	ScheduleDestruction(ctx context.Context, kek string) (due time.Time, err error)
}

// Provider is a whole key service.
type Provider interface {
	Wrapper
	Keeper
}

// KEKState is how a KEK stands.
type KEKState string

// The states of a KEK.
const (
	KEKEnabled   KEKState = "enabled"
	KEKDisabled  KEKState = "disabled"
	KEKPending   KEKState = "pending-destruction"
	KEKDestroyed KEKState = "destroyed"
)

// Description is what a provider says of a KEK.
type Description struct {
	KEK      string    `json:"kek"`
	Name     string    `json:"name,omitempty"`
	State    KEKState  `json:"state"`
	Created  time.Time `json:"created,omitzero"`
	Destroys time.Time `json:"destroys,omitzero"` // zero: not scheduled
	File     string    `json:"file,omitempty"`    // of a local KEK: where its master key is
	// Held says who keeps a destruction that is scheduled from being carried out.
	Held string `json:"held,omitempty"`
}

// Scheme is the part of a KEK id that names its provider, up to the colon; ""
// where there is none.
func Scheme(kek string) string {
	scheme, _, ok := strings.Cut(kek, ":")
	if !ok {
		return ""
	}
	return scheme
}

// CheckName returns nil, or an error of class ErrDenied, for what Create takes.
func CheckName(name string) error {
	ok := len(name) > 0 && len(name) <= 40
	for _, r := range name {
		ok = ok && (r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z')
	}
	if !ok {
		return fmt.Errorf("%w: KEK name %q is not 1 to 40 of a-z, 0-9 and -", ErrDenied, name)
	}
	return nil
}
