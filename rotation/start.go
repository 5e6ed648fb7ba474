package rotation

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// Request asks for one rotation.
type Request struct {
	Kind   journal.Kind
	KIDs   []key.KID
	Reason string
	// Asset limits the rotation to one asset; empty for all that depend on the
	// keys.
	Asset string
	// AcceptUnproved publishes assets whose old key stays unproved.
	AcceptUnproved bool
	// DryRun plans and changes nothing, the keys' states included.
	DryRun bool
}

// Planned is what a plan comes to.
type Planned struct {
	Rotation string
	Plans    []*journal.Plan
	// Opaque lists assets of which the last scan could not tell whether they
	// depend on the keys.
	Opaque []string
}

// Start plans a rotation and, unless it is a dry run, writes the plan and makes
// it ready to drive. ErrNothing where no asset depends on the keys.
func (e *Engine) Start(ctx context.Context, r Request) (Planned, error) {
	id := newID(e.Clock())
	assets, err := e.scope(ctx, r)
	if err != nil {
		return Planned{}, e.leaked(ctx, r, err)
	}
	if err := e.checkRecords(ctx, r.KIDs); err != nil {
		return Planned{}, fmt.Errorf("start rotation: %w", err)
	}
	if r.KIDs, assets, err = e.widen(ctx, r, assets); err != nil {
		return Planned{}, fmt.Errorf("start rotation: %w", err)
	}
	kids := map[key.KID]bool{}
	for _, k := range r.KIDs {
		kids[k] = true
	}
	defer e.Openings.plan(id, e.Clock(), r.KIDs)()
	var plans []*journal.Plan
	for _, u := range units(assets, kids) {
		for _, a := range u.assets {
			p, err := e.build(ctx, id, u, a)
			if err != nil {
				return Planned{}, fmt.Errorf("plan asset %s: %w", a.ID, err)
			}
			if err := e.prove(ctx, p); err != nil {
				return Planned{}, fmt.Errorf("prove keys of asset %s: %w", a.ID, err)
			}
			plans = append(plans, p)
		}
	}
	if err := e.checkHandover(plans); err != nil {
		return Planned{}, err
	}
	slices.SortFunc(plans, func(a, b *journal.Plan) int { return strings.Compare(a.Asset, b.Asset) })
	rec, err := e.Index().Scanned(ctx)
	if err != nil {
		return Planned{}, err
	}
	planned := Planned{Rotation: id, Plans: plans, Opaque: rec.Opaque}
	if r.DryRun {
		planned.Rotation = ""
		return planned, nil
	}
	made, err := e.askKeys(ctx, id, plans)
	if err != nil {
		return Planned{}, err
	}
	return planned, e.commit(ctx, id, r, plans, made)
}

// leaked marks the keys of a compromise that nothing depends on, since they have
// leaked all the same, and somebody might use them tomorrow. It returns cause, and
// what was done; where that failed, the failure alone, since cause would say that
// all is well.
func (e *Engine) leaked(ctx context.Context, r Request, cause error) error {
	if r.Kind != journal.Compromise || r.DryRun || !errors.Is(cause, ErrNothing) && !errors.Is(cause, ErrUnknown) {
		return cause
	}
	kids, err := e.twins(ctx, r.KIDs)
	if err != nil {
		return err
	}
	r.KIDs = kids
	marked, err := e.markCompromised(ctx, r)
	if err != nil {
		return err
	}
	if marked == 0 {
		return cause
	}
	return fmt.Errorf("%w; marked compromised: %d of its keys", cause, marked)
}

// markCompromised returns how many of the keys it marked: those that have a record,
// and are not destroyed already.
func (e *Engine) markCompromised(ctx context.Context, r Request) (marked int, err error) {
	for _, kid := range r.KIDs {
		rec, err := e.Ring.Get(ctx, kid)
		if errors.Is(err, keyring.ErrNotFound) || err == nil && rec.State == keyring.Destroyed {
			continue
		}
		if err == nil {
			err = e.Ring.SetState(ctx, kid, keyring.Compromised, r.Reason)
		}
		if err != nil {
			return marked, fmt.Errorf("mark key compromised: %w", err)
		}
		marked++
	}
	return marked, nil
}

// widen adds the twins of the keys and what depends on them, and leaves out KIDs
// that nothing uses and nobody has a key for: a key URI may go by several.
func (e *Engine) widen(ctx context.Context, r Request, assets []*catalog.Asset) ([]key.KID, []*catalog.Asset, error) {
	used := map[key.KID]bool{}
	for _, a := range assets {
		for _, kid := range a.KIDs() {
			used[kid] = true
		}
	}
	var kids []key.KID
	for _, kid := range r.KIDs {
		_, err := e.Ring.Get(ctx, kid)
		if err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return nil, nil, err
		}
		if err == nil || used[kid] {
			kids = append(kids, kid)
		}
	}
	if len(kids) == 0 {
		kids = r.KIDs
	}
	all, err := e.twins(ctx, kids)
	if err != nil || len(all) == len(kids) {
		return all, assets, err
	}
	r.KIDs = all
	assets, err = e.scope(ctx, r)
	return all, assets, err
}

// twins adds the KIDs under which the same key bytes stand: packagers copy one
// key file beside each rendition, and who holds the key holds all of them.
func (e *Engine) twins(ctx context.Context, kids []key.KID) ([]key.KID, error) {
	out := slices.Clone(kids)
	for _, kid := range kids {
		twins, err := e.Ring.Twins(ctx, kid)
		if err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return nil, err
		}
		for _, t := range twins {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// checkRecords fails where none of the keys has a record. One that has none
// beside others that do fails its own assets by name, and holds back no other.
func (e *Engine) checkRecords(ctx context.Context, kids []key.KID) error {
	var missing error
	found := false
	for _, kid := range kids {
		_, err := e.Ring.Get(ctx, kid)
		switch {
		case err == nil:
			found = true
		case errors.Is(err, keyring.ErrNotFound):
			missing = err
		default:
			return err
		}
	}
	if found {
		return nil
	}
	return missing
}

// newID sorts by time and never repeats.
func newID(now time.Time) string {
	var b [3]byte
	// crypto/rand.Read never returns an error; it crashes the program instead.
	_, _ = rand.Read(b[:])
	return "r" + now.UTC().Format("20060102t150405") + "-" + hex.EncodeToString(b[:])
}

// scope walks what the index says depends on the keys, as it is now.
func (e *Engine) scope(ctx context.Context, r Request) ([]*catalog.Asset, error) {
	if r.Asset != "" {
		if _, err := e.Index().Summary(ctx, r.Asset); err != nil {
			return nil, fmt.Errorf("look up asset %s: %w", r.Asset, err)
		}
	}
	names := map[string]bool{}
	for _, kid := range r.KIDs {
		for entry, err := range e.Index().Scope(ctx, kid) {
			if err != nil {
				return nil, fmt.Errorf("look up key %s: %w", kid, err)
			}
			if r.Asset == "" || r.Asset == entry.Asset {
				names[entry.Asset] = true
			}
		}
	}
	var assets []*catalog.Asset
	for name := range names {
		a, err := e.walk(ctx, name)
		if err != nil {
			return nil, err
		}
		if a.Opaque || slices.ContainsFunc(a.KIDs(), func(k key.KID) bool { return slices.Contains(r.KIDs, k) }) {
			assets = append(assets, a)
		}
	}
	if len(assets) == 0 {
		return nil, e.Nothing(ctx)
	}
	slices.SortFunc(assets, func(a, b *catalog.Asset) int { return strings.Compare(a.ID, b.ID) })
	return assets, nil
}

// Nothing is ErrNothing only where the last scan could read everything: "no
// asset depends on it" must never be said of a library that was not understood.
func (e *Engine) Nothing(ctx context.Context) error {
	rec, err := e.Index().Scanned(ctx)
	if err != nil {
		return err
	}
	if len(rec.Opaque) > 0 {
		return fmt.Errorf("%w: of %d assets it is not known which keys they use: %s", ErrUnknown, len(rec.Opaque), strings.Join(rec.Opaque, ", "))
	}
	if rec.Loose > 0 {
		return fmt.Errorf("%w; %d media objects that no manifest leads to were not looked at", ErrNothing, rec.Loose)
	}
	return ErrNothing
}

// walk follows an indexed asset's entry manifests at the store's present state.
func (e *Engine) walk(ctx context.Context, asset string) (*catalog.Asset, error) {
	s, err := e.Index().Summary(ctx, asset)
	if err != nil {
		return nil, fmt.Errorf("look up asset %s: %w", asset, err)
	}
	return catalog.Walk(ctx, e.Media, asset, s.Entries, e.Options())
}

// checkHandover stops before work where CENC keys change and nobody is named to
// receive them: players would ask for keys that no server has.
func (e *Engine) checkHandover(plans []*journal.Plan) error {
	if e.Receiver != nil || e.HandoverNone {
		return nil
	}
	for _, p := range plans {
		for _, k := range p.Keys {
			if p.Refusal != nil || k.Published() || e.fromService(p, k) {
				continue
			}
			if e.KeySource != nil {
				return fmt.Errorf("asset %s: %w: a key service makes no HLS AES-128 keys, and %s is one: name a hand-over beside it", p.Asset, ErrNoHandover, k.OldKID)
			}
			return fmt.Errorf("asset %s: %w", p.Asset, ErrNoHandover)
		}
	}
	return nil
}

// commit writes the plan. Until the state leaves Planning nothing is worked, so
// a crash in here leaves media as it was.
func (e *Engine) commit(ctx context.Context, id string, r Request, plans []*journal.Plan, made map[key.KID]NewKey) error {
	if r.Kind == journal.Compromise {
		if _, err := e.markCompromised(ctx, r); err != nil {
			return err
		}
	}
	if err := e.Ring.CreateSecret(ctx, worker.MACKeyKID(id), "digest of rotation "+id); err != nil {
		return fmt.Errorf("make MAC key: %w", err)
	}
	state := journal.State{
		Rotation: id, Kind: r.Kind, Phase: journal.Planning, KIDs: r.KIDs, Reason: r.Reason,
		Actor: e.Actor, Created: e.Clock().UTC(), Assets: len(plans),
		AcceptUnproved: r.AcceptUnproved, Generation: 1,
		HandoverNone: e.HandoverNone,
	}
	if err := e.Audit.Append(ctx, audit.Record{Action: "rotation.start", Rotation: id, Outcome: "ok", Reason: r.Reason}); err != nil {
		return err
	}
	if err := e.Journal().SetState(ctx, state, ""); err != nil {
		return fmt.Errorf("open rotation: %w", err)
	}
	for _, p := range plans {
		if err := e.commitPlan(ctx, p, made); err != nil {
			return err
		}
	}
	now, etag, err := e.Journal().State(ctx, id)
	if err == nil {
		err = halted(now)
	}
	if err != nil {
		return fmt.Errorf("open rotation: %w", err)
	}
	state.Phase = journal.Working
	return e.Journal().SetState(ctx, state, etag)
}

func (e *Engine) commitPlan(ctx context.Context, p *journal.Plan, made map[key.KID]NewKey) error {
	if p.Refusal == nil {
		for _, k := range p.Keys {
			if err := e.mint(ctx, p, k, made); err != nil {
				return fmt.Errorf("mint key: %w", err)
			}
		}
	}
	if err := e.Journal().AddPlan(ctx, p); err != nil {
		return err
	}
	if p.Refusal == nil {
		return nil
	}
	o := journal.Outcome{Asset: p.Asset, State: journal.AssetRefused, Object: p.Refusal.Object, Reason: p.Refusal.Reason, Time: e.Clock().UTC()}
	if p.Refusal.Failed {
		o.State = journal.AssetFailed
	}
	err := e.Journal().SetOutcome(ctx, p.Rotation, o, "")
	if errors.Is(err, store.ErrPrecondition) {
		return nil
	}
	return err
}
