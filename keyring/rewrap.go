package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// Rewrapped counts what RewrapAll came to.
type Rewrapped struct {
	KEK     string `json:"kek"`     // the one in use
	Keys    int    `json:"keys"`    // records that are under it now
	Moved   int    `json:"moved"`   // of them, those that this run wrapped
	Secrets int    `json:"secrets"` // other secrets, such as MAC keys of rotations
	// Left are the objects that cannot be read, where they are to be left.
	Left []string `json:"left,omitempty"`
}

// RewrapAll wraps every record and secret that is under another KEK under the one
// in use, each opened again and compared before it is written (SP 800-57 part 1
// §8.2.1.2: keys stay available). What is under it already is left alone, so a
// run that was broken off goes on where it was. It ends with a listing that
// found nothing left; ErrContended if others kept wrapping under another KEK.
//
// What cannot be read or moved does not keep the rest where it is: it is in the
// error, after all else was moved; see also WithoutUnreadable.
//
// seen, if not nil, hears of each record or secret that is settled.
func (r *Ring) RewrapAll(ctx context.Context, reason string, seen func()) (Rewrapped, error) {
	if seen == nil {
		seen = func() {}
	}
	moved := 0
	for range maxTries {
		p := pass{ring: r, reason: reason, seen: seen, off: map[string]bool{}}
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
	off    map[string]bool // by KEK that was looked at
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
			err = p.leave(ctx, "", "", err)
		case rec.State == Destroyed: // has nothing to move
			continue
		case rec.KEK != p.count.KEK:
			moved, err = p.move(ctx, objectName(rec.KID), rec.KEK, func() (int, error) {
				moved, err := p.ring.rewrapKey(ctx, rec.KID, p.reason, key.ContentKey{})
				return moved, within(err, "key "+rec.KID.String())
			})
		}
		if p.settle(ctx, &p.count.Keys, moved, err) {
			return errors.Join(p.failed...)
		}
	}
	for info, err := range p.ring.o.Store.List(ctx, secretPrefix) {
		moved := 0
		if err == nil {
			moved, err = p.move(ctx, info.Key, p.kekOfSecret(ctx, info.Key), func() (int, error) {
				moved, err := p.ring.rewrapSecret(ctx, info.Key, p.reason, key.ContentKey{})
				return moved, within(err, "secret "+info.Key)
			})
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
	if errors.Is(err, errLeft) {
		return false
	}
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
