package kms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"github.com/seed-6133abe0/rekey/key"
)

// HKDF info labels (RFC 5869 §3.2). One label, one key: a label is never used
// for a second purpose, and never changes.
const (
	labelID   = "rekey kms/local v1 kek id"
	labelWrap = "rekey kms/local v1 wrap key"
)

// A wrapped key is: version (1 byte) ‖ nonce (12) ‖ ciphertext (16) ‖ tag (16).
// The version is authenticated with the context.
const (
	wrapVersion = 1
	wrappedSize = 1 + 12 + 16 + 16
)

// Local wraps under a KEK derived from a master key in a file. It is safe for
// concurrent use and prints as its id.
type Local struct {
	id   string
	aead cipher.AEAD
}

// OpenLocal reads the master key file at path, which only its owner may read
// (else ErrMasterFile). If there is none a new master key is written there
// first, in mode 0600 and never over another file. Whoever loses the file loses
// every key wrapped under it.
func OpenLocal(path string) (*Local, error) {
	m, err := readMaster(path)
	if isMissing(err) {
		if err = createMaster(path); err == nil {
			m, err = readMaster(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open local KEK: %w", err)
	}
	defer clear(m[:])
	return newLocal(m)
}

func newLocal(m *master) (*Local, error) {
	id, err := m.id()
	if err != nil {
		return nil, err
	}
	wrapKey, err := m.derive(labelWrap)
	if err != nil {
		return nil, err
	}
	defer clear(wrapKey)
	block, err := aes.NewCipher(wrapKey)
	if err != nil {
		return nil, fmt.Errorf("set up wrap key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("set up wrap key: %w", err)
	}
	return &Local{id: id, aead: aead}, nil
}

// ID is "local:" and 8 hex digits. They come from the master key through a
// label of their own and a hash, and tell nothing of the wrap key.
func (l *Local) ID() string { return l.id }

// Wrap encrypts k for kid. Each call gives other bytes.
func (l *Local) Wrap(ctx context.Context, kid key.KID, k key.ContentKey) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	if k.IsZero() {
		return nil, fmt.Errorf("wrap key %s: %w: no key given", kid, ErrDenied)
	}
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	out := make([]byte, 1, wrappedSize)
	out[0] = wrapVersion
	return l.aead.Seal(out, nil, raw[:], l.aad(kid)), nil
}

// Unwrap decrypts what Wrap made for the same kid; anything else is ErrMismatch.
func (l *Local) Unwrap(ctx context.Context, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	if err := ctx.Err(); err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	if len(wrapped) != wrappedSize {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w: %d bytes, want %d", kid, ErrMismatch, len(wrapped), wrappedSize)
	}
	if wrapped[0] != wrapVersion {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w: format version %d, want %d", kid, ErrMismatch, wrapped[0], wrapVersion)
	}
	raw, err := l.aead.Open(nil, nil, wrapped[1:], l.aad(kid))
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w", kid, l.id, ErrMismatch)
	}
	defer clear(raw)
	return key.ContentKeyFromBytes(raw)
}

func (l *Local) aad(kid key.KID) []byte {
	c := Context(l.id, kid)
	c["format"] = fmt.Sprintf("local/%d", wrapVersion)
	return canonical(c)
}

// String is the KEK's id.
func (l *Local) String() string { return l.id }

// GoString is the KEK's id.
func (l *Local) GoString() string { return l.id }

// Format prints the KEK's id for every verb: the AEAD inside holds the expanded
// wrap key.
func (l *Local) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.id) }

// LogValue makes slog print the KEK's id.
func (l *Local) LogValue() slog.Value { return slog.StringValue(l.id) }

// derive expands the master key for one label (RFC 5869; no salt: the master is
// uniformly random).
func (m *master) derive(label string) ([]byte, error) {
	b, err := hkdf.Key(sha256.New, m[:], nil, label, 32)
	if err != nil {
		return nil, fmt.Errorf("derive %q: %w", label, err)
	}
	return b, nil
}

func (m *master) id() (string, error) {
	b, err := m.derive(labelID)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return "local:" + hex.EncodeToString(sum[:4]), nil
}
