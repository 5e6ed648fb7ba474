package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// ErrSigner is the class of a signing key that is not one, or a file of one that
// may not be used.
var ErrSigner = errors.New("audit signing key is not usable")

// Signer signs checkpoints with Ed25519. It prints nothing secret.
type Signer struct {
	note.Signer
	verifier note.Verifier
	key      string
}

// String names the key, never its bytes.
func (s *Signer) String() string { return "signer " + s.Name() }

// GoString is String: %#v must not show the key either.
func (s *Signer) GoString() string { return s.String() }

// VerifierKey is the public key as those who hold checkpoints keep it.
func (s *Signer) VerifierKey() string { return s.key }

// Verifier checks the signer's own signatures.
func (s *Signer) Verifier() note.Verifier { return s.verifier }

// NewSigner reads a signing key in the form of note, PRIVATE+KEY+name+….
func NewSigner(skey string) (*Signer, error) {
	inner, err := note.NewSigner(skey)
	if err != nil {
		return nil, fmt.Errorf("%w: does not read as one", ErrSigner)
	}
	parts := strings.SplitN(skey, "+", 5)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, fmt.Errorf("%w: not an Ed25519 seed", ErrSigner)
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	clear(raw)
	if !ok {
		return nil, fmt.Errorf("%w: not an Ed25519 seed", ErrSigner)
	}
	key, err := note.NewEd25519VerifierKey(inner.Name(), public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	return &Signer{Signer: inner, verifier: v, key: key}, nil
}

// CreateSigner makes a signing key in a new file, mode 0600, durable when it
// returns. The name goes into every signature; by custom it is the log's origin.
// A file that exists is fs.ErrExist.
func CreateSigner(path, name string) (*Signer, error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return nil, fmt.Errorf("create audit signing key: %w: name %q is empty or holds blanks or '+'", ErrSigner, name)
	}
	skey, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fmt.Errorf("create audit signing key: %w", err)
	}
	s, err := NewSigner(skey)
	if err != nil {
		return nil, fmt.Errorf("create audit signing key: %w", err)
	}
	if err := writeSecret(path, skey+"\n"); err != nil {
		return nil, fmt.Errorf("create audit signing key: %w", err)
	}
	return s, nil
}

// writeSecret links the finished file to its name: a crash leaves no half key.
func writeSecret(path, text string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".audit-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(folder) //nolint:gosec // the folder the key was just put in
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// OpenSigner reads the file that CreateSigner made. One that others may read or
// write is refused.
func OpenSigner(path string) (*Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open audit signing key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("open audit signing key %s: %w: mode %s, want a file of mode 0600", path, ErrSigner, info.Mode())
	}
	if info.Size() > 4<<10 {
		return nil, fmt.Errorf("open audit signing key %s: %w: too large", path, ErrSigner)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open audit signing key: %w", err)
	}
	s, err := NewSigner(strings.TrimSpace(string(b)))
	clear(b)
	if err != nil {
		return nil, fmt.Errorf("open audit signing key %s: %w", path, err)
	}
	return s, nil
}

// OpenOrCreateSigner opens the key's file, or makes it where there is none.
func OpenOrCreateSigner(path, name string) (*Signer, error) {
	s, err := OpenSigner(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	s, err = CreateSigner(path, name)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return OpenSigner(path)
	}
	return s, err
}
