package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Limits of what is read whole: a larger manifest or init section refuses its
// asset.
const (
	MaxManifest = 64 << 20
	MaxInit     = 16 << 20
)

// KIDOf names the content key behind an HLS key URI. The URI is a key of the
// media root where it leads into it, else as it stands in the playlist.
type KIDOf func(uri string) key.KID

// Walk follows the entry manifests to everything they reach, at the store's
// present state. What rekey does not understand becomes a Refusal in the asset;
// an error means that the store could not be read and nothing is known.
func Walk(ctx context.Context, r Reader, id string, entries []string, kidOf KIDOf) (*Asset, error) {
	if kidOf == nil {
		kidOf = key.KIDFromURI
	}
	w := &walker{
		list: newListing(r), kidOf: kidOf,
		asset:  &Asset{ID: id},
		tracks: map[string]*Track{},
		owners: map[string]owner{},
		seen:   map[string]bool{},
		keys:   map[string]bool{},
		inits:  map[string]*cenc.Init{},
	}
	for _, e := range entries {
		if err := w.manifest(ctx, e, true); err != nil {
			return nil, err
		}
	}
	if err := w.fragmentKeys(ctx); err != nil {
		return nil, err
	}
	w.finish()
	return w.asset, nil
}

type owner struct {
	track string
	kid   key.KID
	iv    key.IV
}

type walker struct {
	list   *listing
	kidOf  KIDOf
	asset  *Asset
	tracks map[string]*Track
	owners map[string]owner
	seen   map[string]bool
	keys   map[string]bool
	inits  map[string]*cenc.Init
	tags   []placedTag
}

// IsManifest tells a manifest by its name, in any case.
func IsManifest(k string) bool {
	k = strings.ToLower(k)
	return strings.HasSuffix(k, ".m3u8") || strings.HasSuffix(k, ".mpd")
}

func isMPD(k string) bool { return strings.HasSuffix(strings.ToLower(k), ".mpd") }

func (w *walker) manifest(ctx context.Context, k string, entry bool) error {
	if w.seen[k] {
		return nil
	}
	w.seen[k] = true
	b, o, err := w.list.read(ctx, k, MaxManifest)
	if err != nil {
		return w.opaqueOr(k, err)
	}
	kind := HLS
	if isMPD(k) {
		kind = DASH
	}
	w.asset.Manifests = append(w.asset.Manifests, Manifest{Object: o, Kind: kind, Entry: entry})
	if kind == DASH {
		return w.mpd(ctx, k, b)
	}
	return w.playlist(ctx, k, b)
}

// opaqueOr is refuseOr for an object whose keys stay unknown with it.
func (w *walker) opaqueOr(object string, err error) error {
	w.asset.Opaque = true
	return w.refuseOr(object, err)
}

// refuseOr records err as the asset's refusal, or returns it where it says
// nothing about the asset.
func (w *walker) refuseOr(object string, err error) error {
	if !isRefusal(err) {
		return err
	}
	w.refuse(object, reason(err))
	return nil
}

func (w *walker) refuse(object, why string) {
	w.asset.refuse(object, why)
}

func reason(err error) string {
	if errors.Is(err, store.ErrNotFound) {
		return "missing: a manifest leads to it and it is not in the store"
	}
	return err.Error()
}

func (w *walker) mpd(ctx context.Context, k string, b []byte) error {
	m, err := dash.Parse(k, b)
	if err != nil {
		return w.opaqueOr(k, err)
	}
	if err := m.Unsupported(); err != nil {
		w.refuse(k, err.Error())
		for _, r := range m.Representations {
			// Its init section is not looked at, and the MPD names no key.
			if r.Init == "" && r.File == "" && len(r.DefaultKIDs) == 0 {
				w.asset.Opaque = true
			}
		}
	}
	for _, r := range m.Representations {
		if err := w.representation(ctx, k, r); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) representation(ctx context.Context, mpd string, r *dash.Representation) error {
	if r.File != "" {
		return w.singleFile(ctx, mpd, r.File, r.DefaultKIDs)
	}
	if r.Init == "" {
		id := mpd + "#" + r.ID
		w.tracks[id] = &Track{ID: id, Format: CENC, KIDs: r.DefaultKIDs}
		if len(r.DefaultKIDs) == 0 {
			w.tracks[id].Format = Clear
		}
		if len(r.Media) > 0 && len(r.DefaultKIDs) > 0 {
			w.refuse(mpd, fmt.Sprintf("Representation %q is protected and has no init section of its own", r.ID))
		}
		return nil
	}
	initKey, err := Resolve(mpd, r.Init)
	if err != nil {
		return w.opaqueOr(mpd, err)
	}
	t, err := w.initTrack(ctx, initKey)
	if err != nil || t == nil {
		return err
	}
	w.checkDefaults(mpd, t, r.DefaultKIDs)
	for _, ref := range r.Media {
		if err := w.media(ctx, mpd, ref, t, key.KID{}, key.IV{}); err != nil {
			return err
		}
	}
	return nil
}

// media adds one media object to the track, once.
func (w *walker) media(ctx context.Context, manifest, ref string, t *Track, kid key.KID, iv key.IV) error {
	k, err := Resolve(manifest, ref)
	if err != nil {
		return w.refuseOr(manifest, err)
	}
	own := owner{track: t.ID, kid: kid, iv: iv}
	if was, ok := w.owners[k]; ok {
		if was.kid != kid || was.iv != iv || (was.track != t.ID && (t.Format == CENC || w.tracks[was.track].Format == CENC)) {
			w.refuse(k, "two tracks list it with different init sections, keys or IVs")
		}
		return nil
	}
	w.owners[k] = own
	o, err := w.list.stat(ctx, k)
	if err != nil {
		return w.refuseOr(k, err)
	}
	t.Segments = append(t.Segments, Segment{Object: o, KID: kid, IV: iv})
	return nil
}

// initTrack returns the track behind an init section; nil where it is refused.
func (w *walker) initTrack(ctx context.Context, k string) (*Track, error) {
	if t, ok := w.tracks[k]; ok {
		if t.Single {
			w.refuse(k, "one manifest takes it for a whole file, another for an init section")
		}
		return t, nil
	}
	b, o, err := w.list.read(ctx, k, MaxInit)
	if err != nil {
		return nil, w.opaqueOr(k, err)
	}
	in, err := cenc.ParseInit(k, b)
	if err != nil {
		return nil, w.opaqueOr(k, err)
	}
	t := &Track{ID: k, Format: Clear, Init: &o, KIDs: in.KIDs(), PSSHKIDs: in.PSSHKIDs()}
	for _, tr := range in.Tracks() {
		if tr.Encrypted {
			t.Format, t.Scheme = CENC, tr.Scheme
		}
	}
	w.tracks[k], w.inits[k] = t, in
	if t.Format == CENC {
		if err := in.Supported(); err != nil {
			w.refuse(k, err.Error())
		}
	}
	return t, nil
}

func (w *walker) finish() {
	for _, t := range w.tracks {
		w.asset.Tracks = append(w.asset.Tracks, *t)
	}
	slices.SortFunc(w.asset.Tracks, func(a, b Track) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(w.asset.Manifests, func(a, b Manifest) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(w.asset.Keys, func(a, b KeyObject) int { return strings.Compare(a.Key, b.Key) })
}
