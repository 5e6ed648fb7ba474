//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/kms"
)

// probeAAD is authenticated with bytes that are no content key.
func probeAAD() []byte { return kms.Canonical(map[string]string{"purpose": "rekey probe"}) }

// roundTrip returns nil if the KEK encrypts and decrypts.
func (p *Provider) roundTrip(s p11.SessionHandle, o p11.ObjectHandle) error {
	_, err := p.tryOut(s, o)
	return err
}

// tryOut is roundTrip, and returns the probe.
func (p *Provider) tryOut(s p11.SessionHandle, o p11.ObjectHandle) (frame, error) {
	var probe [keySize]byte
	_, _ = rand.Read(probe[:]) // never fails: it crashes the program instead
	f, err := p.seal(s, o, probeAAD(), probe[:])
	if err != nil {
		return frame{}, err
	}
	if _, err := f.bytes(); err != nil {
		return frame{}, err
	}
	got, err := p.lib.Open(s, o, f.iv, probeAAD(), f.sealed)
	if errors.Is(classify(err), kms.ErrMismatch) { // it cannot be the bytes
		return frame{}, fmt.Errorf("%w: decrypt what was just encrypted: %w", kms.ErrUnavailable, err)
	}
	if err != nil {
		return frame{}, fmt.Errorf("decrypt: %w", err)
	}
	if !bytes.Equal(got, probe[:]) {
		return frame{}, fmt.Errorf("%w: token decrypts to other bytes than it encrypted", kms.ErrUnavailable)
	}
	return f, nil
}

// authenticates wants the KEK to work, and to refuse under another context.
func (p *Provider) authenticates(s p11.SessionHandle, o p11.ObjectHandle) error {
	f, err := p.tryOut(s, o)
	if err != nil {
		return err
	}
	if _, err := p.lib.Open(s, o, f.iv, append(probeAAD(), '\n'), f.sealed); err == nil {
		return fmt.Errorf("%w: token does not authenticate the context", kms.ErrDenied)
	}
	return nil
}

// proveOff waits until the token refuses the KEK. To read the attributes proves
// nothing: it is uses that must be refused, both of them.
func (p *Provider) proveOff(ctx context.Context, id []byte) error {
	return p.poll(ctx, id, "switched off, but it still works", func(s p11.SessionHandle, h p11.ObjectHandle) (bool, error) {
		if _, err := p.seal(s, h, probeAAD(), make([]byte, keySize)); !isRefusal(err) {
			return false, err
		}
		raw, err := p.lib.Open(s, h, make([]byte, ivSize), probeAAD(), make([]byte, keySize+tagSize))
		clear(raw)
		if isLost(err) {
			return false, err
		}
		return isRefusal(err), nil // any other error is of these bytes, which nobody encrypted
	})
}

// proveOn waits until the token lets the KEK be used.
func (p *Provider) proveOn(ctx context.Context, id []byte) error {
	return p.poll(ctx, id, "switched on, but still refused", func(s p11.SessionHandle, h p11.ObjectHandle) (bool, error) {
		err := p.authenticates(s, h)
		if isRefusal(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// poll asks look until it says yes, at most Options.Polls times.
func (p *Provider) poll(ctx context.Context, id []byte, late string, look func(p11.SessionHandle, p11.ObjectHandle) (bool, error)) error {
	for n := 1; ; n++ {
		done := false
		err := p.pool.with(ctx, func(s p11.SessionHandle) error {
			h, err := p.find(s, id)
			if err == nil {
				done, err = look(s, h)
			}
			return err
		})
		if err != nil || done {
			return err
		}
		if n == p.o.Polls {
			return fmt.Errorf("%w: %s after %d looks", kms.ErrUnavailable, late, n)
		}
		if err := p.o.Wait(ctx, p.o.Poll); err != nil {
			return err
		}
	}
}
