package dashboard

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/store"
)

// errRestore: the backup, its shares or the code are not what they must be.
var errRestore = errors.New("backup is not restored")

// Restorer puts keys back from backups. Shares come sealed to a key that it makes
// when it starts and that no file holds, so that no holder's key leaves its
// machine.
type Restorer struct {
	own     *ecdh.PrivateKey
	control store.Store
	clock   func() time.Time
}

// NewRestorer makes the key.
func NewRestorer(control store.Store, clock func() time.Time) (*Restorer, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make restore key: %w", err)
	}
	return &Restorer{own, control, clock}, nil
}

// PublicKey is what shares are sealed to, in PEM.
func (r *Restorer) PublicKey() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(r.own.PublicKey())
	if err != nil {
		return nil, fmt.Errorf("encode restore key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Bundle is a restore on its way to the server.
type Bundle struct {
	Backup []byte   `json:"backup"`
	Shares []string `json:"shares"` // sealed to the server's restore key
	Code   string   `json:"code"`   // of the second factor
}

// Restored counts what a restore came to.
type Restored struct {
	Entries int    `json:"entries"`
	Created int    `json:"created"`
	Backup  string `json:"backup"` // the fingerprint
}

// Open puts the master together and unlocks it with the code, which is good once.
func (r *Restorer) Open(ctx context.Context, b Bundle) (*backup.Unlocked, *backup.Master, string, error) {
	h, err := backup.ReadHeader(bytes.NewReader(b.Backup))
	if err != nil {
		return nil, nil, "", err
	}
	var shares []backup.Share
	for _, text := range b.Shares {
		sealed, err := backup.ParseSealedShare([]byte(text))
		if err != nil {
			return nil, nil, "", err
		}
		s, err := h.OpenShare(sealed, r.own)
		if err != nil {
			return nil, nil, "", err
		}
		shares = append(shares, s)
	}
	m, err := h.Combine(shares)
	if err != nil {
		return nil, nil, "", err
	}
	u, err := m.Unlock(b.Code, r.clock(), UseCode(ctx, r.control, h.Fingerprint()))
	if err != nil {
		m.Close()
		return nil, nil, "", err
	}
	return u, m, h.Fingerprint(), nil
}

// UseCode is the hook of a backup's Unlock that takes each code once: it creates
// an object for it.
func UseCode(ctx context.Context, control store.Store, fingerprint string) func(uint64) error {
	return func(counter uint64) error {
		name := "restores/" + fingerprint + "/" + strconv.FormatUint(counter, 10)
		_, err := control.Put(ctx, name, nil, store.PutOptions{CreateOnly: true})
		if errors.Is(err, store.ErrPrecondition) {
			return backup.ErrUsed
		}
		return err
	}
}

// PutBack restores every entry of a backup that is whole.
func PutBack(ctx context.Context, ring *keyring.Ring, u *backup.Unlocked, body []byte, reason string) (out Restored, err error) {
	if _, err := u.Verify(bytes.NewReader(body)); err != nil {
		return out, err
	}
	for e, err := range u.Entries(bytes.NewReader(body)) {
		if err != nil {
			return out, err
		}
		created, err := ring.Restore(ctx, keyring.Copy(e), reason)
		if err != nil {
			return out, err
		}
		out.Entries++
		if created {
			out.Created++
		}
	}
	return out, nil
}

const maxBundle = 1 << 30 // bytes

func (a *API) restoreKey(w http.ResponseWriter, _ *http.Request) {
	b, err := a.Restore.PublicKey()
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, map[string]string{"key": string(b)})
}

// restoreSubject binds the approval to the backup's digest, which the query names
// and restore checks.
func (a *API) restoreSubject(r *http.Request) (access.Subject, error) {
	digest := r.URL.Query().Get("digest")
	if len(digest) != 2*sha256.Size {
		return access.Subject{}, fmt.Errorf("%w: no digest of the backup in the query", access.ErrInvalid)
	}
	return access.Subject{Digest: digest}, nil
}

func (a *API) restore(w http.ResponseWriter, r *http.Request) {
	var b Bundle
	if !readUpTo(w, r, maxBundle, &b) {
		return
	}
	sum := sha256.Sum256(b.Backup)
	if hex.EncodeToString(sum[:]) != r.URL.Query().Get("digest") {
		fail(w, fmt.Errorf("%w: the backup is not the one that was approved", errRestore))
		return
	}
	u, m, fingerprint, err := a.Restore.Open(r.Context(), b)
	if err != nil {
		fail(w, fmt.Errorf("%w: %w", errRestore, err))
		return
	}
	defer m.Close()
	approval, _ := access.ApprovalFrom(r.Context())
	out, err := PutBack(r.Context(), a.ring(r.Context()), u, b.Backup, approved(approval))
	if err != nil {
		fail(w, fmt.Errorf("%w: %w", errRestore, err))
		return
	}
	out.Backup = fingerprint
	answer(w, out)
}
