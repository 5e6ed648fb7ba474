package aws

import (
	"context"
	"fmt"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// maxWrapped bounds what is sent to be unwrapped, and what comes back from
// wrapping, in bytes.
const maxWrapped = 4 << 10

// Wrap encrypts k under the key that kek names, bound to kid.
func (p *Provider) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	arn, err := parseKEK(kek)
	if err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	if k.IsZero() {
		return nil, fmt.Errorf("wrap key %s: %w: no key given", kid, kms.ErrDenied)
	}
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	wrapped, err := p.encrypt(ctx, arn, raw[:], kms.Context(kid))
	if err != nil {
		return nil, fmt.Errorf("wrap key %s under %s: %w", kid, kek, p.useError(ctx, arn, err))
	}
	return wrapped, nil
}

// Unwrap decrypts what Wrap made for the same kid under the same key.
func (p *Provider) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	arn, err := parseKEK(kek)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w: %d bytes, want 1 to %d", kid, kek, kms.ErrMismatch, len(wrapped), maxWrapped)
	}
	raw, err := p.decrypt(ctx, arn, wrapped, kms.Context(kid))
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w", kid, kek, p.useError(ctx, arn, err))
	}
	defer clear(raw)
	k, err := key.ContentKeyFromBytes(raw)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w: %w", kid, kek, kms.ErrMismatch, err)
	}
	return k, nil
}

func (p *Provider) encrypt(ctx context.Context, k keyARN, plain []byte, context map[string]string) ([]byte, error) {
	out, err := call(ctx, p, k.region, p.client.Encrypt, &awskms.EncryptInput{
		KeyId:               &k.arn,
		Plaintext:           plain,
		EncryptionContext:   context,
		EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault,
	})
	if err != nil {
		return nil, err
	}
	if got := text(out.KeyId); got != k.arn {
		return nil, fmt.Errorf("%w: the service encrypted under %.300q", kms.ErrUnavailable, got)
	}
	if n := len(out.CiphertextBlob); n == 0 || n > maxWrapped {
		return nil, fmt.Errorf("%w: %d bytes of ciphertext, want 1 to %d", kms.ErrUnavailable, n, maxWrapped)
	}
	return out.CiphertextBlob, nil
}

// decrypt returns what the caller clears after use.
func (p *Provider) decrypt(ctx context.Context, k keyARN, ciphertext []byte, context map[string]string) ([]byte, error) {
	out, err := call(ctx, p, k.region, p.client.Decrypt, &awskms.DecryptInput{
		KeyId:               &k.arn,
		CiphertextBlob:      ciphertext,
		EncryptionContext:   context,
		EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault,
	})
	if err != nil {
		return nil, err
	}
	if got := text(out.KeyId); got != k.arn {
		clear(out.Plaintext)
		return nil, fmt.Errorf("%w: the service decrypted under %.300q", kms.ErrMismatch, got)
	}
	return out.Plaintext, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
