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
	// URI is the skd: URI that names the key to FairPlay; "": the service said none.
	URI string
}

// Check refuses data that could not be put into media.
func (k NewKey) Check() error {
	c := journal.KeyChange{NewKID: k.KID, DRM: k.DRM}
	old := k.KID // any other: it goes, and the data may not name what goes
	old[0] ^= 0xff
	err := pssh.CheckReplacements(key.Changes{old: {New: k.Key, NewKID: k.KID, PSSH: c.PSSH()}})
	if at, ok := errors.AsType[*pssh.Error](err); ok {
		at.Place = fmt.Sprintf("DRM data for new KID %s", k.KID)
	}
	return err
}

// KeySource makes the new CENC keys of an asset. It returns one for each that it
// is asked for, under the same KID, or an error, after which nothing was changed
// here. String is what errors call it, without credentials.
type KeySource interface {
	NewKeys(ctx context.Context, asset string, asks []KeyAsk) ([]NewKey, error)
	String() string
}

// askKeys asks the key service, where there is one, for every new CENC key of
// the plans, and takes the answers into the ring, before anything of the rotation
// is written. Assets that share a key share the ask of the first. An asset that it
// cannot ask for is refused in its plan.
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
		if err := e.askFor(ctx, id, p.Asset, asks, made); err != nil {
			return nil, fmt.Errorf("ask key service %s for keys of asset %s: %w", e.KeySource, p.Asset, err)
		}
	}
	for _, p := range plans {
		for i := range p.Keys {
			if err := fill(&p.Keys[i], made); err != nil {
				return nil, fmt.Errorf("ask key service %s for keys of asset %s: %w", e.KeySource, p.Asset, err)
			}
		}
	}
	return made, e.keep(ctx, plans, made)
}

// fill puts into a plan what came with a key. The service's URI stands before that
// of the configuration; an old one would lead caches to the old key.
func fill(c *journal.KeyChange, made map[key.KID]NewKey) error {
	k, ok := made[c.NewKID]
	if !ok {
		return nil
	}
	c.DRM, c.Service = k.DRM, true
	if k.URI == "" {
		return nil
	}
	if _, old := c.URIs[k.URI]; old {
		return fmt.Errorf("the key URI for new KID %s is that of the old key", k.KID)
	}
	for old := range c.URIs {
		c.URIs[old] = k.URI
	}
	return nil
}

// askFor adds to made what the service answers.
func (e *Engine) askFor(ctx context.Context, id, asset string, asks []KeyAsk, made map[key.KID]NewKey) error {
	r := audit.Record{Action: audit.CPIXExchange, Rotation: id, Asset: asset, Outcome: audit.Allowed, Reason: fmt.Sprintf("ask for %d keys", len(asks))}
	if err := e.Audit.Append(ctx, r); err != nil {
		return err
	}
	keys, err := e.KeySource.NewKeys(ctx, asset, asks)
	for _, k := range keys {
		if err == nil {
			err = checkNew(k, made)
		}
		made[k.KID] = k
	}
	if err == nil {
		return nil
	}
	r.Outcome, r.Reason = audit.Failed, r.Reason+": "+err.Error()
	return errors.Join(err, e.Audit.Append(context.WithoutCancel(ctx), r))
}

// checkNew refuses a key that another asset was given, and data that could not be
// put into media, while nothing has changed.
func checkNew(k NewKey, made map[key.KID]NewKey) error {
	for kid, other := range made {
		if other.Key.Equal(k.Key) {
			return fmt.Errorf("%w: KID %s and KID %s have one key", keyring.ErrWeak, kid, k.KID)
		}
	}
	return k.Check()
}

// keep puts the service's keys into the ring, which knows the values that it has
// already: a service that answers with the leaked key must stop the rotation
// before it began.
func (e *Engine) keep(ctx context.Context, plans []*journal.Plan, made map[key.KID]NewKey) error {
	for _, p := range plans {
		for _, k := range p.Keys {
			if p.Refusal != nil || !k.Service {
				continue
			}
			if err := e.mint(ctx, p, k, made); err != nil {
				return fmt.Errorf("take key of %s for asset %s: %w", e.KeySource, p.Asset, err)
			}
		}
	}
	return nil
}

// fromService reports whether the key service makes a plan's new key: one that
// players ask a DRM system for. A URI that leads to the key itself is some other
// server's, which has to be handed the key.
func (e *Engine) fromService(p *journal.Plan, k journal.KeyChange) bool {
	for uri := range k.URIs {
		if catalog.Scheme(uri) != "skd" {
			return false
		}
	}
	return e.KeySource != nil && k.Object == nil && p.IsCENC(k.OldKID)
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
	err := e.nameTracks(ctx, p, asks)
	if errors.Is(err, errTooMany) {
		p.Refusal = &journal.Refusal{Object: p.Asset, Reason: err.Error()}
		return nil, nil
	}
	return asks, err
}

var errTooMany = errors.New("more keys of one asset than a key service is asked for")

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
		return fmt.Errorf("%w: %d for video and %d for audio, at most %d and 1", errTooMany, len(video), audio, len(trackTypes))
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
