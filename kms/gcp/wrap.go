package gcp

import (
	"context"
	"fmt"
	"hash/crc32"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// maxWrapped bounds what is sent to be unwrapped, and what comes back from
// wrapping, in bytes.
const maxWrapped = 4 << 10

// Wrap encrypts k under the version that kek names, bound to kid and kek.
func (p *Provider) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	v, err := parseKEK(kek)
	if err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	if k.IsZero() {
		return nil, fmt.Errorf("wrap key %s: %w: no key given", kid, kms.ErrDenied)
	}
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	wrapped, err := p.encrypt(ctx, v, raw[:], aad(v, kms.Context(kid)))
	if err != nil {
		return nil, fmt.Errorf("wrap key %s under %s: %w", kid, kek, p.useError(ctx, v, err))
	}
	return wrapped, nil
}

// Unwrap decrypts what Wrap made for the same kid under the same version.
func (p *Provider) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	v, err := parseKEK(kek)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w: %d bytes, want 1 to %d", kid, kek, kms.ErrMismatch, len(wrapped), maxWrapped)
	}
	raw, err := p.decrypt(ctx, v, wrapped, aad(v, kms.Context(kid)))
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w", kid, kek, p.useError(ctx, v, err))
	}
	defer clear(raw)
	k, err := key.ContentKeyFromBytes(raw)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w: %w", kid, kek, kms.ErrMismatch, err)
	}
	return k, nil
}

// aad binds the version besides the context: Decrypt names the CryptoKey alone.
func aad(v version, context map[string]string) []byte {
	context["kek"] = v.kek()
	return kms.Canonical(context)
}

// checksum is CRC32C, as google/cloud/kms/v1/service.proto wants it. It covers
// plaintexts: it goes to the service and into no error.
func checksum(b []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
}

func agrees(sum *wrapperspb.Int64Value, b []byte) bool {
	return sum != nil && sum.GetValue() == checksum(b).GetValue()
}

// encrypt names the version, so the CryptoKey's primary does not matter.
func (p *Provider) encrypt(ctx context.Context, v version, plain, aad []byte) ([]byte, error) {
	resp, err := call(ctx, p, func(ctx context.Context, r *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
		return p.client.Encrypt(ctx, r)
	}, &kmspb.EncryptRequest{
		Name:                              v.name(),
		Plaintext:                         plain,
		PlaintextCrc32C:                   checksum(plain),
		AdditionalAuthenticatedData:       aad,
		AdditionalAuthenticatedDataCrc32C: checksum(aad),
	}, kms.ErrDenied)
	if err != nil {
		return nil, err
	}
	var fault string
	switch {
	case resp.GetName() != v.name():
		fault = fmt.Sprintf("the service encrypted under %.300q", resp.GetName())
	case !resp.GetVerifiedPlaintextCrc32C():
		fault = "the service did not check the plaintext's checksum"
	case !resp.GetVerifiedAdditionalAuthenticatedDataCrc32C():
		fault = "the service did not check the authenticated data's checksum"
	case !agrees(resp.GetCiphertextCrc32C(), resp.GetCiphertext()):
		fault = "the ciphertext's checksum does not agree"
	case len(resp.GetCiphertext()) == 0 || len(resp.GetCiphertext()) > maxWrapped:
		fault = fmt.Sprintf("%d bytes of ciphertext, want 1 to %d", len(resp.GetCiphertext()), maxWrapped)
	default:
		return resp.GetCiphertext(), nil
	}
	return nil, fmt.Errorf("%w: damaged in transit: %s", kms.ErrUnavailable, fault)
}

// decrypt returns what the caller clears after use.
func (p *Provider) decrypt(ctx context.Context, v version, ciphertext, aad []byte) ([]byte, error) {
	resp, err := call(ctx, p, func(ctx context.Context, r *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
		return p.client.Decrypt(ctx, r)
	}, &kmspb.DecryptRequest{
		Name:                              v.cryptoKey(),
		Ciphertext:                        ciphertext,
		CiphertextCrc32C:                  checksum(ciphertext),
		AdditionalAuthenticatedData:       aad,
		AdditionalAuthenticatedDataCrc32C: checksum(aad),
	}, kms.ErrMismatch)
	if err != nil {
		return nil, err
	}
	if !agrees(resp.GetPlaintextCrc32C(), resp.GetPlaintext()) {
		clear(resp.GetPlaintext())
		return nil, fmt.Errorf("%w: damaged in transit: the plaintext's checksum does not agree", kms.ErrUnavailable)
	}
	return resp.GetPlaintext(), nil
}
