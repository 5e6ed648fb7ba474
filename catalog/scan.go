package catalog

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Scan finds every asset under the media root and hands each to fn, in ID
// order. Trees of earlier rotations that no entry manifest reaches are ignored.
//
// known keeps the names that assets have already: entry manifest to asset. It
// returns the number of loose media objects, as ScanRecord has it.
func Scan(ctx context.Context, r Reader, known map[string]string, o Options, fn func(*Asset) error) (int, error) {
	groups, loose, err := group(ctx, r, known, o.Space)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		a, err := Walk(ctx, r, g.id, g.entries, o)
		if err != nil {
			return 0, fmt.Errorf("walk asset %s: %w", g.id, err)
		}
		if err := fn(a); err != nil {
			return 0, err
		}
	}
	return loose, nil
}

type assetGroup struct {
	id      string
	entries []string
}

// group sorts the entry manifests into assets: entries that share a playlist,
// an init section or a segment are one. known keeps the names that assets have:
// entry manifest to asset.
func group(ctx context.Context, r Reader, known map[string]string, space Space) ([]assetGroup, int, error) {
	reach, order, media, err := reaches(ctx, r, space)
	if err != nil {
		return nil, 0, err
	}
	entries := entriesOf(reach, order)
	set := newUnion()
	for _, e := range entries {
		set.find(e)
		for _, o := range closure(reach, e) {
			set.join(e, "object:"+o)
			delete(media, o)
		}
	}
	byRoot := map[string][]string{}
	for _, e := range entries {
		root := set.find(e)
		byRoot[root] = append(byRoot[root], e)
	}
	return name(byRoot, known), len(media), nil
}

// reaches maps every manifest to what it names: child playlists and media. It
// also returns the manifests in key order and the set of media objects.
func reaches(ctx context.Context, r Reader, space Space) (map[string][]string, []string, map[string]bool, error) {
	var order []string
	media := map[string]bool{}
	for info, err := range r.List(ctx, "") {
		if err != nil {
			return nil, nil, nil, fmt.Errorf("list media root: %w", err)
		}
		switch {
		case IsManifest(info.Key):
			order = append(order, info.Key)
		case isMedia(info.Key) && !InTree(info.Key):
			media[info.Key] = true
		}
	}
	g := reacher{space: space, out: map[string][]string{}, contexts: map[string]Context{}}
	l := newListing(r)
	for _, k := range order {
		b, _, err := l.read(ctx, k, MaxManifest)
		if err != nil && !isRefusal(err) {
			return nil, nil, nil, err
		}
		if err != nil {
			b = nil
		}
		g.read(k, b)
	}
	g.again()
	return g.out, order, media, nil
}

// isMedia tells a media object by its name.
func isMedia(k string) bool {
	switch strings.ToLower(path.Ext(k)) {
	case ".mp4", ".m4s", ".m4v", ".m4a", ".cmfv", ".cmfa", ".cmft", ".ts", ".aac", ".ac3", ".ec3", ".mp3", ".vtt", ".webvtt":
		return true
	default:
		return false
	}
}

// entriesOf are the manifests that a player opens: no other manifest leads to
// them. Playlists that only reach each other in a circle count as entries, so
// that they are refused by name and not lost. A playlist that a flip left behind
// is none: what it was stands in a rotation's tree now, and is reached there.
func entriesOf(reach map[string][]string, order []string) []string {
	parent := map[string]bool{}
	for _, k := range order {
		for _, t := range reach[k] {
			parent[t] = true
		}
	}
	var entries []string
	reached := map[string]bool{}
	take := func(k string) {
		entries = append(entries, k)
		reached[k] = true
		for _, t := range closure(reach, k) {
			reached[t] = true
		}
	}
	behind := map[string]bool{}
	for _, k := range order {
		if parent[k] || InTree(k) {
			continue
		}
		for _, t := range closure(reach, k) {
			if IsManifest(t) && InTree(t) {
				behind[Logical(t)] = true
			}
		}
	}
	for _, k := range order {
		if !parent[k] && !InTree(k) && !behind[k] {
			take(k)
		}
	}
	for _, k := range order {
		if !reached[k] && !InTree(k) && !behind[k] {
			take(k)
		}
	}
	slices.Sort(entries)
	return entries
}

func closure(reach map[string][]string, from string) []string {
	seen := map[string]bool{from: true}
	todo := []string{from}
	var out []string
	for len(todo) > 0 {
		k := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, t := range reach[k] {
			if !seen[t] {
				seen[t] = true
				out = append(out, t)
				todo = append(todo, t)
			}
		}
	}
	return out
}

// name gives each asset the name it has, or else the folder that holds its
// entries, or, where that is the root or another asset has it, its first entry
// manifest.
func name(byRoot map[string][]string, known map[string]string) []assetGroup {
	count := map[string]int{}
	for _, es := range byRoot {
		count[CommonDir(es...)]++
	}
	var out []assetGroup
	taken := map[string]bool{}
	for _, es := range byRoot {
		slices.Sort(es)
		for _, e := range es {
			if id := known[e]; id != "" && !taken[id] {
				taken[id] = true
				out = append(out, assetGroup{id: id, entries: es})
				break
			}
		}
	}
	named := map[string]bool{}
	for _, g := range out {
		named[g.entries[0]] = true
	}
	for _, es := range byRoot {
		if named[es[0]] {
			continue
		}
		id := CommonDir(es...)
		if id == "" || count[id] > 1 || taken[id] {
			id = es[0]
		}
		out = append(out, assetGroup{id: id, entries: es})
	}
	slices.SortFunc(out, func(a, b assetGroup) int { return strings.Compare(a.id, b.id) })
	return out
}

// union is a disjoint-set forest over names.
type union struct{ parent map[string]string }

func newUnion() *union { return &union{parent: map[string]string{}} }

func (u *union) find(x string) string {
	p, ok := u.parent[x]
	if !ok {
		u.parent[x] = x
		return x
	}
	if p == x {
		return x
	}
	root := u.find(p)
	u.parent[x] = root
	return root
}

func (u *union) join(a, b string) { u.parent[u.find(a)] = u.find(b) }

// ErrKey is returned where a key object's key cannot be taken, whoever asks.
var ErrKey = errors.New("key cannot be taken")

// Registrar takes the content key that a library publishes as a key object. An
// error means that it was not taken; taking the same key twice is none. One of
// class ErrKey is about this key and refuses its asset; any other is about the
// keyring, and says nothing of the asset: it ends the scan.
type Registrar interface {
	Register(ctx context.Context, kid key.KID, k key.ContentKey, uri string) error
}

// Rescan makes the index whole, and fails with ErrOtherRoot where it is another
// root's: every asset under the media root is in it, none
// that is gone, and every key object's key is registered under its KID.
func Rescan(ctx context.Context, r Reader, x *Index, reg Registrar, o Options, clock func() time.Time) (ScanRecord, error) {
	rec := ScanRecord{Started: clock().UTC(), Root: o.Root}
	was, err := x.Scanned(ctx)
	if err != nil && !errors.Is(err, ErrNotScanned) {
		return rec, err
	}
	if was.Root != "" && o.Root != was.Root && !o.OtherRoot {
		return rec, fmt.Errorf("scan %s: %w: %s", o.Root, ErrOtherRoot, was.Root)
	}
	found := map[string]bool{}
	known, err := x.names(ctx)
	if err != nil {
		return rec, err
	}
	loose, err := Scan(ctx, r, known, o, func(a *Asset) error {
		found[a.ID] = true
		rec.Assets++
		if err := register(ctx, r, reg, a); err != nil {
			return err
		}
		if len(a.Refusals) > 0 {
			rec.Refused++
		}
		if a.Opaque {
			rec.Opaque = append(rec.Opaque, a.ID)
		}
		return x.Put(ctx, a)
	})
	if err != nil {
		return rec, err
	}
	for s, err := range x.Summaries(ctx) {
		if err != nil {
			return rec, err
		}
		if !found[s.Asset] {
			if err := x.Remove(ctx, s); err != nil {
				return rec, err
			}
		}
	}
	rec.Loose, rec.Finished = loose, clock().UTC()
	return rec, x.SetScanned(ctx, rec)
}

// register hands the asset's key objects to the registrar. A key that cannot be
// taken refuses the asset, not the scan.
func register(ctx context.Context, r Reader, reg Registrar, a *Asset) error {
	for _, o := range a.Keys {
		k, err := keyObject(ctx, r, o)
		if err == nil {
			if err = reg.Register(ctx, o.KID, k, o.Key); err != nil && !errors.Is(err, ErrKey) {
				return fmt.Errorf("register %s: %w", o.Key, err)
			}
		}
		if err != nil {
			if !isRefusal(err) {
				return err
			}
			a.refuse(o.Key, "key object cannot be registered: "+err.Error())
		}
	}
	return nil
}

func keyObject(ctx context.Context, r Reader, o KeyObject) (key.ContentKey, error) {
	b, _, err := store.ReadAll(ctx, r, o.Key, o.ETag, 16, nil)
	if err != nil {
		return key.ContentKey{}, err
	}
	defer clear(b)
	return key.ContentKeyFromBytes(b)
}
