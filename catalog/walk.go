package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Limits of what is read whole: a larger manifest or init section refuses its
// asset.
const (
	MaxManifest = 64 << 20
	MaxInit     = 16 << 20
)

// KeyNames knows KIDs by the URIs of their keys: found is false where it does
// not know one. Errors are the store's.
type KeyNames interface {
	KIDOfURI(ctx context.Context, uri string) (kid key.KID, found bool, err error)
}

// Options say how references are read. The zero value will do where all of them
// are relative.
type Options struct {
	Space Space
	// Keys knows the KIDs of HLS key URIs. A URI that it does not know, and any
	// where Keys is nil, has the KID that key.KIDFromURI derives. A URI that leads
	// into the media root goes by the key of its object there.
	Keys KeyNames
	// Renews reports whether a new key can have a URI in place of this one, which
	// leads out of the media root. Nil: none can, and assets with such keys are
	// refused.
	Renews func(uri string) bool
	// Root names the media root in the record of a scan. Empty: it is not said.
	Root string
	// OtherRoot lets a scan of one root replace the index of another.
	OtherRoot bool
}

// Walk follows the entry manifests to everything they reach, at the store's
// present state. What rekey does not understand becomes a Refusal in the asset;
// an error means that the store could not be read and nothing is known.
func Walk(ctx context.Context, r Reader, id string, entries []string, o Options) (*Asset, error) {
	w := &walker{
		list: newListing(r), options: o,
		asset:    &Asset{ID: id},
		tracks:   map[string]*Track{},
		owners:   map[string]owner{},
		seen:     map[string]Context{},
		keys:     map[string]key.KID{},
		keyOf:    map[key.KID]string{},
		keyURIs:  map[string]key.KID{},
		refusals: map[Refusal]bool{},

		opaqueURIs: map[string]*opaqueURI{},
		tagNames:   map[*hls.KeyTag]tagName{},

		contextual: map[string]bool{},
		tsMaps:     map[string]bool{},
		inits:      map[string]*cenc.Init{},
	}
	for _, e := range entries {
		if err := w.manifest(ctx, e, true, Context{AnyQuery: true}); err != nil {
			return nil, err
		}
	}
	if err := w.fragmentKeys(ctx); err != nil {
		return nil, err
	}
	if err := w.checkTags(ctx); err != nil {
		return nil, err
	}
	w.settleOpaque()
	w.settleRanges()
	w.finish()
	return w.asset, nil
}

// owner is the track that has an object, and which of its segments it is; -1 for
// an init section.
type owner struct {
	track   string
	segment int
}

type walker struct {
	list    *listing
	options Options
	asset   *Asset
	tracks  map[string]*Track
	owners  map[string]owner
	seen    map[string]Context
	keys    map[string]key.KID // of key objects
	keyOf   map[key.KID]string // the other way round
	keyURIs map[string]key.KID // of those outside the media root
	// opaqueURIs name no KID and lead to no key.
	opaqueURIs map[string]*opaqueURI

	tagNames map[*hls.KeyTag]tagName
	inits    map[string]*cenc.Init
	tags     []placedTag
	views    []view
	// contextual playlists take variables from the one that leads to them.
	contextual map[string]bool
	tsMaps     map[string]bool
	refusals   map[Refusal]bool
}

// IsManifest tells a manifest by its name, in any case.
func IsManifest(k string) bool {
	k = strings.ToLower(k)
	return strings.HasSuffix(k, ".m3u8") || strings.HasSuffix(k, ".m3u") || strings.HasSuffix(k, ".mpd")
}

func isMPD(k string) bool { return strings.HasSuffix(strings.ToLower(k), ".mpd") }

func (w *walker) manifest(ctx context.Context, k string, entry bool, c Context) error {
	if was, ok := w.seen[k]; ok {
		w.sameContext(k, was, c)
		return nil
	}
	w.seen[k] = c
	b, o, err := w.list.read(ctx, k, MaxManifest)
	if err != nil {
		return w.opaqueOr(k, err)
	}
	kind := HLS
	if isMPD(k) {
		kind = DASH
	}
	w.asset.Manifests = append(w.asset.Manifests, Manifest{Object: o, Kind: kind, Entry: entry, Context: c})
	if kind == DASH {
		return w.mpd(ctx, k, b)
	}
	return w.playlist(ctx, k, b, c, entry)
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

// maxRefusals bounds what is said of one asset, and maxFindings of what its owner
// should know.
const (
	maxRefusals = 100
	maxFindings = 100
)

func (w *walker) refuse(object, why string) {
	r := refusal(object, why)
	if w.refusals[r] || len(w.asset.Refusals) >= maxRefusals {
		return
	}
	w.refusals[r] = true
	w.asset.Refusals = append(w.asset.Refusals, r)
}

// find adds a finding, once.
func (w *walker) find(what string) {
	if len(w.asset.Findings) < maxFindings && !slices.Contains(w.asset.Findings, what) {
		w.asset.Findings = append(w.asset.Findings, what)
	}
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
	w.sameBases(mpd, r)
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
	initKey, err := w.resolve(mpd, r.Init)
	if err != nil {
		return w.opaqueOr(mpd, err)
	}
	t, err := w.initTrack(ctx, initKey)
	if err != nil || t == nil {
		return err
	}
	// Only SegmentTemplate@initialization has no range (ISO/IEC 23009-1 §5.3.9.4).
	t.InitFixed = t.InitFixed || r.InitTemplate == ""
	w.checkDefaults(mpd, t, r.DefaultKIDs)
	for _, ref := range r.Media {
		if err := w.media(ctx, mpd, ref, t); err != nil {
			return err
		}
	}
	return nil
}

// sameBases refuses a Representation whose further BaseURLs lead to other objects
// than the first: a rotation would move some and not others.
func (w *walker) sameBases(mpd string, r *dash.Representation) {
	first := []string{r.Init, r.File}
	first = append(first, r.Media...)
	for i, b := range r.OtherBases {
		init, media, file := r.At(i)
		for j, ref := range append([]string{init, file}, media...) {
			if ref == "" {
				continue
			}
			k, err := w.resolve(mpd, ref)
			if want, werr := w.resolve(mpd, first[j]); err != nil || werr != nil || k != want {
				w.refuse(mpd, fmt.Sprintf("Representation %q: BaseURL %q does not lead to the same objects as the first", r.ID, b))
				return
			}
		}
	}
}

func (w *walker) resolve(from, ref string) (string, error) {
	return w.options.Space.Resolve(from, ref)
}

// media adds one media object of a clear or CENC track, once.
func (w *walker) media(ctx context.Context, manifest, ref string, t *Track) error {
	k, err := w.resolve(manifest, ref)
	if errors.Is(err, ErrExternal) && t.Format == Clear {
		return nil
	}
	if err != nil {
		return w.refuseOr(manifest, err)
	}
	if was, ok := w.owners[k]; ok {
		other := w.tracks[was.track]
		switch {
		case was.segment >= 0 && was.segment < len(other.Segments) && other.Segments[was.segment].protected():
			w.refuse(k, "one playlist lists it as encrypted, another manifest as clear or under Common Encryption")
		case was.track != t.ID && (t.Format == CENC || other.Format == CENC):
			w.refuse(k, "two tracks list it with different init sections")
		}
		return nil
	}
	o, err := w.list.stat(ctx, k)
	if err != nil {
		return w.refuseOr(k, err)
	}
	w.add(t, Segment{Object: o})
	return nil
}

// add puts an object into its track.
func (w *walker) add(t *Track, s Segment) {
	w.owners[s.Key] = owner{track: t.ID, segment: len(t.Segments)}
	t.Segments = append(t.Segments, s)
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
	slices.Sort(w.asset.Findings)
	slices.SortFunc(w.asset.KeyURIs, func(a, b KeyURI) int { return strings.Compare(a.URI, b.URI) })
	slices.SortFunc(w.asset.Keys, func(a, b KeyObject) int { return strings.Compare(a.Key, b.Key) })
}
