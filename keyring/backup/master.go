package backup

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Labels: HKDF's info (RFC 5869 §3.2), for shares HPKE's exporter context (RFC 9180
// §5.3). One label, one key.
const (
	labelFactor = "rekey backup v2 factor"
	labelChunks = "rekey backup v2 chunks"
	labelShare  = "rekey backup v2 share"
)

// Master is the secret of one backup. It prints nothing and is safe for
// concurrent use. Close it.
type Master struct {
	h      *Header
	mu     sync.Mutex
	secret func() *[32]byte // nil: closed; a function, which fmt does not look through
	wrong  int              // codes
	used   map[uint64]bool  // counters of codes that were taken
}

func newMaster(h *Header, secret *[32]byte) *Master {
	return &Master{h: h, secret: func() *[32]byte { return secret }, used: map[uint64]bool{}}
}

// Close forgets the secret; what was unlocked reads no more.
func (m *Master) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.secret != nil {
		clear(m.secret()[:])
	}
	m.secret = nil
}

// aead is AES-256-GCM under the key of a label. The caller holds m.mu.
func (m *Master) aead(label string, salt [32]byte) (cipher.AEAD, error) {
	if m.secret == nil {
		return nil, ErrClosed
	}
	return derive(m.secret(), label, salt)
}

func derive(secret *[32]byte, label string, salt [32]byte) (cipher.AEAD, error) {
	k, err := hkdf.Key(sha256.New, secret[:], salt[:], label, 32)
	if err != nil {
		return nil, fmt.Errorf("derive %q: %w", label, err)
	}
	return sealer(k)
}

// sealer is AES-256-GCM with random nonces under k, which it clears.
func sealer(k []byte) (cipher.AEAD, error) {
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// MaxAttempts is how many wrong codes a Master takes.
const MaxAttempts = 5

// Unlock checks a code of the second factor at the time now; one period before or
// after will do (RFC 6238 §5.2). A right code is taken once: used must record its
// counter for good, in one step with finding that it was not there, and return
// ErrUsed where it was. No error of used unlocks. A wrong code is ErrFactor;
// after MaxAttempts of them every code is ErrAttempts.
func (m *Master) Unlock(code string, now time.Time, used func(counter uint64) error) (*Unlocked, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.unlock(code, now, used); err != nil {
		return nil, fmt.Errorf("unlock backup: %w", err)
	}
	return &Unlocked{m}, nil
}

func (m *Master) unlock(code string, now time.Time, used func(uint64) error) error {
	if used == nil {
		return fmt.Errorf("%w: nothing records used codes", ErrOptions)
	}
	if m.wrong >= MaxAttempts {
		return ErrAttempts
	}
	aead, err := m.aead(labelFactor, m.h.manifest)
	if err != nil {
		return err
	}
	secret, err := aead.Open(nil, nil, m.h.factor, nil)
	if err != nil {
		return fault(ErrDamaged, "second factor", -1, "was changed")
	}
	defer clear(secret)
	counter, ok, err := match(secret, code, now, m.h.Manifest.Factor.Digits)
	if err != nil {
		return err
	}
	if !ok {
		m.wrong++
		// A clock that is off is what makes right codes wrong.
		return fmt.Errorf("%w: code is wrong at %s by this machine's clock", ErrFactor, now.UTC().Format(time.DateTime))
	}
	if m.used[counter] {
		return ErrUsed
	}
	if err := used(counter); err != nil {
		return fmt.Errorf("record used code: %w", err)
	}
	m.used[counter] = true
	return nil
}

// Unlocked reads the entries of the backup whose master was unlocked.
type Unlocked struct{ m *Master }

func (m *Master) describe() string { return "master of backup " + m.h.Manifest.ID }

// String names the backup.
func (m *Master) String() string { return m.describe() }

// Format prints String for every verb.
func (m *Master) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.describe()) }

// LogValue makes slog print String.
func (m *Master) LogValue() slog.Value { return slog.StringValue(m.describe()) }
