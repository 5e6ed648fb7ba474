package kms

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// Patience bounds the retries of Patient.
type Patience struct {
	// Tries is how often a call is made at most. Zero: 5.
	Tries int
	// First is the longest wait before the second try, doubled for each one
	// after it; the wait is random within that. Zero: 200 ms.
	First time.Duration
	// Failed hears of every error of the provider, and of the scheme it came
	// from. Zero: nobody does.
	Failed func(scheme string, err error)
}

// Patient tries Wrap, Unwrap and Describe again after ErrThrottled and
// ErrUnavailable, a few times within some seconds. What still fails then keeps
// its class: the caller's part of work waits. Calls that change a KEK are made
// once, since a person looks at those.
func Patient(p Provider, o Patience) Provider {
	if o.Tries == 0 {
		o.Tries = 5
	}
	if o.First == 0 {
		o.First = 200 * time.Millisecond
	}
	if o.Failed == nil {
		o.Failed = func(string, error) {}
	}
	return patient{p, o}
}

type patient struct {
	Provider
	o Patience
}

func (p patient) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) (wrapped []byte, err error) {
	err = p.try(ctx, kek, func() error { wrapped, err = p.Provider.Wrap(ctx, kek, kid, k); return err })
	return wrapped, err
}

func (p patient) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (k key.ContentKey, err error) {
	err = p.try(ctx, kek, func() error { k, err = p.Provider.Unwrap(ctx, kek, kid, wrapped); return err })
	return k, err
}

func (p patient) Describe(ctx context.Context, kek string) (d Description, err error) {
	err = p.try(ctx, kek, func() error { d, err = p.Provider.Describe(ctx, kek); return err })
	return d, err
}

func (p patient) try(ctx context.Context, kek string, call func() error) error {
	for n := 1; ; n++ {
		err := call()
		if err == nil || ctx.Err() != nil {
			return err
		}
		p.o.Failed(Scheme(kek), err)
		if !Passes(err) {
			return err
		}
		if n == p.o.Tries {
			return fmt.Errorf("%w (tried %d times)", err, n)
		}
		t := time.NewTimer(rand.N(p.o.First << (n - 1)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// Passes reports an error that passes with time.
func Passes(err error) bool {
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrUnavailable)
}

// OutOfReach reports an error that tells of the key service, or of this process's
// place before it, and nothing of the key: it is away, or the KEK is switched off,
// or is another one here, or not this process's to use. Elsewhere, or later, the
// same call may do.
func OutOfReach(err error) bool {
	return Passes(err) || errors.Is(err, ErrMismatch) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrDenied) || errors.Is(err, ErrDisabled)
}
