package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

// Openings tells the keyring for which rotations a compromised key may be opened:
// those of the journal that are not over, and those that are being planned in
// this process. It is safe for concurrent use.
type Openings struct {
	journal *journal.Journal
	mu      sync.Mutex
	planned map[string]opening
}

type opening struct {
	since time.Time
	kids  []key.KID
}

// NewOpenings returns the openings of a control store's journal.
func NewOpenings(j *journal.Journal) *Openings {
	return &Openings{journal: j, planned: map[string]opening{}}
}

// Opened is when a rotation of kid was started, or resumed after a pause: keyring.ErrForbidden where there
// is none of that name, where it is over, or where it does not rotate kid; a zero
// kid asks of the rotation alone.
func (o *Openings) Opened(ctx context.Context, rotation string, kid key.KID) (time.Time, error) {
	o.mu.Lock()
	p, ok := o.planned[rotation]
	o.mu.Unlock()
	if !ok {
		s, _, err := o.journal.State(ctx, rotation)
		switch {
		case errors.Is(err, journal.ErrNoRotation):
			return time.Time{}, fmt.Errorf("%w: there is no such rotation", keyring.ErrForbidden)
		case err != nil:
			return time.Time{}, err
		case s.Phase.Final():
			return time.Time{}, fmt.Errorf("%w: the rotation is over", keyring.ErrForbidden)
		}
		p = opening{s.Created, s.KIDs}
		if s.Resumed.After(p.since) {
			p.since = s.Resumed
		}
	}
	if !kid.IsZero() && !slices.Contains(p.kids, kid) {
		return time.Time{}, fmt.Errorf("%w: the rotation does not rotate this key", keyring.ErrForbidden)
	}
	return p.since, nil
}

// plan opens a rotation that is not in the journal yet, until done.
func (o *Openings) plan(rotation string, since time.Time, kids []key.KID) (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.planned[rotation] = opening{since, kids}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.planned, rotation)
	}
}
