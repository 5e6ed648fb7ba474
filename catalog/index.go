package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// ErrNotScanned is returned while no scan has been finished: an empty index
// must never read as "nothing depends on that key".
var ErrNotScanned = errors.New("the media root has not been scanned")

// ErrOtherRoot is returned where the index is of another media root than the one
// that is scanned: all that it knows of would be gone from it.
var ErrOtherRoot = errors.New("the index is of another media root")

// ErrInUse is returned where an asset depends on a key, or may.
var ErrInUse = errors.New("key is in use")

// ErrCorrupt is the class of an index record that cannot be read.
var ErrCorrupt = errors.New("corrupt catalogue record")

// Control is what the index needs of the control prefix. Errors are the
// store's.
type Control interface {
	Get(ctx context.Context, key string, o store.GetOptions) (store.Info, io.ReadCloser, error)
	List(ctx context.Context, prefix string) iter.Seq2[store.Info, error]
	Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error)
	Delete(ctx context.Context, key string) error
}

// Entry says what one asset has of one key. JSON shape: the line that scope
// prints.
type Entry struct {
	Asset   string `json:"asset"`
	Tracks  int    `json:"tracks"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
	// Unsupported is the first reason why the asset cannot be rekeyed.
	Unsupported string `json:"unsupported,omitempty"`
}

// Summary is the asset's own record in the index.
type Summary struct {
	Asset    string    `json:"asset"`
	Entries  []string  `json:"entries"`
	KIDs     []key.KID `json:"kids"`
	Keys     []string  `json:"key_objects,omitempty"`
	Refusals []Refusal `json:"refusals,omitempty"`
	// Opaque as in Asset.
	Opaque bool `json:"opaque,omitempty"`
}

// ScanRecord says when the index was last made whole.
type ScanRecord struct {
	// Started is zero in records of scans that did not note it.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished"`
	// Root is the media root that was scanned, as the scanner calls it.
	Root    string `json:"root,omitempty"`
	Assets  int    `json:"assets"`
	Refused int    `json:"refused"`
	// Opaque lists the assets that could not be read far enough to tell all
	// the keys they use: whether they depend on a key is unknown.
	Opaque []string `json:"opaque,omitempty"`
	// Loose counts media objects that no manifest leads to and no rotation
	// wrote. The old ciphertext of a rotation is among them until it is purged.
	Loose int `json:"loose"`
}

// Index is the inverted index from KIDs to assets, in the control prefix.
type Index struct{ c Control }

// NewIndex uses the control prefix c.
func NewIndex(c Control) *Index { return &Index{c: c} }

const (
	kidPrefix   = "catalog/kid/"
	uriPrefix   = "catalog/uri/"
	assetPrefix = "catalog/asset/"
	scanKey     = "catalog/scan.json"
)

// Escape spells an asset ID as one path segment of at most 200 bytes.
func Escape(asset string) string {
	e := url.PathEscape(asset)
	if len(e) <= 200 {
		return e
	}
	sum := sha256.Sum256([]byte(asset))
	return e[:150] + "~" + hex.EncodeToString(sum[:16])
}

func kidKey(kid key.KID, asset string) string {
	return kidPrefix + kid.String() + "/" + Escape(asset) + ".json"
}

// Put records the asset under every KID it uses, and removes it from those it
// no longer uses.
func (x *Index) Put(ctx context.Context, a *Asset) error {
	was, err := x.Summary(ctx, a.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	sum := Summary{Asset: a.ID, KIDs: a.KIDs(), Refusals: a.Refusals, Opaque: a.Opaque}
	for _, m := range a.Entries() {
		sum.Entries = append(sum.Entries, m.Key)
	}
	for _, k := range a.Keys {
		sum.Keys = append(sum.Keys, k.Key)
	}
	now := map[key.KID]bool{}
	for _, kid := range sum.KIDs {
		now[kid] = true
		if err := x.put(ctx, kidKey(kid, a.ID), entryFor(a, kid)); err != nil {
			return err
		}
	}
	for _, u := range a.KeyURIs {
		if err := x.put(ctx, uriKey(u.URI)+u.KID.String()+".json", u.KID); err != nil {
			return err
		}
	}
	// The summary goes last: it is what says which entries there are to remove.
	for _, kid := range was.KIDs {
		if !now[kid] {
			if err := x.c.Delete(ctx, kidKey(kid, a.ID)); err != nil {
				return fmt.Errorf("unindex %s: %w", a.ID, err)
			}
		}
	}
	return x.put(ctx, assetPrefix+Escape(a.ID)+".json", sum)
}

// uriKey is the folder of a key URI: one object for each KID it was found to stand
// for. What they once stood for stays: it is only where to look.
func uriKey(uri string) string {
	sum := sha256.Sum256([]byte(Normal(uri)))
	return uriPrefix + hex.EncodeToString(sum[:]) + "/"
}

// KIDsOfURI are the KIDs that a key URI outside the media root was found to stand
// for, by the media under it.
func (x *Index) KIDsOfURI(ctx context.Context, uri string) ([]key.KID, error) {
	var kids []key.KID
	for info, err := range x.c.List(ctx, uriKey(uri)) {
		var kid key.KID
		if err == nil {
			err = x.get(ctx, info.Key, &kid)
		}
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	return kids, nil
}

// names maps each entry manifest in the index to its asset.
func (x *Index) names(ctx context.Context) (map[string]string, error) {
	names := map[string]string{}
	for s, err := range x.Summaries(ctx) {
		if err != nil {
			return nil, err
		}
		for _, e := range s.Entries {
			names[e] = s.Asset
		}
	}
	return names, nil
}

func entryFor(a *Asset, kid key.KID) Entry {
	e := Entry{Asset: a.ID}
	for _, t := range a.Tracks {
		if t.Uses(kid) {
			e.Tracks++
			e.Objects += t.Objects()
			e.Bytes += t.Bytes()
		}
	}
	if len(a.Refusals) > 0 {
		e.Unsupported = a.Refusals[0].Object + ": " + a.Refusals[0].Reason
	}
	return e
}

func (x *Index) put(ctx context.Context, k string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", k, err)
	}
	if len(b) > MaxManifest {
		return fmt.Errorf("write %s: record has %d bytes, at most %d are read", k, len(b), MaxManifest)
	}
	if _, err := x.c.Put(ctx, k, b, store.PutOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", k, err)
	}
	return nil
}

func (x *Index) get(ctx context.Context, k string, v any) error {
	_, body, err := x.c.Get(ctx, k, store.GetOptions{})
	if err != nil {
		return fmt.Errorf("read %s: %w", k, err)
	}
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(io.LimitReader(body, MaxManifest))
	if err != nil {
		return fmt.Errorf("read %s: %w", k, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read %s: %w at offset %d: %w", k, ErrCorrupt, d.InputOffset(), err)
	}
	return nil
}

// Summary returns the asset's record; store.ErrNotFound where there is none.
func (x *Index) Summary(ctx context.Context, asset string) (Summary, error) {
	var s Summary
	err := x.get(ctx, assetPrefix+Escape(asset)+".json", &s)
	return s, err
}

// Summaries yields every asset's record.
func (x *Index) Summaries(ctx context.Context) iter.Seq2[Summary, error] {
	return func(yield func(Summary, error) bool) {
		for info, err := range x.c.List(ctx, assetPrefix) {
			var s Summary
			if err == nil {
				err = x.get(ctx, info.Key, &s)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// Scanned returns the record of the last whole scan; ErrNotScanned where there
// is none.
func (x *Index) Scanned(ctx context.Context) (ScanRecord, error) {
	var r ScanRecord
	err := x.get(ctx, scanKey, &r)
	if errors.Is(err, store.ErrNotFound) {
		return r, ErrNotScanned
	}
	return r, err
}

// CheckUnused returns nil where a scan that began after since has read every asset
// and found none that depends on a key. Else: ErrInUse, ErrNotScanned.
func (x *Index) CheckUnused(ctx context.Context, kid key.KID, since time.Time) error {
	// What is known to depend on the key counts, however the scan went.
	for s, err := range x.entries(ctx, kid) {
		if err != nil {
			return fmt.Errorf("look up key %s: %w", kid, err)
		}
		return fmt.Errorf("look up key %s: %w: asset %s depends on it", kid, ErrInUse, s.Asset)
	}
	rec, err := x.Scanned(ctx)
	if err != nil {
		return fmt.Errorf("look up key %s: %w", kid, err)
	}
	if len(rec.Opaque) > 0 {
		return fmt.Errorf("look up key %s: %w, for all that can be told: of %d assets it is not known which keys they use: %s",
			kid, ErrInUse, len(rec.Opaque), strings.Join(rec.Opaque, ", "))
	}
	if !rec.Started.After(since) {
		return fmt.Errorf("look up key %s: %w since it left use at %s: what came later is not in the index", kid, ErrNotScanned, since.UTC().Format(time.RFC3339))
	}
	return nil
}

// SetScanned records a whole scan.
func (x *Index) SetScanned(ctx context.Context, r ScanRecord) error {
	return x.put(ctx, scanKey, r)
}

// Remove takes an asset that is gone out of the index.
func (x *Index) Remove(ctx context.Context, s Summary) error {
	for _, kid := range s.KIDs {
		if err := x.c.Delete(ctx, kidKey(kid, s.Asset)); err != nil {
			return fmt.Errorf("unindex %s: %w", s.Asset, err)
		}
	}
	if err := x.c.Delete(ctx, assetPrefix+Escape(s.Asset)+".json"); err != nil {
		return fmt.Errorf("unindex %s: %w", s.Asset, err)
	}
	return nil
}

// Scope yields what depends on kid, in asset order: one listing of the index.
func (x *Index) Scope(ctx context.Context, kid key.KID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if _, err := x.Scanned(ctx); err != nil {
			yield(Entry{}, err)
			return
		}
		x.entries(ctx, kid)(yield)
	}
}

// entries is Scope, whether or not there was a whole scan.
func (x *Index) entries(ctx context.Context, kid key.KID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for info, err := range x.c.List(ctx, kidPrefix+kid.String()+"/") {
			var e Entry
			if err == nil {
				err = x.get(ctx, info.Key, &e)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
