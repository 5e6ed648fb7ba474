package aws

import (
	"context"
	"fmt"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/seed-6133abe0/rekey/kms"
)

// Describe says how the key stands. Name is that which Create gave, "" for other
// keys. AWS keeps no trace of a key that is destroyed: kms.ErrNotFound.
func (p *Provider) Describe(ctx context.Context, kek string) (kms.Description, error) {
	k, err := parseKEK(kek)
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK: %w", err)
	}
	got, err := p.describe(ctx, k.region, k.arn)
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK %s: %w", kek, err)
	}
	d := kms.Description{KEK: kek, Name: nameOf(text(got.Description)), State: state(got.KeyState)}
	if got.CreationDate != nil {
		d.Created = *got.CreationDate
	}
	if got.DeletionDate != nil && d.State == kms.KEKPending {
		d.Destroys = *got.DeletionDate
	}
	return d, nil
}

// Disable switches the key off and waits until that is seen; see the package
// comment. One that is to be destroyed stays so.
func (p *Provider) Disable(ctx context.Context, kek string) error {
	k, err := parseKEK(kek)
	if err != nil {
		return fmt.Errorf("disable KEK: %w", err)
	}
	if err := p.disable(ctx, k); err != nil {
		return fmt.Errorf("disable KEK %s: %w", kek, p.changeError(ctx, k, err))
	}
	return nil
}

func (p *Provider) disable(ctx context.Context, k keyARN) error {
	got, err := p.settled(ctx, k)
	if err != nil {
		return err
	}
	probe, err := p.probe(ctx, k) // while it still can be made
	if err != nil {
		return err
	}
	if !isOff(got.KeyState) {
		if err := p.disableKey(ctx, k); err != nil {
			return err
		}
	}
	if err := p.proveOff(ctx, k, probe); err != nil {
		return fmt.Errorf("it was told to be off: %w", err)
	}
	return nil
}

// Enable switches the key on, calling back its deletion first, and waits until a
// use works.
func (p *Provider) Enable(ctx context.Context, kek string) error {
	k, err := parseKEK(kek)
	if err != nil {
		return fmt.Errorf("enable KEK: %w", err)
	}
	if err := p.enable(ctx, k); err != nil {
		return fmt.Errorf("enable KEK %s: %w", kek, p.changeError(ctx, k, err))
	}
	return nil
}

func (p *Provider) enable(ctx context.Context, k keyARN) error {
	got, err := p.settled(ctx, k)
	if err != nil {
		return err
	}
	if isPending(got.KeyState) {
		if _, err := call(ctx, p, k.region, p.client.CancelKeyDeletion, &awskms.CancelKeyDeletionInput{KeyId: &k.arn}); err != nil {
			return err
		}
	}
	if got.KeyState != types.KeyStateEnabled {
		if err := p.enableKey(ctx, k); err != nil {
			return err
		}
	}
	return p.proveOn(ctx, k, nil)
}

// enableKey waits until the service knows that the deletion was called back.
func (p *Provider) enableKey(ctx context.Context, k keyARN) error {
	return p.poll(ctx, "not enabled", func(ctx context.Context) (bool, error) {
		_, err := call(ctx, p, k.region, p.client.EnableKey, &awskms.EnableKeyInput{KeyId: &k.arn})
		if !isState(err) {
			return err == nil, err
		}
		if got, looked := p.describe(ctx, k.region, k.arn); looked == nil && isOff(got.KeyState) {
			return false, nil
		}
		return false, err
	})
}

// ScheduleDestruction switches the key off and has it deleted after
// PendingWindowInDays; one that is to be deleted already keeps its date.
func (p *Provider) ScheduleDestruction(ctx context.Context, kek string) (time.Time, error) {
	k, err := parseKEK(kek)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK: %w", err)
	}
	due, err := p.destroy(ctx, k)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK %s: %w", kek, p.changeError(ctx, k, err))
	}
	return due, nil
}

func (p *Provider) destroy(ctx context.Context, k keyARN) (time.Time, error) {
	got, err := p.settled(ctx, k)
	if err != nil {
		return time.Time{}, err
	}
	probe, err := p.probe(ctx, k) // while it still can be made
	if err != nil {
		return time.Time{}, err
	}
	date := got.DeletionDate
	if !isPending(got.KeyState) {
		if date, err = p.schedule(ctx, k); err != nil {
			return time.Time{}, err
		}
	}
	if err := p.proveOff(ctx, k, probe); err != nil {
		return time.Time{}, fmt.Errorf("deletion is scheduled: %w", err)
	}
	if date == nil { // a multi-Region primary key waits for its replicas
		return time.Time{}, fmt.Errorf("%w: deletion is scheduled, but there is no date before its replica keys are deleted", kms.ErrUnavailable)
	}
	return *date, nil
}

// state puts AWS's states in rekey's words. Only a key that can be used counts as
// enabled.
func state(s types.KeyState) kms.KEKState {
	switch {
	case s == types.KeyStateEnabled:
		return kms.KEKEnabled
	case isPending(s):
		return kms.KEKPending
	default: // Disabled, PendingImport, Unavailable, Creating, Updating, and what AWS may add
		return kms.KEKDisabled
	}
}

// settled describes a key, but for one that AWS is still working on.
func (p *Provider) settled(ctx context.Context, k keyARN) (*types.KeyMetadata, error) {
	got, err := p.describe(ctx, k.region, k.arn)
	if err != nil {
		return nil, err
	}
	if got.KeyState == types.KeyStateCreating || got.KeyState == types.KeyStateUpdating {
		return nil, fmt.Errorf("%w: it is %s", kms.ErrUnavailable, got.KeyState)
	}
	return got, nil
}

// describe takes a key's ARN or an alias.
func (p *Provider) describe(ctx context.Context, region, id string) (*types.KeyMetadata, error) {
	out, err := call(ctx, p, region, p.client.DescribeKey, &awskms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, err
	}
	if out.KeyMetadata == nil {
		return nil, fmt.Errorf("%w: the service does not say how the key stands", kms.ErrUnavailable)
	}
	return out.KeyMetadata, nil
}

func (p *Provider) disableKey(ctx context.Context, k keyARN) error {
	_, err := call(ctx, p, k.region, p.client.DisableKey, &awskms.DisableKeyInput{KeyId: &k.arn})
	return err
}

func (p *Provider) schedule(ctx context.Context, k keyARN) (*time.Time, error) {
	days := int32(p.o.PendingWindowInDays)
	out, err := call(ctx, p, k.region, p.client.ScheduleKeyDeletion, &awskms.ScheduleKeyDeletionInput{KeyId: &k.arn, PendingWindowInDays: &days})
	if err != nil {
		return nil, err
	}
	return out.DeletionDate, nil
}
