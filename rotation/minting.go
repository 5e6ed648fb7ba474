package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/pssh"
	"github.com/seed-6133abe0/rekey/store"
)

// KeyAsk is one new CENC key that a key service is asked for.
type KeyAsk struct {
	KID       key.KID
	Scheme    string // cenc, cens, cbc1 or cbcs
	TrackType string // what it encrypts, in the words of SPEKE v2; each once
}

// NewKey is what a key service made.
type NewKey struct {
	KID key.KID
	Key key.ContentKey
	DRM []keyring.DRM
}

// KeySource makes the new CENC keys of an asset. It returns one for each that it
// is asked for, under the same KID, or an error, after which nothing was changed
// here.
type KeySource interface {
	NewKeys(ctx context.Context, asset string, asks []KeyAsk) ([]NewKey, error)
}

// askKeys asks the key service, where there is one, for every new CENC key of
// the plans, before anything is written. Assets that share a key share the ask of
// the first.
func (e *Engine) askKeys(ctx context.Context, id string, plans []*journal.Plan) (map[key.KID]NewKey, error) {
	if e.KeySource == nil {
		return nil, nil
	}
	made := map[key.KID]NewKey{}
	for _, p := range plans {
		asks, err := e.asks(ctx, p, made)
		if err != nil {
			return nil, err
		}
		if len(asks) == 0 {
			continue
		}
		r := audit.Record{Action: audit.CPIXExchange, Rotation: id, Asset: p.Asset, Outcome: audit.Allowed, Reason: fmt.Sprintf("ask for %d keys", len(asks))}
		if err := e.Audit.Append(ctx, r); err != nil {
			return nil, err
		}
		keys, err := e.KeySource.NewKeys(ctx, p.Asset, asks)
		if err != nil {
			return nil, fmt.Errorf("ask key service for keys of asset %s: %w", p.Asset, err)
		}
		for _, k := range keys {
			if err := checkDRM(k); err != nil {
				return nil, fmt.Errorf("ask key service for keys of asset %s: %w", p.Asset, err)
			}
			made[k.KID] = k
		}
	}
	for _, p := range plans {
		for i, k := range p.Keys {
			k, ok := made[k.NewKID]
			p.Keys[i].DRM, p.Keys[i].Service = k.DRM, ok
		}
	}
	return made, nil
}

// checkDRM refuses data that could not be put into media, while nothing has
// changed.
func checkDRM(k NewKey) error {
	c := journal.KeyChange{NewKID: k.KID, DRM: k.DRM}
	return pssh.CheckReplacements(key.Changes{k.KID: {New: k.Key, NewKID: k.KID, PSSH: c.PSSH()}})
}

// fromService reports whether the key service makes a plan's new key.
func (e *Engine) fromService(p *journal.Plan, k journal.KeyChange) bool {
	return e.KeySource != nil && k.Object == nil && len(k.URIs) == 0 && p.IsCENC(k.OldKID)
}

// asks are the CENC keys of a plan that nobody was asked for yet.
func (e *Engine) asks(ctx context.Context, p *journal.Plan, made map[key.KID]NewKey) ([]KeyAsk, error) {
	if p.Refusal != nil {
		return nil, nil
	}
	var asks []KeyAsk
	for _, k := range p.Keys {
		_, asked := made[k.NewKID]
		if asked || !e.fromService(p, k) {
			continue
		}
		asks = append(asks, KeyAsk{KID: k.NewKID, Scheme: p.Scheme(k.OldKID)})
	}
	if len(asks) == 0 {
		return nil, nil
	}
	return asks, e.nameTracks(ctx, p, asks)
}

// trackTypes are SPEKE v2's words for video keys of one asset, by the size of
// what they encrypt.
var trackTypes = []string{"SD", "HD", "UHD1", "UHD2"}

// nameTracks says what each key encrypts, as the handler of its track's init
// section has it (ISO/IEC 14496-12 §8.4.3).
func (e *Engine) nameTracks(ctx context.Context, p *journal.Plan, asks []KeyAsk) error {
	if len(asks) == 1 {
		asks[0].TrackType = "ALL"
		return nil
	}
	old := map[key.KID]key.KID{}
	for _, k := range p.Keys {
		old[k.NewKID] = k.OldKID
	}
	size := map[key.KID]int64{}
	var video []*KeyAsk
	audio := 0
	for i := range asks {
		a := &asks[i]
		handler, bytes, err := e.handlerOf(ctx, p, old[a.KID])
		if err != nil {
			return err
		}
		size[a.KID] = bytes
		if handler == "soun" {
			audio++
			a.TrackType = "AUDIO"
			continue
		}
		video = append(video, a)
	}
	if audio > 1 || len(video) > len(trackTypes) {
		return fmt.Errorf("asset %s: %d video and %d audio keys: a key service is asked for at most %d and 1", p.Asset, len(video), audio, len(trackTypes))
	}
	slices.SortStableFunc(video, func(a, b *KeyAsk) int { return cmp.Compare(size[a.KID], size[b.KID]) })
	for i, a := range video {
		a.TrackType = trackTypes[i]
		if len(video) == 1 {
			a.TrackType = "VIDEO"
		}
	}
	return nil
}

// handlerOf is the handler of the first track under an old key, and the bytes of
// all of them.
func (e *Engine) handlerOf(ctx context.Context, p *journal.Plan, kid key.KID) (handler string, bytes int64, err error) {
	for _, t := range p.Tracks {
		if !slices.Contains(t.OldKIDs, kid) {
			continue
		}
		for _, o := range t.Objects {
			bytes += o.Size
		}
		if handler != "" {
			continue
		}
		if t.Init == nil {
			handler = "vide" // of a single file: its tracks are not looked at
			continue
		}
		b, _, err := store.ReadAll(ctx, e.Media, t.Init.Key, t.Init.ETag, catalog.MaxInit, nil)
		if err != nil {
			return "", 0, err
		}
		in, err := cenc.ParseInit(t.Init.Key, b)
		if err != nil {
			return "", 0, err
		}
		for _, track := range in.Tracks() {
			handler = track.Handler
		}
	}
	return handler, bytes, nil
}

// mint makes a new key, known by every URI that will lead to it, or keeps the one
// that a key service made.
func (e *Engine) mint(ctx context.Context, p *journal.Plan, k journal.KeyChange, made map[key.KID]NewKey) error {
	var uris []string
	if k.Object != nil {
		uris = append(uris, k.Object.To)
	}
	for _, uri := range slices.Sorted(maps.Values(k.URIs)) {
		if !slices.Contains(uris, uri) {
			uris = append(uris, uri)
		}
	}
	o := keyring.CreateOptions{
		Rotation: p.Rotation, Asset: p.Asset, Scheme: p.Scheme(k.OldKID),
		Key: made[k.NewKID].Key, DRM: made[k.NewKID].DRM,
	}
	if len(uris) > 0 {
		o.URI = uris[0]
	}
	switch old, err := e.Ring.Get(ctx, k.OldKID); {
	case err == nil:
		o.Tags = old.Tags // the lifetime of the old key is the new one's
	case !errors.Is(err, keyring.ErrNotFound):
		return err
	}
	if _, err := e.Ring.Create(ctx, k.NewKID, o); err != nil {
		return err
	}
	for i := 1; i < len(uris); i++ {
		if err := e.Ring.AddURI(ctx, k.NewKID, uris[i]); err != nil {
			return err
		}
	}
	return nil
}
