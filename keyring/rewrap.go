package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Rewrapped counts what RewrapAll came to.
type Rewrapped struct {
	KEK     string `json:"kek"`     // the one in use
	Keys    int    `json:"keys"`    // records that are under it now
	Moved   int    `json:"moved"`   // of them, those that this run wrapped
	Secrets int    `json:"secrets"` // other secrets, such as MAC keys of rotations
}

// RewrapAll wraps every record and secret that is under another KEK under the one
// in use, each opened again and compared before it is written (SP 800-57 part 1
// §8.2.1.2: keys stay available). What is under it already is left alone, so a
// run that was broken off goes on where it was. It ends with a listing that
// found nothing left; ErrContended if others kept wrapping under another KEK.
//
// What cannot be read or moved does not keep the rest where it is: it is in the
// error, after all else was moved.
//
// seen, if not nil, hears of each record or secret that is settled.
func (r *Ring) RewrapAll(ctx context.Context, reason string, seen func()) (Rewrapped, error) {
	if seen == nil {
		seen = func() {}
	}
	moved := 0
	for range maxTries {
		p := pass{ring: r, reason: reason, seen: seen}
		err := p.run(ctx)
		moved += p.count.Moved
		n := p.count.Moved
		p.count.Moved = moved
		if err != nil {
			return p.count, fmt.Errorf("rewrap keys: %w", err)
		}
		if n > 0 {
			continue
		}
		// Nothing was left; unless another KEK was chosen meanwhile.
		now, err := r.KEK(ctx)
		if err != nil || now == p.count.KEK {
			return p.count, err
		}
	}
	return Rewrapped{Moved: moved}, fmt.Errorf("rewrap keys: %w", ErrContended)
}

// pass is one walk of RewrapAll.
type pass struct {
	ring   *Ring
	reason string
	seen   func()
	count  Rewrapped
	failed []error
}

// maxFailed bounds what a pass goes past: more, and it is the store or the key
// service that fails.
const maxFailed = 16

func (p *pass) run(ctx context.Context) (err error) {
	if p.count.KEK, err = p.ring.KEK(ctx); err != nil {
		return err
	}
	for rec, err := range p.ring.List(ctx) {
		moved := 0
		switch {
		case err != nil:
		case rec.State == Destroyed: // has nothing to move
			continue
		case rec.KEK != p.count.KEK:
			if moved, err = p.ring.rewrapKey(ctx, rec.KID, p.reason, key.ContentKey{}); err != nil {
				err = fmt.Errorf("key %s: %w", rec.KID, err)
			}
		}
		if p.settle(ctx, &p.count.Keys, moved, err) {
			return errors.Join(p.failed...)
		}
	}
	for info, err := range p.ring.o.Store.List(ctx, secretPrefix) {
		moved := 0
		if err == nil {
			if moved, err = p.ring.rewrapSecret(ctx, info.Key, p.reason, key.ContentKey{}); err != nil {
				err = fmt.Errorf("secret %s: %w", info.Key, err)
			}
		}
		if p.settle(ctx, &p.count.Secrets, moved, err) {
			break
		}
	}
	return errors.Join(p.failed...)
}

// settle counts what became of one record or secret; stop: enough has failed.
func (p *pass) settle(ctx context.Context, n *int, moved int, err error) (stop bool) {
	p.count.Moved += moved
	if err != nil {
		p.failed = append(p.failed, err)
		return ctx.Err() != nil || len(p.failed) == maxFailed
	}
	*n++
	p.seen()
	return false
}

// rewrapKey puts one record under the KEK in use; moved is 1 if it was not there
// yet. Where the caller has the key at hand it need not be opened.
func (r *Ring) rewrapKey(ctx context.Context, kid key.KID, reason string, k key.ContentKey) (moved int, err error) {
	return follow(ctx, func() (bool, error) {
		kek, err := r.KEK(ctx)
		if err != nil {
			return false, err
		}
		e := audit.Record{Action: audit.KeyRewrap, KID: kid.String(), Object: kek, Reason: reason}
		rec, at, err := r.read(ctx, kid)
		if err != nil {
			return false, r.fail(ctx, e, err)
		}
		if rec.KEK == kek || rec.State == Destroyed {
			return true, nil
		}
		if err := r.allow(ctx, e); err != nil {
			return false, err
		}
		if k.IsZero() {
			if k, err = r.open(ctx, rec); err != nil {
				return false, r.fail(ctx, e, fmt.Errorf("open under %s: %w", rec.KEK, err))
			}
		}
		rec.Wrapped, err = r.wrapChecked(ctx, kek, kid, k)
		if err != nil && r.replaced(ctx, kek) {
			return false, errOtherKEK
		}
		if err != nil {
			return false, r.fail(ctx, e, fmt.Errorf("wrap under %s: %w", kek, err))
		}
		rec.moveTo(kek)
		if err = r.replace(ctx, rec, at.etag); err != nil {
			return false, r.fail(ctx, e, err)
		}
		return false, nil
	})
}

// errOtherKEK: another KEK was chosen while something was moved.
var errOtherKEK = errors.New("another KEK is in use by now")

// follow moves something until it is found where it belongs, since that may be
// elsewhere as soon as it was moved: move reports that it was there. A write that
// lost is decided again.
func follow(ctx context.Context, move func() (there bool, err error)) (moved int, err error) {
	for try := 0; ; try++ {
		there, err := move()
		switch {
		case there:
			return moved, nil
		case err == nil:
			moved = 1
			continue
		case !lost(err) && !errors.Is(err, errOtherKEK):
			return moved, err
		case try >= maxTries:
			return moved, fmt.Errorf("%w: %w", ErrContended, err)
		}
		if err := pause(ctx, try); err != nil {
			return moved, err
		}
	}
}

// UnderKEK counts the records and secrets that are under a KEK, those that
// cannot be read among them: they may be.
func (r *Ring) UnderKEK(ctx context.Context, kek string) (n int, err error) {
	for rec, err := range r.List(ctx) {
		switch {
		case errors.Is(err, ErrCorrupt) || err == nil && rec.KEK == kek && rec.State != Destroyed:
			n++
		case err != nil:
			return n, err
		}
	}
	for info, err := range r.o.Store.List(ctx, secretPrefix) {
		if err != nil {
			return n, fmt.Errorf("list secrets: %w", err)
		}
		s, _, err := r.readSecret(ctx, info.Key)
		switch {
		case errors.Is(err, ErrCorrupt) || err == nil && s.KEK == kek:
			n++
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return n, err
		}
	}
	return n, nil
}

// Switch turns KEKs off and on. The providers of package kms do.
type Switch interface {
	// Disable returns nil once no use of the KEK works.
	Disable(ctx context.Context, kek string) error
	// Enable returns nil once a use works.
	Enable(ctx context.Context, kek string) error
}

// enableTime bounds how long a KEK is tried to be switched on again.
const enableTime = 5 * time.Minute

// DisableKEK switches off a KEK that nothing is under any more; else, and for the
// one in use, it is ErrKEKInUse: what is under a disabled KEK can be read by
// nobody, and media under it is lost for good when it is destroyed. After it is
// off the store is looked through again; if something came in meanwhile, or that
// cannot be told, the KEK is switched on again, and the error says so.
func (r *Ring) DisableKEK(ctx context.Context, s Switch, kek, reason string) error {
	e := audit.Record{Action: audit.KEKDisable, Object: kek, Reason: reason}
	if err := r.unused(ctx, kek); err != nil {
		return r.refuse(ctx, e, fmt.Errorf("disable KEK: %w", err))
	}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	if err := s.Disable(ctx, kek); err != nil {
		return r.fail(ctx, e, fmt.Errorf("disable KEK: %w", err))
	}
	err := r.unused(ctx, kek)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("disable KEK: %w", err)
	// Also when ctx has ended: it must not stay off with keys under it.
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), enableTime)
	defer cancel()
	if back := s.Enable(again, kek); back != nil {
		err = fmt.Errorf("%w; and it could not be enabled again: %w", err, back)
	} else {
		err = fmt.Errorf("%w; it is enabled again: run kek rotate again", err)
	}
	return r.fail(ctx, e, err)
}

func (r *Ring) unused(ctx context.Context, kek string) error {
	now, err := r.KEK(ctx)
	if err != nil {
		return err
	}
	if now == kek {
		return fmt.Errorf("%w: %s is the one that new keys are wrapped under", ErrKEKInUse, kek)
	}
	n, err := r.UnderKEK(ctx, kek)
	if err == nil && n > 0 {
		err = fmt.Errorf("%w: %d keys and secrets are under %s, or cannot be read", ErrKEKInUse, n, kek)
	}
	return err
}
