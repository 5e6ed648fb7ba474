package gcp

import (
	"bytes"
	"context"
	"fmt"

	"cloud.google.com/go/kms/apiv1/kmspb"

	"github.com/seed-6133abe0/rekey/kms"
)

// probeText is what probes encrypt. It is no secret.
const probeText = "rekey probe text"

// probeAAD keeps probes apart from content keys: neither decrypts as the other.
func probeAAD(v version) []byte {
	return aad(v, map[string]string{"purpose": "rekey probe"})
}

// probe encrypts what is to be decrypted once the version is off. Nil if it is
// off already, for encrypting.
func (p *Provider) probe(ctx context.Context, v version) ([]byte, error) {
	probe, err := p.encrypt(ctx, v, []byte(probeText), probeAAD(v))
	if isPrecondition(err) {
		return nil, nil
	}
	return probe, err
}

// proveOff waits until the version is not enabled and uses of it were refused
// several times in a row: encrypting always, decrypting where there is a probe.
func (p *Provider) proveOff(ctx context.Context, v version, probe []byte) error {
	seen := 0
	return p.poll(ctx, "switched off, but a use still worked", func(ctx context.Context) (bool, error) {
		off, err := p.off(ctx, v, probe)
		if !off {
			seen = 0
			return false, err
		}
		seen++
		return seen >= p.o.Refusals, nil
	})
}

// off makes one round: it must be refused whole.
func (p *Provider) off(ctx context.Context, v version, probe []byte) (bool, error) {
	got, err := p.get(ctx, v)
	if err != nil || got.GetState() == kmspb.CryptoKeyVersion_ENABLED {
		return false, err
	}
	if _, err := p.encrypt(ctx, v, []byte(probeText), probeAAD(v)); !isPrecondition(err) {
		return false, err
	}
	if probe == nil {
		return true, nil
	}
	if _, err := p.decrypt(ctx, v, probe, probeAAD(v)); !isPrecondition(err) {
		return false, err
	}
	return true, nil
}

// proveOn waits until encrypting and decrypting work.
func (p *Provider) proveOn(ctx context.Context, v version) error {
	return p.poll(ctx, "switched on, but a use was still refused", func(ctx context.Context) (bool, error) {
		probe, err := p.probe(ctx, v)
		if err != nil || probe == nil {
			return false, err
		}
		plain, err := p.decrypt(ctx, v, probe, probeAAD(v))
		if isPrecondition(err) {
			return false, nil
		}
		return err == nil && bytes.Equal(plain, []byte(probeText)), err
	})
}

// poll looks until it is done, for at most PollFor. Errors that pass with time
// are borne till then; done is not asked again after another.
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
