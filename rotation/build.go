package rotation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// unit is a set of assets that share an object: they get one new key for each
// old key, and one base folder.
type unit struct {
	name   string
	assets []*catalog.Asset
	kids   map[key.KID]bool
	base   string
	fresh  map[key.KID]key.KID
	tracks int
}

// units groups the assets by the key objects they share. Assets that share
// media are one asset already.
func units(assets []*catalog.Asset, kids map[key.KID]bool) []*unit {
	byObject := map[string]*unit{}
	var out []*unit
	for _, a := range assets {
		var into *unit
		for _, k := range a.Keys {
			if u := byObject[k.Key]; u != nil && kids[k.KID] {
				into = merge(into, u, byObject)
			}
		}
		if into == nil {
			into = &unit{name: a.ID, kids: kids, fresh: map[key.KID]key.KID{}}
			out = append(out, into)
		}
		into.assets = append(into.assets, a)
		for _, k := range a.Keys {
			byObject[k.Key] = into
		}
	}
	out = slices.DeleteFunc(out, func(u *unit) bool { return len(u.assets) == 0 })
	for _, u := range out {
		u.base = u.commonBase()
	}
	return out
}

// merge empties from into into; the first of the two keeps its name.
func merge(into, from *unit, byObject map[string]*unit) *unit {
	if into == nil || into == from {
		return from
	}
	into.assets = append(into.assets, from.assets...)
	from.assets = nil
	for k, u := range byObject {
		if u == from {
			byObject[k] = into
		}
	}
	return into
}

func (u *unit) commonBase() string {
	var keys []string
	for _, a := range u.assets {
		for _, m := range a.Manifests {
			keys = append(keys, catalog.Logical(m.Key))
		}
		for _, t := range a.Tracks {
			if !u.touches(t) {
				continue
			}
			if t.Init != nil {
				keys = append(keys, catalog.Logical(t.Init.Key))
			}
			for _, s := range t.Segments {
				keys = append(keys, catalog.Logical(s.Key))
			}
		}
		for _, k := range a.Keys {
			if u.kids[k.KID] {
				keys = append(keys, catalog.Logical(k.Key))
			}
		}
	}
	return catalog.CommonDir(keys...)
}

func (u *unit) touches(t catalog.Track) bool {
	for kid := range u.kids {
		if t.Names(kid) {
			return true
		}
	}
	return false
}

// build plans one asset. A refusal is in the plan; an error means that the
// store could not be read.
func (e *Engine) build(ctx context.Context, rotation string, u *unit, a *catalog.Asset) (*journal.Plan, error) {
	p := &journal.Plan{Rotation: rotation, Asset: a.ID, Unit: u.name, Base: u.base, Findings: a.Findings}
	for _, m := range a.Entries() {
		p.Entries = append(p.Entries, m.Key)
	}
	if len(a.Refusals) > 0 {
		p.Refusal = &journal.Refusal{Object: a.Refusals[0].Object, Reason: a.Refusals[0].Reason}
		u.planKeys(p, a)
		return p, nil
	}
	t := tree{base: u.base, rotation: rotation}
	u.planKeys(p, a)
	for i := range p.Keys {
		if o := p.Keys[i].Object; o != nil {
			o.To = t.place(o.From)
		}
	}
	if r := e.planKeyURIs(p, a); r != nil {
		p.Refusal = r
		return p, nil
	}
	for _, track := range a.Tracks {
		if !u.touches(track) {
			continue
		}
		if u.tracks > math.MaxUint16 {
			return refused(p, track.ID, "more than 65536 tracks under one new key"), nil
		}
		pt := planTrack(track, u, t)
		if len(pt.Objects) == 0 {
			continue // another track, which lists the same objects, has them
		}
		p.Tracks = append(p.Tracks, pt)
		u.tracks++
	}
	if r := u.forgotten(p, a); r != nil {
		p.Refusal = r
		return p, nil
	}
	if r := collisions(p); r != nil {
		p.Refusal = r
		return p, nil
	}
	if r := tooLarge(p); r != nil {
		p.Refusal = r
		return p, nil
	}
	if err := e.planManifests(ctx, p, a, u, t); err != nil {
		if errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		return refused(p, a.ID, err.Error()), nil
	}
	e.planParts(p)
	return p, nil
}

func refused(p *journal.Plan, object, reason string) *journal.Plan {
	p.Refusal = &journal.Refusal{Object: object, Reason: reason}
	return p
}

// planKeys names a new KID for every old one that the asset uses; the assets of
// a unit share them.
func (u *unit) planKeys(p *journal.Plan, a *catalog.Asset) {
	objects := map[key.KID]catalog.KeyObject{}
	for _, k := range a.Keys {
		objects[k.KID] = k
	}
	for _, kid := range a.KIDs() {
		if !u.kids[kid] {
			continue
		}
		c := journal.KeyChange{OldKID: kid}
		if o, ok := objects[kid]; ok {
			c.Object = &journal.Move{From: o.Key, ETag: o.ETag, Size: o.Size}
			c.NewKID = key.KIDFromURI(tree{base: u.base, rotation: p.Rotation}.place(o.Key))
		} else {
			if _, ok := u.fresh[kid]; !ok {
				u.fresh[kid] = key.NewKID()
			}
			c.NewKID = u.fresh[kid]
		}
		p.Keys = append(p.Keys, c)
	}
}

// planKeyURIs gives each key that is known by a URI outside the media root a new
// URI: key and URI change together, since key servers and caches go by it.
func (e *Engine) planKeyURIs(p *journal.Plan, a *catalog.Asset) *journal.Refusal {
	for i := range p.Keys {
		c := &p.Keys[i]
		for _, u := range a.KeyURIs {
			if u.KID != c.OldKID {
				continue
			}
			uri, ok := newKeyURI(e.NewKeyURIs, u.URI, c.NewKID)
			if !ok {
				return &journal.Refusal{Object: u.Playlist, Reason: fmt.Sprintf("line %d: there is no URI for a new key", u.Line)}
			}
			if c.URIs == nil {
				c.URIs = map[string]string{}
			}
			c.URIs[u.URI] = uri
		}
	}
	return nil
}

// newKeyURI fills the template that has the scheme of the old URI. HTTP and HTTPS
// count as one.
func newKeyURI(templates []string, old string, kid key.KID) (string, bool) {
	web := func(s string) string { return strings.TrimSuffix(s, "s") }
	for _, t := range templates {
		was, now := catalog.Scheme(old), catalog.Scheme(t)
		if was == now || web(was) == "http" && web(now) == "http" || was == "" && web(now) == "http" {
			return strings.ReplaceAll(t, catalog.KIDInTemplate, kid.String()), true
		}
	}
	return "", false
}

func planTrack(t catalog.Track, u *unit, at tree) journal.Track {
	pt := journal.Track{Number: uint16(u.tracks), ID: t.ID, Format: t.Format, Scheme: t.Scheme, Init: t.Init, InitFixed: t.InitFixed, Single: t.Single, KIDs: t.KIDs}
	for _, kid := range t.KIDs {
		if u.kids[kid] {
			pt.OldKIDs = append(pt.OldKIDs, kid)
		}
	}
	if t.Init != nil {
		pt.Objects = append(pt.Objects, journal.Object{
			Init: true, From: t.Init.Key, To: at.place(t.Init.Key), ETag: t.Init.ETag, Size: t.Init.Size,
		})
	}
	if len(pt.OldKIDs) == 0 && !t.Single {
		return pt
	}
	for _, s := range t.Segments {
		if t.Format.InPlaylist() && !s.Under(u.kids) {
			continue
		}
		pt.Objects = append(pt.Objects, journal.Object{
			Number: uint32(len(pt.Objects)), From: s.Key, To: at.place(s.Key),
			ETag: s.ETag, Size: s.Size, KID: s.KID, IV: s.IV, UnknownIV: s.UnknownIV, Messages: s.Messages,
		})
		// Segments that another track lists too are that track's.
		pt.Media = len(pt.OldKIDs) > 0
	}
	return pt
}

// forgotten finds an object under a key that changes which no track of the plan
// has: it would stay readable with the old key.
func (u *unit) forgotten(p *journal.Plan, a *catalog.Asset) *journal.Refusal {
	planned := p.Moves()
	for _, t := range a.Tracks {
		for _, s := range t.Segments {
			under := s.Under(u.kids) || t.Format == catalog.CENC && slices.ContainsFunc(t.KIDs, func(kid key.KID) bool { return u.kids[kid] })
			if _, ok := planned[s.Key]; under && !ok {
				return &journal.Refusal{Object: s.Key, Reason: "it is under a key that changes, and no track of the plan has it"}
			}
		}
	}
	return nil
}

// collisions finds two objects whose first names are the same: one of an
// earlier rotation, one original.
func collisions(p *journal.Plan) *journal.Refusal {
	from := map[string]string{}
	for f, to := range p.Moves() {
		if was, ok := from[to]; ok && was != f {
			return &journal.Refusal{Object: f, Reason: fmt.Sprintf("%s and it would both become %s", was, to)}
		}
		from[to] = f
	}
	return nil
}

// tooLarge finds an object that a worker's slot cannot hold.
func tooLarge(p *journal.Plan) *journal.Refusal {
	for _, t := range p.Tracks {
		for _, o := range t.Objects {
			if o.Size > worker.MaxObject {
				return &journal.Refusal{Object: o.From, Reason: fmt.Sprintf("it has %d bytes; objects over %d are not supported yet", o.Size, int64(worker.MaxObject))}
			}
		}
	}
	return nil
}

func (e *Engine) planParts(p *journal.Plan) {
	for ti, t := range p.Tracks {
		for first := 0; first < len(t.Objects); {
			last, bytes := first, t.Objects[first].Size
			for last+1 < len(t.Objects) && last+1-first < e.partObjects() && bytes+t.Objects[last+1].Size <= e.partBytes() {
				last++
				bytes += t.Objects[last].Size
			}
			p.Parts = append(p.Parts, journal.Part{N: len(p.Parts), Track: ti, First: first, Last: last, Bytes: bytes})
			first = last + 1
		}
	}
}
