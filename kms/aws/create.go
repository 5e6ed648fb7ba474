package aws

import (
	"context"
	"errors"
	"fmt"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/seed-6133abe0/rekey/kms"
)

// Create makes a KMS key with the alias "alias/rekey-<name>" and waits until a
// use of it works. A key whose alias could not be made is not left enabled; what
// could not be put away is named in the error.
func (p *Provider) Create(ctx context.Context, name string) (string, error) {
	if err := kms.CheckName(name); err != nil {
		return "", fmt.Errorf("create KEK: %w", err)
	}
	alias := aliasPrefix + name
	if err := p.free(ctx, alias); err != nil {
		return "", fmt.Errorf("create KEK %s: %w", name, err)
	}
	k, err := p.make(ctx, name)
	if err != nil {
		return "", fmt.Errorf("create KEK %s: %w", name, err)
	}
	if err := p.lead(ctx, alias, k); err != nil {
		return "", fmt.Errorf("create KEK %s: %w", name, p.putAway(ctx, k, err))
	}
	if err := p.proveOn(ctx, k, isUnseen); err != nil {
		return "", fmt.Errorf("create KEK %s: %s is made: %w", name, k.kek(), err)
	}
	return k.kek(), nil
}

// isUnseen: a new key is not known everywhere at once.
func isUnseen(err error) bool { return errors.Is(err, kms.ErrNotFound) }

// free looks before a key is made that would have to be put away again.
func (p *Provider) free(ctx context.Context, alias string) error {
	_, err := p.describe(ctx, p.o.Region, alias)
	switch {
	case errors.Is(err, kms.ErrNotFound):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%w: %s", kms.ErrExists, alias)
	}
}

func (p *Provider) make(ctx context.Context, name string) (keyARN, error) {
	description := descriptionPrefix + name
	made, err := call(ctx, p, p.o.Region, p.client.CreateKey, &awskms.CreateKeyInput{
		Description: &description,
		KeySpec:     types.KeySpecSymmetricDefault,
		KeyUsage:    types.KeyUsageTypeEncryptDecrypt,
		Origin:      types.OriginTypeAwsKms,
	})
	if err != nil {
		return keyARN{}, err
	}
	if made.KeyMetadata == nil {
		return keyARN{}, fmt.Errorf("%w: the service does not say what it made", kms.ErrUnavailable)
	}
	k, err := parseKEK(Scheme + ":" + text(made.KeyMetadata.Arn))
	if err != nil {
		return keyARN{}, fmt.Errorf("%w: the service made %.300q", kms.ErrUnavailable, text(made.KeyMetadata.Arn))
	}
	return k, nil
}

// lead makes the alias. An answer that was lost is found by asking again.
func (p *Provider) lead(ctx context.Context, alias string, k keyARN) error {
	return p.poll(ctx, "made, but not known to the service", func(ctx context.Context) (bool, error) {
		_, err := call(ctx, p, k.region, p.client.CreateAlias, &awskms.CreateAliasInput{AliasName: &alias, TargetKeyId: &k.arn})
		switch {
		case err != nil && isUnseen(err):
			return false, nil
		case !errors.Is(err, kms.ErrExists):
			return err == nil, err
		}
		got, looked := p.describe(ctx, k.region, alias)
		if looked == nil && text(got.Arn) == k.arn {
			return true, nil
		}
		return false, err
	})
}

// putAway sees to it that a key without a name is not left enabled, also where
// the caller has gone: nobody else knows of it. It returns the cause.
func (p *Provider) putAway(ctx context.Context, k keyARN, cause error) error {
	ctx = context.WithoutCancel(ctx)
	err := p.retire(ctx, func(ctx context.Context) error { _, err := p.schedule(ctx, k); return err })
	if err != nil && !kms.Passes(err) {
		err = p.retire(ctx, func(ctx context.Context) error { return p.disableKey(ctx, k) })
	}
	if err != nil {
		return fmt.Errorf("%w; %s, made for it, is left enabled: %s", cause, k.kek(), err.Error())
	}
	return cause
}

func (p *Provider) retire(ctx context.Context, do func(context.Context) error) error {
	return p.poll(ctx, "made, but not known to the service", func(ctx context.Context) (bool, error) {
		err := do(ctx)
		if err != nil && isUnseen(err) {
			return false, nil
		}
		if isState(err) { // a call before this one did it, and its answer was lost
			return true, nil
		}
		return err == nil, err
	})
}
