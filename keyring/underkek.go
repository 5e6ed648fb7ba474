package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// WithoutUnreadable is the ring for whoever has to be rid of a KEK though some
// records or secrets do not read, or do not open: RewrapAll leaves them, and
// DisableKEK and DestroyKEK go on, though they may be under that KEK. If they can
// be mended, then only while it is there. Each is on the audit log by its name.
// RewrapAll leaves also what is under a KEK that is off.
// What keeps failing otherwise, and may pass, is an error all the same.
func (r *Ring) WithoutUnreadable() *Ring {
	other := *r
	other.leaves = true
	return &other
}

// under is what a KEK has under it.
type under struct {
	n          int      // records and secrets
	unreadable []string // objects that may be, or are and do not open
}

// UnderKEK counts the records and secrets that are under a KEK, those that
// cannot be read among them: they may be.
func (r *Ring) UnderKEK(ctx context.Context, kek string) (n int, err error) {
	u, err := r.lookUnder(ctx, kek, nil)
	return u.n + len(u.unreadable), err
}

// Unreadable names the records and secrets that cannot be read, and those under a
// KEK that do not open.
func (r *Ring) Unreadable(ctx context.Context, kek string) ([]string, error) {
	u, err := r.WithoutUnreadable().lookUnder(ctx, kek, nil)
	return u.unreadable, err
}

// describer is a key service that tells how a KEK stands. Those of package kms
// do; errors are of its classes.
type describer interface {
	Describe(ctx context.Context, kek string) (kms.Description, error)
}

// off reports whether a KEK is switched off, pending or destroyed, and is not the
// one in use: what is under it does not open, and that does not pass.
func (r *Ring) off(ctx context.Context, kek string) (bool, error) {
	s, tells := r.o.KMS.(describer)
	if !tells {
		return false, nil
	}
	now, err := r.KEK(ctx)
	if err != nil || now == kek {
		return false, err
	}
	d, err := s.Describe(ctx, kek)
	switch {
	case errors.Is(err, kms.ErrNotFound): // which is what opening says, too
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at KEK %s: %w", kek, err)
	}
	return d.State == kms.KEKDisabled || d.State == kms.KEKPending || d.State == kms.KEKDestroyed, nil
}

// leftBefore names what is on record as left when a KEK was switched off. It was
// tried while that KEK was on.
func (r *Ring) leftBefore(ctx context.Context) (names []string, err error) {
	for e, err := range audit.Read(ctx, r.o.Store) {
		if err != nil {
			return nil, fmt.Errorf("look for what was left: %w", err)
		}
		if (e.Action == audit.KEKDisable || e.Action == audit.KEKDestroy) && e.Outcome == audit.Unchanged {
			names = append(names, e.Object)
		}
	}
	return names, nil
}

// lookUnder opens what is under a KEK if that may be left, and the KEK is on;
// known is what did not open then. Under one that is off, what was never tried is
// taken for good.
func (r *Ring) lookUnder(ctx context.Context, kek string, known []string) (u under, err error) {
	opens := r.leaves
	if opens {
		off, err := r.off(ctx, kek)
		if err != nil {
			return u, err
		}
		if opens = !off; off {
			before, err := r.leftBefore(ctx)
			if err != nil {
				return u, err
			}
			known = slices.Concat(known, before)
		}
	}
	for rec, err := range r.List(ctx) {
		holds := err == nil && rec.KEK == kek && rec.State != Destroyed
		name := objectName(rec.KID)
		switch {
		case holds && slices.Contains(known, name):
			err = errLeft
		case holds && opens:
			_, err = r.open(ctx, rec)
		}
		if err := u.add(name, holds, err); err != nil {
			return u, err
		}
	}
	err = r.secretsUnder(ctx, kek, known, opens, &u)
	return u, err
}

func (r *Ring) secretsUnder(ctx context.Context, kek string, known []string, opens bool, u *under) error {
	for info, err := range r.o.Store.List(ctx, secretPrefix) {
		if err != nil {
			return fmt.Errorf("list secrets: %w", err)
		}
		s, _, err := r.readSecret(ctx, info.Key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		holds := err == nil && s.KEK == kek
		switch {
		case holds && slices.Contains(known, info.Key):
			err = errLeft
		case holds && opens:
			_, err = r.openSecret(ctx, s)
		}
		if err := u.add(info.Key, holds, err); err != nil {
			return err
		}
	}
	return nil
}

// add counts one object; err is why it does not read or open.
func (u *under) add(name string, holds bool, err error) error {
	switch {
	case err == nil && holds:
		u.n++
	case err == nil:
	case unreadable(err):
		u.unreadable = append(u.unreadable, objectOf(err, name))
	case !holds:
		return err
	default:
		return fmt.Errorf("open %s: %w", name, err)
	}
	return nil
}

// unreadable reports an error that does not pass with time: a record that does
// not read, a wrapped key that was damaged, a KEK that is gone.
func unreadable(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, kms.ErrMismatch) || errors.Is(err, kms.ErrNotFound) || errors.Is(err, errLeft)
}

// objectOf is the object that an error names, or name.
func objectOf(err error, name string) string {
	if at, ok := errors.AsType[*Error](err); ok && at.Object != "" {
		return at.Object
	}
	return name
}

// errLeft: it cannot be read, and is left.
var errLeft = errors.New("left, since it cannot be read")

// leave says of an error that it is to be left at that, where it is, and puts that
// on record. kek is what it is under, where that reads.
func (p *pass) leave(ctx context.Context, name, kek string, err error) error {
	if !p.ring.leaves || !unreadable(err) && !(errors.Is(err, kms.ErrDisabled) && p.shut(ctx, kek)) {
		return err
	}
	name = objectOf(err, name)
	e := audit.Record{Action: audit.KeyRewrap, Object: name, Reason: "left where it is: " + err.Error()}
	if err := p.ring.note(ctx, e, audit.Unchanged); err != nil {
		return err
	}
	p.count.Left = append(p.count.Left, name)
	return errLeft
}

// move moves what is under a KEK, or leaves it. Under one that is off it is not
// even tried where it may be left: to ask for such a KEK in vain keeps others from
// ending it.
func (p *pass) move(ctx context.Context, name, kek string, f func() (int, error)) (moved int, err error) {
	if p.ring.leaves && p.shut(ctx, kek) {
		err = fmt.Errorf("%s: %w: %s", name, kms.ErrDisabled, kek)
	} else {
		moved, err = f()
	}
	if err != nil {
		err = p.leave(ctx, name, kek, err)
	}
	return moved, err
}

// shut reports a KEK that is known to be off for good.
func (p *pass) shut(ctx context.Context, kek string) bool {
	if kek == "" || kek == p.count.KEK {
		return false
	}
	off, asked := p.off[kek]
	if !asked {
		var err error
		if off, err = p.ring.off(ctx, kek); err != nil {
			return false
		}
		p.off[kek] = off
	}
	return off
}

func within(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// kekOfSecret is what a secret is under, where it may be left; "" where it does
// not read.
func (p *pass) kekOfSecret(ctx context.Context, name string) string {
	if !p.ring.leaves {
		return ""
	}
	s, _, err := p.ring.readSecret(ctx, name)
	if err != nil {
		return ""
	}
	return s.KEK
}

// maxNamed bounds how many objects an error names.
const maxNamed = 16

// unused returns nil, with what was left out of account, or ErrKEKInUse. known is
// what it returned while the KEK was on.
func (r *Ring) unused(ctx context.Context, kek string, known []string) (left []string, err error) {
	now, err := r.KEK(ctx)
	if err != nil {
		return nil, err
	}
	if now == kek {
		return nil, fmt.Errorf("%w: %s is the one that new keys are wrapped under", ErrKEKInUse, kek)
	}
	u, err := r.lookUnder(ctx, kek, known)
	switch {
	case err != nil:
		return nil, err
	case u.n == 0 && (r.leaves || len(u.unreadable) == 0):
		return u.unreadable, nil
	}
	why := fmt.Sprintf("%d keys and secrets are under %s", u.n, kek)
	if n := len(u.unreadable); n > 0 && !r.leaves {
		why += fmt.Sprintf(", and %d that cannot be read may be (--without-unreadable leaves them): %s", n, strings.Join(u.unreadable[:min(n, maxNamed)], ", "))
	}
	if off, err := r.off(ctx, kek); r.leaves && err == nil && off {
		why += ", which is off: whether they open can be told once it is enabled"
	}
	return nil, fmt.Errorf("%w: %s", ErrKEKInUse, why)
}

// noteLeft puts on record what e is done without.
func (r *Ring) noteLeft(ctx context.Context, e audit.Record, left []string) error {
	for _, name := range left {
		o := audit.Record{Action: e.Action, Object: name, Reason: "cannot be read, and is left to what becomes of " + e.Object}
		if err := r.note(ctx, o, audit.Unchanged); err != nil {
			return err
		}
	}
	return nil
}
