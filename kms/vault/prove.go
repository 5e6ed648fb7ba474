package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/kms"
)

// probeText is what probes encrypt, 16 bytes like a content key. It is no secret.
const probeText = "rekey probe text"

// probeAAD keeps probes apart from content keys: neither decrypts as the other.
// The policies hold operators and approvers to it.
func probeAAD() []byte {
	return kms.Canonical(map[string]string{"purpose": "rekey probe"})
}

// forged is a ciphertext of version 1 that was never made. A server on which
// version 1 is off refuses it for its version, one on which it is on for its tag.
func forged() string {
	return prefix + base64.StdEncoding.EncodeToString(make([]byte, sealedSize))
}

// seeBound sees, once for each Provider, that a ciphertext made with
// associated_data does not decrypt without: a server that does not know the
// parameter ignores it.
func (p *Provider) seeBound(ctx context.Context, t transitKey) error {
	if p.bound.Load() {
		return nil
	}
	probe, err := p.encrypt(ctx, t, []byte(probeText), probeAAD())
	if err != nil {
		return err
	}
	return p.unbound(ctx, t, probe)
}

// unbound sees that a probe does not decrypt without its associated data.
func (p *Provider) unbound(ctx context.Context, t transitKey, probe string) error {
	switch _, err := p.decrypt(ctx, t, probe, nil); {
	case err == nil:
		return fmt.Errorf("%w: the server ignores associated_data: it must be Vault 1.13 or later, or OpenBao", kms.ErrDenied)
	case !errors.Is(err, kms.ErrMismatch):
		return err
	}
	p.bound.Store(true)
	return nil
}

// proveOff waits until version 1 is off and uses of it were refused several times
// in a row: encrypting always, decrypting if asked to.
func (p *Provider) proveOff(ctx context.Context, t transitKey, decrypting bool) error {
	seen := 0
	return p.poll(ctx, "switched off, but a use was not refused", func(ctx context.Context) (bool, error) {
		off, err := p.off(ctx, t, decrypting)
		if !off {
			seen = 0
			return false, err
		}
		seen++
		return seen >= p.o.Refusals, nil
	})
}

// off makes one round: it must be refused whole, and because it is off.
func (p *Provider) off(ctx context.Context, t transitKey, decrypting bool) (bool, error) {
	info, _, err := p.get(ctx, t)
	if err != nil || info.MinDecryption <= 1 {
		return false, err
	}
	if _, err := p.encrypt(ctx, t, []byte(probeText), probeAAD()); !errors.Is(err, kms.ErrDisabled) {
		return false, err
	}
	if !decrypting {
		return true, nil
	}
	_, err = p.decrypt(ctx, t, forged(), probeAAD())
	switch {
	case errors.Is(err, kms.ErrDisabled):
		return true, nil
	case errors.Is(err, kms.ErrMismatch): // this node still tries it
		return false, nil
	}
	return false, err
}

// proveOn waits until encrypting and decrypting work.
func (p *Provider) proveOn(ctx context.Context, t transitKey) error {
	return p.poll(ctx, "switched on, but a use was still refused", func(ctx context.Context) (bool, error) {
		on, err := p.on(ctx, t)
		if errors.Is(err, kms.ErrDisabled) { // this node lags behind
			return false, nil
		}
		return on, err
	})
}

func (p *Provider) on(ctx context.Context, t transitKey) (bool, error) {
	probe, err := p.encrypt(ctx, t, []byte(probeText), probeAAD())
	if err != nil {
		return false, err
	}
	plain, err := p.decrypt(ctx, t, probe, probeAAD())
	if err == nil {
		err = p.unbound(ctx, t, probe)
	}
	return err == nil && bytes.Equal(plain, []byte(probeText)), err
}

// poll looks until it is done, for at most PollFor. Errors that pass with time
// are borne till then; done is not asked again after another. It gives true or an
// error, not both.
func (p *Provider) poll(ctx context.Context, late string, done func(context.Context) (bool, error)) error {
	end := p.o.Clock().Add(p.o.PollFor)
	for {
		ok, err := done(ctx)
		switch {
		case err != nil && !kms.Passes(err):
			return err
		case ok:
			return nil
		case !p.o.Clock().Before(end) && err != nil:
			return fmt.Errorf("not seen within %s: %w", p.o.PollFor, err)
		case !p.o.Clock().Before(end):
			return fmt.Errorf("%w: %s after %s", kms.ErrUnavailable, late, p.o.PollFor)
		}
		if err := p.o.Wait(ctx, p.o.Poll); err != nil {
			return err
		}
	}
}
