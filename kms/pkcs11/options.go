package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/seed-6133abe0/rekey/kms"
)

// Scheme is what the ids of KEKs in PKCS#11 tokens begin with.
const Scheme = "pkcs11"

var (
	// ErrNotBuilt: this build has no PKCS#11 support. It is of class
	// kms.ErrDenied.
	ErrNotBuilt = fmt.Errorf("%w: this build has no PKCS#11 support; build it with CGO_ENABLED=1 go build -tags pkcs11", kms.ErrDenied)
	// ErrOptions: the options cannot be used.
	ErrOptions = errors.New("pkcs11 options are not usable")
)

const (
	defaultSessions = 8
	maxSessions     = 1024
	maxTokenLabel   = 32 // bytes of CK_TOKEN_INFO.label
)

// Options set up a Provider.
type Options struct {
	// Module is the absolute path of the token's PKCS#11 library. Its code runs in
	// this process. It must be given.
	Module string
	// Token is the label of the token. It must be given.
	Token string
	// Serial is the token's serial number, where several have the label. Zero: any.
	Serial string
	// PINFile holds the user's PIN on one line, mode 0600 or less. It must be
	// given.
	PINFile string
	// Sessions is how many calls may be with the token at once; others wait. Zero:
	// 8.
	Sessions int
	// DestroyAfter is the time from ScheduleDestruction to the end. Zero: 7 days.
	DestroyAfter time.Duration
	// Poll is the time between two looks at a KEK that was switched. Zero: 200 ms.
	Poll time.Duration
	// Polls is how many looks are taken before a change counts as not seen. Zero:
	// 50.
	Polls int
	// Clock tells when a destruction is due. Zero: the system's.
	Clock func() time.Time
	// Wait returns after d, or sooner with the context's error. Zero: a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// withDefaults fills in the zero values and refuses what is out of bounds.
func (o Options) withDefaults() (Options, error) {
	switch {
	case !filepath.IsAbs(o.Module): // else the loader would search for it
		return o, fmt.Errorf("%w: module %.300q is not an absolute path", ErrOptions, o.Module)
	case o.Token == "" || len(o.Token) > maxTokenLabel:
		return o, fmt.Errorf("%w: token label is not 1 to %d bytes", ErrOptions, maxTokenLabel)
	case o.PINFile == "":
		return o, fmt.Errorf("%w: no file of the PIN is given", ErrOptions)
	}
	o.Sessions = or(o.Sessions, defaultSessions)
	o.DestroyAfter = or(o.DestroyAfter, 7*24*time.Hour)
	o.Poll = or(o.Poll, 200*time.Millisecond)
	o.Polls = or(o.Polls, 50)
	if o.Sessions < 0 || o.Sessions > maxSessions {
		return o, fmt.Errorf("%w: sessions are not 1 to %d", ErrOptions, maxSessions)
	}
	if o.DestroyAfter < 0 || o.Poll < 0 || o.Polls < 0 {
		return o, fmt.Errorf("%w: a time or a count is negative", ErrOptions)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	return o, nil
}

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
