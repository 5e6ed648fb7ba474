package rotation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// planManifests finds which manifests change, children before parents, and
// tries each rewrite once with keys that are thrown away, so that a manifest
// that cannot be rewritten refuses its asset before anything is touched.
func (e *Engine) planManifests(ctx context.Context, p *journal.Plan, a *catalog.Asset, u *unit, t tree) error {
	type loaded struct {
		m     catalog.Manifest
		b     []byte
		needs manifestNeeds
	}
	var left []loaded
	for _, m := range a.Manifests {
		b, _, err := store.ReadAll(ctx, e.Media, m.Key, m.ETag, catalog.MaxManifest, nil)
		if err != nil {
			return err
		}
		n, err := e.needsOf(m, b)
		if err != nil {
			return err
		}
		left = append(left, loaded{m, b, n})
	}
	moves, uris := p.Moves(), p.KeyURIs()
	bytesOf := map[string][]byte{}
	for again := true; again; {
		again = false
		left = slices.DeleteFunc(left, func(l loaded) bool {
			if !l.needs.changes(moves, u.kids, uris) {
				return false
			}
			mv := journal.Move{From: l.m.Key, To: l.m.Key, ETag: l.m.ETag, Size: l.m.Size, Kind: l.m.Kind, Context: l.m.Context}
			if !l.m.Entry {
				mv.To = t.place(l.m.Key)
				moves[mv.From] = mv.To
			}
			p.Manifests = append(p.Manifests, mv)
			bytesOf[mv.From] = l.b
			again = true
			return true
		})
	}
	slices.SortFunc(p.Manifests, func(x, y journal.Move) int { return strings.Compare(x.From, y.From) })
	if len(p.Manifests) == 0 {
		return errors.New("no manifest of the asset names the key")
	}
	trial := key.Changes{}
	for _, c := range p.Keys {
		trial[c.OldKID] = key.Change{New: key.NewContentKey(), NewKID: c.NewKID}
	}
	try := rewriter{space: e.Space, tree: t, moves: moves, keyURIs: uris, changes: trial}
	for _, mv := range p.Manifests {
		if _, err := try.rewrite(mv, bytesOf[mv.From]); err != nil {
			return err
		}
	}
	return nil
}
