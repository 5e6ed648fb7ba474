//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"crypto/rand"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// Provider holds KEKs in one PKCS#11 token. It is safe for concurrent use, and so
// are several in one process, of one token or more.
type Provider struct {
	o    Options
	lib  cryptoki
	pool *pool
}

// New loads the module and logs in to the token. Options that cannot be used are
// ErrOptions; a PIN that is refused is kms.ErrDenied, and a token that is not
// there kms.ErrUnavailable.
func New(ctx context.Context, o Options) (*Provider, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open PKCS#11 token: %w", err)
	}
	lib, err := load(o.Module)
	if err != nil {
		return nil, fmt.Errorf("open PKCS#11 token: %w", err)
	}
	return open(ctx, lib, o)
}

// open is New with options that are checked.
func open(ctx context.Context, lib cryptoki, o Options) (*Provider, error) {
	p := &Provider{o: o, lib: lib, pool: newPool(lib, o)}
	if err := p.pool.with(ctx, func(p11.SessionHandle) error { return nil }); err != nil {
		return nil, fmt.Errorf("open PKCS#11 token: %w", classify(err))
	}
	return p, nil
}

// Close gives the sessions back, those in use once they are not. The module stays
// initialized: others in the process may be using it.
func (p *Provider) Close() error {
	p.pool.close()
	return nil
}

// String names the token.
func (p *Provider) String() string { return Scheme + ":" + p.o.Token }

// Wrap encrypts k for kid. Each call gives other bytes. A KEK that may leave the
// token is kms.ErrDenied.
func (p *Provider) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("wrap key %s: %w: no key given", kid, kms.ErrDenied)
	}
	var wrapped []byte
	err := p.use(ctx, kek, func(s p11.SessionHandle, o object) (err error) {
		if o.leaves {
			return fmt.Errorf("%w: %s may leave the token", kms.ErrDenied, kek)
		}
		raw := k.RevealSecretBytes()
		defer clear(raw[:])
		f, err := p.seal(s, o.handle, aad(kid), raw[:])
		if err != nil {
			return err
		}
		wrapped, err = f.bytes()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	return wrapped, nil
}

// Unwrap decrypts what Wrap made for the same kid under the same KEK; anything
// else is kms.ErrMismatch.
func (p *Provider) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	var k key.ContentKey
	err := p.use(ctx, kek, func(s p11.SessionHandle, o object) error {
		f, err := parseFrame(wrapped)
		if err != nil {
			return err
		}
		raw, err := p.unseal(s, o.handle, aad(kid), f)
		if err != nil {
			return err
		}
		defer clear(raw)
		if k, err = key.ContentKeyFromBytes(raw); err != nil {
			return fmt.Errorf("%w: %w", kms.ErrMismatch, err)
		}
		return nil
	})
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	return k, nil
}

// use calls do with a KEK that is enabled.
func (p *Provider) use(ctx context.Context, kek string, do func(p11.SessionHandle, object) error) error {
	return p.on(ctx, kek, func(s p11.SessionHandle, o object, err error) error {
		switch {
		case o.d.State != "" && o.d.State != kms.KEKEnabled: // also where it could not be destroyed
			return fmt.Errorf("%w: %s is %s", kms.ErrDisabled, kek, o.d.State)
		case err != nil:
			return err
		}
		return do(s, o)
	})
}

func aad(kid key.KID) []byte { return kms.Canonical(kms.Context(kid)) }

// seal encrypts under a fresh IV.
func (p *Provider) seal(s p11.SessionHandle, o p11.ObjectHandle, aad, plain []byte) (frame, error) {
	var iv [ivSize]byte
	_, _ = rand.Read(iv[:]) // never fails: it crashes the program instead
	used, sealed, err := p.lib.Seal(s, o, iv[:], aad, plain)
	if err != nil {
		return frame{}, fmt.Errorf("encrypt: %w", err)
	}
	return frame{iv: used, sealed: sealed}, nil
}

// unseal decrypts, and tells a frame that does not fit from a token that does not
// work; see the package comment.
func (p *Provider) unseal(s p11.SessionHandle, o p11.ObjectHandle, aad []byte, f frame) ([]byte, error) {
	raw, err := p.lib.Open(s, o, f.iv, aad, f.sealed)
	if isVague(err) {
		if own := p.roundTrip(s, o); own != nil {
			return nil, fmt.Errorf("KEK does not work on bytes of its own: %w (after decrypt: %s)", own, err.Error())
		}
		raw, err = p.lib.Open(s, o, f.iv, aad, f.sealed)
	}
	switch {
	case isVague(err):
		return nil, fmt.Errorf("%w: decrypt: %w, though the KEK works on bytes of its own", kms.ErrMismatch, err)
	case err != nil:
		return nil, fmt.Errorf("decrypt: %w", err)
	case len(raw) != keySize:
		clear(raw)
		return nil, fmt.Errorf("%w: %d bytes inside, want %d", kms.ErrMismatch, len(raw), keySize)
	}
	return raw, nil
}
