package dashboard

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/keyring/backup/restore"
	"github.com/seed-6133abe0/rekey/kms"
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
	// Replaced are those of Created whose record stood and did not decode.
	Replaced int `json:"replaced,omitempty"`
	// Failed are the keys of the backup that are not restored.
	Failed []restore.Failure `json:"failed,omitempty"`
}

// opened is a backup whose shares and code are right, and which is whole.
type opened struct {
	master      *backup.Master
	unlocked    *backup.Unlocked
	body        []byte
	fingerprint string
}

// combine puts the master of a backup together.
func (r *Restorer) combine(h *backup.Header, texts []string) (*backup.Master, error) {
	var shares []backup.Share
	for _, text := range texts {
		sealed, err := backup.ParseSealedShare([]byte(text))
		if err != nil {
			return nil, err
		}
		s, err := h.OpenShare(sealed, r.own)
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	return h.Combine(shares)
}

// open proves a bundle: its shares first, which nobody guesses; then the code, which
// tried has counted and recorded before it is looked at; then the whole backup.
func (r *Restorer) open(ctx context.Context, b Bundle, tried func(fingerprint string) error) (*opened, error) {
	h, err := backup.ReadHeader(bytes.NewReader(b.Backup))
	if err != nil {
		return nil, err
	}
	o := &opened{body: b.Backup, fingerprint: h.Fingerprint()}
	if o.master, err = r.combine(h, b.Shares); err != nil {
		return nil, err
	}
	if err = tried(o.fingerprint); err == nil {
		o.unlocked, err = o.master.Unlock(b.Code, r.clock(), restore.UseCode(ctx, r.control, o.fingerprint))
	}
	if err == nil {
		_, err = o.unlocked.Verify(bytes.NewReader(b.Backup))
	}
	if err != nil {
		o.master.Close()
		return nil, err
	}
	return o, nil
}

const maxBundle = 1 << 30 // bytes

func (a *API) restoreKey(w http.ResponseWriter, r *http.Request) {
	b, err := a.Restore.PublicKey()
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]string{"key": string(b)})
}

type openedKey struct{}

// restoreSubject binds the approval to the backup's digest and fingerprint, which the
// query names: the one is of all that is in the file, the other is what was recorded
// when it was made.
func (a *API) restoreSubject(r *http.Request) (access.Subject, error) {
	q := r.URL.Query()
	if len(q.Get("digest")) != 2*sha256.Size || len(q.Get("backup")) != 2*sha256.Size {
		return access.Subject{}, fmt.Errorf("%w: no digest and fingerprint of the backup in the query", access.ErrInvalid)
	}
	return access.Subject{Digest: q.Get("digest"), Object: restore.Name(q.Get("backup"), replaces(r))}, nil
}

// replaces tells whether corrupt records are to be replaced.
func replaces(r *http.Request) bool { return r.URL.Query().Get("replace") == "corrupt" }

// restorable proves the bundle before the approval is used up: a wrong code, or a
// share that is missing, costs no second person's approval. Nothing is looked at, and
// no code can be guessed, without an approval that could be used now; with one,
// [backup.MaxAttempts] codes are, each on the log before, and none while no key could
// be put back. restore finds what was opened in the request's context.
func (a *API) restorable(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
	s, err := a.restoreSubject(r)
	var o *opened
	if err == nil {
		o, err = a.openBundle(r, r.Header.Get(access.ApprovalHeader), s)
	}
	if err != nil {
		a.fail(w, r, fmt.Errorf("%w: %w", errRestore, err))
		return nil, false
	}
	context.AfterFunc(r.Context(), o.master.Close) // the approval may still be refused
	return context.WithValue(r.Context(), openedKey{}, o), true
}

// openBundle reads and proves a bundle. What is wrong with it is on record.
func (a *API) openBundle(r *http.Request, id string, s access.Subject) (*opened, error) {
	e := audit.Record{Action: audit.KeyRestore, Request: id, Object: r.URL.Query().Get("backup")}
	b, err := readBundle(r, s.Digest, e.Object)
	var o *opened
	n := 0
	if err == nil {
		o, err = a.Restore.open(r.Context(), b, func(fingerprint string) (err error) {
			if err = a.wraps(r.Context()); err != nil {
				return err
			}
			if n, err = restore.Try(r.Context(), a.Restore.control, fingerprint, id); err != nil {
				return err
			}
			tried := e
			tried.Outcome, tried.Reason = "requested", fmt.Sprintf("code %d of %d is tried", n, backup.MaxAttempts)
			return a.record(r, tried)
		})
	}
	if errors.Is(err, backup.ErrFactor) {
		err = fmt.Errorf("%w (code %d of %d that this approval is good for)", err, n, backup.MaxAttempts)
	}
	if err != nil {
		e.Outcome = audit.Refused
		if outage(err) {
			e.Outcome = audit.Failed
		}
		return nil, a.because(r, e, err)
	}
	return o, nil
}

// wraps is an error while nothing can be wrapped under the KEK in use. A key that
// nobody has is tried, and opened again as the keys that follow are.
func (a *API) wraps(ctx context.Context) error {
	kek, err := a.Engine.Ring.KEK(ctx)
	if err != nil {
		return err
	}
	kid := key.NewKID()
	wrapped, err := a.KEKs.Wrap(ctx, kek, kid, key.NewContentKey())
	if err == nil {
		_, err = a.KEKs.Unwrap(ctx, kek, kid, wrapped)
	}
	if err != nil {
		return fmt.Errorf("try the KEK in use, %s: %w", kek, err)
	}
	return nil
}

// outage tells that a restore failed for the control store or the key service, and
// not for what was sent.
func outage(err error) bool {
	return kms.OutOfReach(err) || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDenied)
}

// because puts e on record with why, and returns that.
func (a *API) because(r *http.Request, e audit.Record, err error) error {
	e.Reason = err.Error()
	if unrecorded := a.record(r, e); unrecorded != nil {
		return fmt.Errorf("%w (and this is not on record: %w)", err, unrecorded)
	}
	return err
}

// readBundle reads a bundle whose backup is the one that was approved.
func readBundle(r *http.Request, digest, fingerprint string) (Bundle, error) {
	var b Bundle
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBundle))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return Bundle{}, fmt.Errorf("%w: read request: %w", access.ErrInvalid, err)
	}
	if sum := sha256.Sum256(b.Backup); hex.EncodeToString(sum[:]) != digest {
		return Bundle{}, errors.New("the backup is not the one that was approved")
	}
	h, err := backup.ReadHeader(bytes.NewReader(b.Backup))
	if err == nil && h.Fingerprint() != fingerprint {
		err = fmt.Errorf("the backup is %s, and %s was approved", h.Fingerprint(), fingerprint)
	}
	return b, err
}

// restore puts back what restorable has opened, now that the approval is used.
func (a *API) restore(w http.ResponseWriter, r *http.Request) {
	o, ok := r.Context().Value(openedKey{}).(*opened)
	if !ok {
		a.fail(w, r, fmt.Errorf("%w: nothing was opened", errRestore))
		return
	}
	defer o.master.Close()
	approval, _ := access.ApprovalFrom(r.Context())
	e := audit.Record{Action: audit.KeyRestore, Request: approval.Request.ID, Object: o.fingerprint, Outcome: audit.Allowed, Reason: approved(approval)}
	err := a.record(r, e)
	var done restore.Counts
	if err == nil {
		done, err = restore.All(r.Context(), a.ring(r.Context()), o.unlocked, o.body, restore.Options{
			Reason: approved(approval), ReplaceCorrupt: replaces(r), Control: a.Control,
			Record: func(_ context.Context, e audit.Record) error { return a.record(r, e) },
		})
	}
	if err != nil {
		e.Outcome = audit.Failed
		a.fail(w, r, a.because(r, e, fmt.Errorf("%w: %w", errRestore, err)))
		return
	}
	if n := len(done.Failed); n > 0 {
		e.Outcome, e.Reason = audit.Failed, fmt.Sprintf("%d of %d keys and secrets are not restored: %s", n, n+done.Entries, approved(approval))
		if err := a.record(r, e); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	answer(w, Restored{done.Entries, done.Created, o.fingerprint, done.Replaced, done.Failed})
}
