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
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// LocalScheme is what the ids of local KEKs begin with.
const LocalScheme = "local"

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

// LocalOptions set up a Local.
type LocalOptions struct {
	// Path is the file of the first master key. Others that Create makes, the
	// states of all, and who uses them, lie in the folder Path + ".d"; where Path is
	// a link, beside the file that it leads to.
	Path string
	// Passphrase, if set, is asked for what the files are sealed under; fresh
	// says that a new one is being chosen. The bytes are cleared after use. Zero:
	// new files are not sealed, and sealed ones do not open.
	Passphrase func(file string, fresh bool) ([]byte, error)
	// Store tells which control store's keys are wrapped here, for all who share
	// the files: a KEK that another store uses is not switched off. It is asked
	// until it knows, and then no more. Zero: nothing is noted.
	Store func(ctx context.Context) (LocalStore, error)
	// Unnoted hears, once of each KEK, why nothing is noted though keys are wrapped:
	// the folder may not be written, and others may switch the KEK off. Zero:
	// nobody does.
	Unnoted func(kek string, err error)
	// DestroyAfter is the time from ScheduleDestruction to the end. Zero: 7 days.
	DestroyAfter time.Duration
	// Clock tells when a destruction is due. Zero: the system's.
	Clock func() time.Time
}

// LocalStore is a control store as it is noted beside the master keys.
type LocalStore struct {
	ID   string // which no other store has; a path is another store's elsewhere
	Name string // for people: its path or URL
}

// Local wraps under KEKs derived from master keys in files. It is safe for
// concurrent use, also by many processes.
//
// To disable or to schedule the destruction of a local KEK is an operational
// stop, not a boundary: it is a file beside the master key, and whoever can read
// the one can remove the other.
type Local struct {
	o    LocalOptions
	mu   sync.Mutex
	open map[string]cipher.AEAD // by KEK id
	// opening is held while a file is opened: a passphrase is asked for once, and
	// never by two at the same terminal.
	opening sync.Mutex
	naming  sync.Mutex
	store   LocalStore          // once it is known
	noted   map[string]struct{} // KEKs whose note has its Name
	unnoted map[string]struct{} // KEKs that Unnoted heard of
}

// NewLocal opens no file and makes none.
func NewLocal(o LocalOptions) *Local {
	if o.DestroyAfter == 0 {
		o.DestroyAfter = 7 * 24 * time.Hour
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Unnoted == nil {
		o.Unnoted = func(string, error) {}
	}
	return &Local{o: o, open: map[string]cipher.AEAD{}, noted: map[string]struct{}{}, unnoted: map[string]struct{}{}}
}

// Primary is the KEK of the file at Path. If there is none a new master key is
// written there first, in mode 0600 and never over another file. Whoever loses
// the file loses every key wrapped under it. A file that others may read, or
// that is no master key, is ErrMasterFile.
func (l *Local) Primary(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("open local KEK: %w", err)
	}
	m, err := l.read(l.o.Path)
	if isMissing(err) {
		if _, err = l.make(l.o.Path, true); err == nil {
			m, err = l.read(l.o.Path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("open local KEK: %w", err)
	}
	defer clear(m[:])
	return l.keep(m)
}

// keep sets up the wrap key of a master key.
func (l *Local) keep(m *master) (kek string, err error) {
	if kek, err = m.id(); err != nil {
		return "", err
	}
	wrapKey, err := m.derive(labelWrap)
	if err != nil {
		return "", err
	}
	defer clear(wrapKey)
	block, err := aes.NewCipher(wrapKey)
	if err != nil {
		return "", fmt.Errorf("set up wrap key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return "", fmt.Errorf("set up wrap key: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[kek] = aead
	return kek, nil
}

// use is the wrap key of a KEK that is enabled, and notes who uses it. To open
// what is wrapped goes before that, where it cannot be noted.
func (l *Local) use(ctx context.Context, kek string, wrap bool) (cipher.AEAD, error) {
	d, file, err := l.peek(kek)
	if err != nil {
		return nil, err
	}
	switch fresh, err := l.note(ctx, kek); {
	case err != nil && wrap && !notNotable(err):
		return nil, fmt.Errorf("%w: note the use of %s: %w", ErrUnavailable, kek, err)
	case err != nil && wrap:
		l.warn(kek, err)
	case fresh: // it may have been switched off since, for want of users
		if d, file, err = l.peek(kek); err != nil {
			return nil, err
		}
	}
	if d.State != KEKEnabled {
		return nil, fmt.Errorf("%w: %s is %s", ErrDisabled, kek, d.State)
	}
	if aead, ok := l.opened(kek); ok {
		return aead, nil
	}
	l.opening.Lock()
	defer l.opening.Unlock()
	if aead, ok := l.opened(kek); ok {
		return aead, nil
	}
	m, err := l.read(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	defer clear(m[:])
	if _, err := l.keep(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	aead, _ := l.opened(kek)
	return aead, nil
}

func (l *Local) opened(kek string) (cipher.AEAD, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	aead, ok := l.open[kek]
	return aead, ok
}

// Wrap encrypts k for kid. Each call gives other bytes.
func (l *Local) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	if k.IsZero() {
		return nil, fmt.Errorf("wrap key %s: %w: no key given", kid, ErrDenied)
	}
	aead, err := l.use(ctx, kek, true)
	if err != nil {
		return nil, fmt.Errorf("wrap key %s: %w", kid, err)
	}
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	out := make([]byte, 1, wrappedSize)
	out[0] = wrapVersion
	return aead.Seal(out, nil, raw[:], localAAD(kek, kid)), nil
}

// Unwrap decrypts what Wrap made for the same kid; anything else is ErrMismatch.
func (l *Local) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	if err := ctx.Err(); err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	aead, err := l.use(ctx, kek, false)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	if len(wrapped) != wrappedSize {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w: %d bytes, want %d", kid, ErrMismatch, len(wrapped), wrappedSize)
	}
	if wrapped[0] != wrapVersion {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w: format version %d, want %d", kid, ErrMismatch, wrapped[0], wrapVersion)
	}
	raw, err := aead.Open(nil, nil, wrapped[1:], localAAD(kek, kid))
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s under %s: %w", kid, kek, ErrMismatch)
	}
	defer clear(raw)
	return key.ContentKeyFromBytes(raw)
}

// localAAD binds the KEK's id and the format besides the context.
func localAAD(kek string, kid key.KID) []byte {
	c := Context(kid)
	c["kek"] = kek
	c["format"] = fmt.Sprintf("local/%d", wrapVersion)
	return Canonical(c)
}

// String is the path of the first file.
func (l *Local) String() string { return LocalScheme + ":" + l.o.Path }

// GoString is the path of the first file.
func (l *Local) GoString() string { return l.String() }

// Format prints the path for every verb: the AEADs inside hold expanded wrap
// keys.
func (l *Local) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// LogValue makes slog print the path.
func (l *Local) LogValue() slog.Value { return slog.StringValue(l.String()) }

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
	return LocalScheme + ":" + hex.EncodeToString(sum[:4]), nil
}
