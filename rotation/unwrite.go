package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// takeBackFor bounds what a driver does after the end of its context.
const takeBackFor = 30 * time.Second

// giveUp makes a fenced asset's outcome AssetCancelled, for good. Why one failed
// stays on record.
func (e *Engine) giveUp(ctx context.Context, p *journal.Plan) error {
	for n := 1; ; n++ {
		o, etag, err := e.Journal().Outcome(ctx, p.Rotation, p.Asset)
		if err != nil || o.State == journal.AssetCancelled {
			return err
		}
		if o.State != journal.AssetPending && o.State != journal.AssetFailed {
			return fmt.Errorf("give up %s: %w: it is fenced, and %s", p.Asset, journal.ErrCorrupt, o.State)
		}
		o.Asset, o.State, o.Time = p.Asset, journal.AssetCancelled, e.Clock().UTC()
		err = e.Journal().SetOutcome(ctx, p.Rotation, o, etag)
		if !errors.Is(err, store.ErrPrecondition) || n == turns {
			return err
		}
	}
}

// unwrite deletes what a plan lists as written, but for what is kept, and counts
// what was there. It looks first: on a versioned bucket, deleting what never was
// would leave a mark.
func (e *Engine) unwrite(ctx context.Context, p *journal.Plan, kept map[string]bool) (n int, err error) {
	moves := p.Moves()
	for _, from := range slices.Sorted(maps.Keys(moves)) {
		to := moves[from]
		if from == to || kept[to] {
			continue
		}
		if _, source := moves[to]; source || catalog.TreeOf(to) != p.Rotation {
			return n, fmt.Errorf("take back %s: %w: the plan of %s names it, and it is not the rotation's", to, journal.ErrCorrupt, p.Asset)
		}
		_, err := e.Media.Stat(ctx, to)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err == nil {
			err = e.Media.Delete(ctx, to)
		}
		if err != nil {
			return n, fmt.Errorf("take back: %w", err)
		}
		n++
	}
	return n, nil
}

// takeBack is called by a driver whose publish broke off. Where the asset was given
// up meanwhile, what the driver wrote after the deletion would stay for ever.
func (e *Engine) takeBack(ctx context.Context, p *journal.Plan) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackFor)
	defer cancel()
	err := e.takeBackGiven(ctx, p)
	if err != nil {
		e.Log.Warn("what was written of a cancelled asset may still be there; rekey clean takes it back", "rotation", p.Rotation, "asset", p.Asset, "error", err)
	}
}

func (e *Engine) takeBackGiven(ctx context.Context, p *journal.Plan) error {
	o, _, err := e.Journal().Outcome(ctx, p.Rotation, p.Asset)
	if err != nil || o.State != journal.AssetCancelled {
		return err
	}
	names, kids := map[string]bool{}, map[key.KID]bool{}
	for q, err := range e.Journal().Plans(ctx, p.Rotation) {
		if err != nil {
			return err
		}
		if q.Unit != p.Unit || q.Refusal != nil {
			continue
		}
		// What is not given up yet keeps its objects; a clean that gives it up
		// later deletes them then.
		if o, _, err = e.Journal().Outcome(ctx, q.Rotation, q.Asset); err != nil {
			return err
		}
		if o.State != journal.AssetCancelled {
			keep(q, names, kids)
		}
	}
	_, err = e.unwrite(ctx, p, names)
	return err
}
