package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

const (
	actionClean = "rotation.clean"
	// leaseTry is how often a lease that somebody has is asked for again.
	leaseTry = 250 * time.Millisecond
)

// Cleaned is what a clean came to. JSON shape as the command line prints it.
type Cleaned struct {
	Rotation string         `json:"rotation"`
	Assets   []CleanedAsset `json:"assets"`
	// Keys counts new keys that were deactivated.
	Keys int `json:"keys"`
}

// CleanedAsset is one asset that was not published when the clean began.
type CleanedAsset struct {
	Asset string `json:"asset"`
	// State is AssetCancelled, or what an asset is whose flips had begun.
	State journal.AssetState `json:"state"`
	// Objects counts what was there of it, and was deleted.
	Objects int    `json:"objects"`
	Reason  string `json:"reason,omitempty"`
}

// Left reports whether an asset was left alone.
func (c Cleaned) Left() bool {
	for _, a := range c.Assets {
		if a.State == journal.AssetFailed {
			return true
		}
	}
	return false
}

// Clean takes back what a rotation that is over wrote of assets that it did not
// publish: those of a cancelled one, and those that failed. It may be broken off at
// any point, and done again.
//
// First each such asset is fenced, so that no driver, however late, can flip its
// manifests, and its outcome becomes AssetCancelled. Only then is deleted what its
// plan lists as written, and no other asset of its unit keeps; then the new keys that
// nothing is under are deactivated. A worker or driver that was at it looks at the
// outcome after each thing it wrote, and takes that back itself: either it sees the
// outcome, or the deletion comes after.
//
// An asset whose flips were all on record is not fenced: of a cancelled rotation they
// are made now, as nobody else may come to do it; one that failed there is left alone.
// ErrPhase where the rotation is not over; ErrLeased where somebody keeps driving it.
func (e *Engine) Clean(ctx context.Context, id string) (Cleaned, error) {
	c := &cleaner{e: e, out: Cleaned{Rotation: id, Assets: []CleanedAsset{}}, units: map[string]*unitFate{}, given: map[string]int{}}
	err := c.run(ctx, id)
	return c.out, during("clean", id, err)
}

// cleaner is one run of Clean.
type cleaner struct {
	e     *Engine
	state journal.State
	out   Cleaned
	units map[string]*unitFate
	// given says of each asset that is given up where it stands in out.
	given map[string]int
}

// unitFate is what assets of a unit keep, which others of it share.
type unitFate struct {
	kept  []string // assets
	names map[string]bool
	kids  map[key.KID]bool
}

func (c *cleaner) run(ctx context.Context, id string) (err error) {
	if c.state, _, err = c.e.Journal().State(ctx, id); err != nil {
		return err
	}
	if !c.state.Phase.Final() {
		return fmt.Errorf("%w: it is %s; cancel it first", ErrPhase, c.state.Phase)
	}
	if err := c.record(ctx, ""); err != nil {
		return err
	}
	ctx, release, err := c.e.holdSoon(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	for p, err := range c.e.Journal().Plans(ctx, id) {
		if err == nil {
			err = c.decide(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	for p, err := range c.e.Journal().Plans(ctx, id) {
		if err != nil {
			return err
		}
		if i, ok := c.given[p.Asset]; ok {
			if err := c.clean(ctx, p, &c.out.Assets[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cleaner) record(ctx context.Context, asset string) error {
	return c.e.Audit.Append(ctx, audit.Record{Action: actionClean, Rotation: c.out.Rotation, Asset: asset, Outcome: audit.Allowed})
}

// holdSoon waits for a driver that lets go, or for the lease of one that does not
// answer to run out.
func (e *Engine) holdSoon(ctx context.Context, id string) (context.Context, func(), error) {
	end := e.Clock().Add(e.lease() + 5*time.Second)
	for {
		held, release, err := e.hold(ctx, id)
		if !errors.Is(err, ErrLeased) || e.Clock().After(end) {
			return held, release, err
		}
		t := time.NewTimer(leaseTry)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx, nil, ctx.Err()
		case <-t.C:
		}
	}
}

// decide settles what becomes of an asset: it is kept, or given up for good.
func (c *cleaner) decide(ctx context.Context, p *journal.Plan) error {
	if p.Refusal != nil {
		return nil // nothing of it was ever touched
	}
	o, _, err := c.e.Journal().Outcome(ctx, p.Rotation, p.Asset)
	if err != nil {
		return err
	}
	given := o.State == journal.AssetCancelled
	if o.State == journal.AssetPublished && c.state.Phase == journal.Cancelled {
		if err := c.e.confirm(ctx, p, o); err != nil {
			return err
		}
	}
	if o.State == journal.AssetPending || o.State == journal.AssetFailed {
		if given, err = c.e.fence(ctx, p); err != nil {
			return err
		}
		if given {
			err = c.e.giveUp(ctx, p)
		} else {
			err = c.begun(ctx, p, o)
		}
		if err != nil {
			return err
		}
	}
	if given {
		c.given[p.Asset] = len(c.out.Assets)
		c.out.Assets = append(c.out.Assets, CleanedAsset{Asset: p.Asset, State: journal.AssetCancelled})
		return nil
	}
	u := c.units[p.Unit]
	if u == nil {
		u = &unitFate{}
		c.units[p.Unit] = u
	}
	u.kept = append(u.kept, p.Asset)
	return nil
}

// begun ends the publish of an asset whose flips are all on record. One that failed
// there is shown and left alone: somebody has to look at its manifests.
func (c *cleaner) begun(ctx context.Context, p *journal.Plan, o journal.Outcome) error {
	if o.State == journal.AssetPending {
		var err error
		if o, err = c.e.publishRecorded(ctx, c.state, p); err != nil {
			return err
		}
	}
	a := CleanedAsset{Asset: p.Asset, State: o.State, Reason: "its publish had begun, and was ended"}
	if o.State == journal.AssetFailed {
		a.Reason = "its publish had begun, and it is left alone: " + o.Object + ": " + o.Reason
	}
	c.out.Assets = append(c.out.Assets, a)
	return nil
}

// publishRecorded makes the flips that are on record, and returns what came of it.
func (e *Engine) publishRecorded(ctx context.Context, state journal.State, p *journal.Plan) (o journal.Outcome, err error) {
	if o, err = e.weigh(ctx, state, p); err != nil {
		return o, err
	}
	if err := e.Audit.Append(ctx, audit.Record{Action: audit.MediaPublish, Rotation: p.Rotation, Asset: p.Asset, Outcome: "begin"}); err != nil {
		return o, err
	}
	for _, m := range p.Flips() {
		err := e.flip(ctx, p, m, rewriter{})
		var at *publishError
		if errors.As(err, &at) {
			err = e.fail(ctx, p, at.object, at.err.Error())
			return journal.Outcome{State: journal.AssetFailed, Object: at.object, Reason: at.err.Error()}, err
		}
		if err != nil {
			return o, err
		}
	}
	o.State = journal.AssetPublished
	if err := e.outcome(ctx, p, o); err != nil {
		return o, err
	}
	if err := e.confirm(ctx, p, o); err != nil {
		return o, err
	}
	o, _, err = e.Journal().Outcome(ctx, p.Rotation, p.Asset)
	return o, err
}

// clean takes back what was written of an asset that is given up.
func (c *cleaner) clean(ctx context.Context, p *journal.Plan, a *CleanedAsset) error {
	u, err := c.fate(ctx, p)
	if err != nil {
		return err
	}
	if err := c.record(ctx, p.Asset); err != nil {
		return err
	}
	if a.Objects, err = c.e.unwrite(ctx, p, u.names); err != nil {
		return err
	}
	for _, k := range p.Keys {
		if u.kids[k.NewKID] {
			continue
		}
		done, err := c.e.deactivate(ctx, k.NewKID, "rotation "+p.Rotation+" gave up what was to be under it")
		if err != nil {
			return err
		}
		if done {
			c.out.Keys++
		}
	}
	o, etag, err := c.e.Journal().Outcome(ctx, p.Rotation, p.Asset)
	if err != nil || !o.Cleaned.IsZero() {
		return err
	}
	o.Cleaned = c.e.Clock().UTC()
	return c.e.Journal().SetOutcome(ctx, p.Rotation, o, etag)
}

// fate is what the kept assets of a plan's unit name.
func (c *cleaner) fate(ctx context.Context, p *journal.Plan) (*unitFate, error) {
	u := c.units[p.Unit]
	if u == nil {
		return &unitFate{}, nil
	}
	if u.names != nil {
		return u, nil
	}
	names, kids := map[string]bool{}, map[key.KID]bool{}
	for _, name := range u.kept {
		kept, err := c.e.Journal().Plan(ctx, p.Rotation, name)
		if err != nil {
			return nil, err
		}
		keep(kept, names, kids)
	}
	u.names, u.kids = names, kids
	return u, nil
}

// keep adds what a plan names.
func keep(p *journal.Plan, names map[string]bool, kids map[key.KID]bool) {
	for _, to := range p.Moves() {
		names[to] = true
	}
	for _, k := range p.Keys {
		kids[k.NewKID] = true
	}
}

// deactivate ends the use of a new key that nothing is under.
func (e *Engine) deactivate(ctx context.Context, kid key.KID, reason string) (bool, error) {
	rec, err := e.Ring.Get(ctx, kid)
	if errors.Is(err, keyring.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if rec.State != keyring.Active && rec.State != keyring.Suspended {
		return false, nil
	}
	used := false
	for _, err := range e.Index().Scope(ctx, kid) {
		if err != nil {
			return false, err
		}
		used = true
		break
	}
	if used {
		return false, nil
	}
	return true, e.Ring.SetState(ctx, kid, keyring.Deactivated, reason)
}

// fence keeps the manifests of an asset from ever being flipped: false where the
// records of all its flips stand already. One fence is enough, since no flip is made
// before all are on record.
func (e *Engine) fence(ctx context.Context, p *journal.Plan) (fenced bool, err error) {
	flips := p.Flips()
	fenced = len(flips) == 0 // nothing that could be flipped
	for _, m := range flips {
		err := e.Journal().AddFlip(ctx, p.Rotation, p.Asset, journal.Flip{Key: m.From})
		if errors.Is(err, store.ErrPrecondition) {
			var f journal.Flip
			if f, err = e.Journal().Flip(ctx, p.Rotation, p.Asset, m.From); err == nil {
				fenced = fenced || f.Fence()
				continue
			}
		}
		if err != nil {
			return fenced, err
		}
		fenced = true
	}
	return fenced, nil
}
