package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// prefix begins every wrapped key: version 1 of the transit key is the KEK.
const prefix = "vault:v1:"

// sealedSize is that of what follows, before base64: a 96-bit nonce, 16 bytes
// and the tag.
const sealedSize = 12 + 16 + 16

// Wrap encrypts k under the KEK, bound to kid. What it returns is transit's own
// text, "vault:v1:…".
func (p *Provider) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	t, err := parseKEK(p.o.Mount, kek)
	if err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	if k.IsZero() {
		return nil, fmt.Errorf("wrap key %s: %w: no key given", kid, kms.ErrDenied)
	}
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	err = p.seeBound(ctx, t)
	var wrapped string
	if err == nil {
		wrapped, err = p.encrypt(ctx, t, raw[:], kms.Canonical(kms.Context(kid)))
	}
	if err != nil {
		return nil, fmt.Errorf("wrap key %s under %s: %w", kid, kek, p.useError(ctx, t, err))
	}
	return []byte(wrapped), nil
}

// Unwrap decrypts what Wrap made for the same kid under the same KEK.
func (p *Provider) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	t, err := parseKEK(p.o.Mount, kek)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	var raw []byte
	if err = checkSealed(string(wrapped)); err == nil {
		raw, err = p.decrypt(ctx, t, string(wrapped), kms.Canonical(kms.Context(kid)))
	}
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w", kid, kek, p.useError(ctx, t, err))
	}
	defer clear(raw)
	k, err := key.ContentKeyFromBytes(raw)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w: %w", kid, kek, kms.ErrMismatch, err)
	}
	return k, nil
}

// checkSealed takes one spelling of each ciphertext alone: base64 has bits and
// line feeds to spare, which the server overlooks and nothing authenticates.
func checkSealed(wrapped string) error {
	text, ok := strings.CutPrefix(wrapped, prefix)
	sealed, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(sealed) != sealedSize || base64.StdEncoding.EncodeToString(sealed) != text {
		return fmt.Errorf("%w: not %s and %d bytes in base64", kms.ErrMismatch, prefix, sealedSize)
	}
	return nil
}

// encrypt encrypts 16 bytes under version 1.
func (p *Provider) encrypt(ctx context.Context, t transitKey, plain, aad []byte) (string, error) {
	r, err := p.call(ctx, http.MethodPost, t.use("encrypt"), map[string]any{
		"plaintext":       base64.StdEncoding.EncodeToString(plain),
		"associated_data": base64.StdEncoding.EncodeToString(aad),
		"key_version":     1,
		// Looked at only when the key is not there and the token may make one. It
		// needs a context, so no key is made and the call fails.
		"convergent_encryption": true,
	})
	if err != nil {
		return "", err
	}
	var out struct {
		Ciphertext string `json:"ciphertext"`
	}
	if err := r.read(&out); err != nil {
		return "", err
	}
	if checkSealed(out.Ciphertext) != nil {
		return "", fmt.Errorf("%w: what the server encrypted is not %s and %d bytes", kms.ErrUnavailable, prefix, sealedSize)
	}
	return out.Ciphertext, nil
}

// decrypt returns what the caller clears after use. Nil aad: none is sent.
func (p *Provider) decrypt(ctx context.Context, t transitKey, wrapped string, aad []byte) ([]byte, error) {
	body := map[string]any{"ciphertext": wrapped}
	if aad != nil {
		body["associated_data"] = base64.StdEncoding.EncodeToString(aad)
	}
	r, err := p.call(ctx, http.MethodPost, t.use("decrypt"), body)
	if err != nil {
		return nil, err
	}
	defer clear(r.Data)
	var out struct {
		Plaintext []byte `json:"plaintext"` // base64, as encoding/json has it
	}
	if err := r.read(&out); err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

// useError settles why a use failed. A KEK that is off may be due for
// destruction. Encrypting under a key that is not there is 403 to those who may
// not make one.
func (p *Provider) useError(ctx context.Context, t transitKey, err error) error {
	if !errors.Is(err, kms.ErrDisabled) && !isForbidden(err) {
		return err
	}
	now, lookErr := p.look(ctx, t)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(lookErr, kms.ErrNotFound):
		return lookErr
	case lookErr == nil && now.state == kms.KEKDestroyed:
		return fmt.Errorf("%w: it is destroyed", kms.ErrDisabled)
	default: // perhaps the caller may not look: believe the refusal
		return err
	}
}
