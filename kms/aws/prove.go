package aws

import (
	"bytes"
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/seed-6133abe0/rekey/kms"
)

// probeText is what probes encrypt. It is no secret.
const probeText = "rekey probe text"

// probeContext keeps probes apart from content keys: neither decrypts as the
// other, and policies tell them apart.
func probeContext() map[string]string { return map[string]string{"purpose": "rekey probe"} }

// probe encrypts what is to be decrypted once the key is off. Nil if it is off
// already, for encrypting.
func (p *Provider) probe(ctx context.Context, k keyARN) ([]byte, error) {
	probe, err := p.encrypt(ctx, k, []byte(probeText), probeContext())
	if isState(err) {
		return nil, nil
	}
	return probe, err
}

// proveOff waits until the key is disabled or pending deletion, and uses of it
// were refused several times in a row: encrypting always, decrypting where there
// is a probe.
func (p *Provider) proveOff(ctx context.Context, k keyARN, probe []byte) error {
	seen := 0
	return p.poll(ctx, "switched off, but a use still worked", func(ctx context.Context) (bool, error) {
		off, err := p.off(ctx, k, probe)
		if !off {
			seen = 0
			return false, err
		}
		seen++
		return seen >= p.o.Refusals, nil
	})
}

// off makes one round: it must be refused whole, and for the key's state. A
// denial would say nothing of what another caller gets.
func (p *Provider) off(ctx context.Context, k keyARN, probe []byte) (bool, error) {
	got, err := p.describe(ctx, k.region, k.arn)
	if err != nil || !isOff(got.KeyState) {
		return false, err
	}
	if _, err := p.encrypt(ctx, k, []byte(probeText), probeContext()); !isState(err) {
		return false, err
	}
	if probe == nil {
		return true, nil
	}
	plain, err := p.decrypt(ctx, k, probe, probeContext())
	clear(plain)
	if !isState(err) {
		return false, err
	}
	return true, nil
}

func isOff(s types.KeyState) bool {
	return s == types.KeyStateDisabled || isPending(s)
}

func isPending(s types.KeyState) bool {
	return s == types.KeyStatePendingDeletion || s == types.KeyStatePendingReplicaDeletion
}

// proveOn waits until encrypting and decrypting work. borne is an error that
// does not count as yet, nil: none.
func (p *Provider) proveOn(ctx context.Context, k keyARN, borne func(error) bool) error {
	return p.poll(ctx, "switched on, but a use was still refused", func(ctx context.Context) (bool, error) {
		plain, err := p.roundTrip(ctx, k)
		if isState(err) || err != nil && borne != nil && borne(err) {
			return false, nil
		}
		return err == nil && bytes.Equal(plain, []byte(probeText)), err
	})
}

func (p *Provider) roundTrip(ctx context.Context, k keyARN) ([]byte, error) {
	probe, err := p.encrypt(ctx, k, []byte(probeText), probeContext())
	if err != nil {
		return nil, err
	}
	return p.decrypt(ctx, k, probe, probeContext())
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
