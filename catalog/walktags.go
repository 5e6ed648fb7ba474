package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

// tagName is the KID behind one key tag; known is false where the tag itself does
// not say.
type tagName struct {
	kid   key.KID
	known bool
}

// nameOf finds the KID that a key tag names: in itself, else by its URI, which
// the keyring may know. Where the URI leads to a key object it is pinned.
func (w *walker) nameOf(ctx context.Context, playlist string, kt *hls.KeyTag) (tagName, error) {
	if n, ok := w.tagNames[kt]; ok {
		return n, nil
	}
	n, err := w.readName(ctx, playlist, kt)
	if err == nil {
		w.tagNames[kt] = n
	}
	return n, err
}

func (w *walker) readName(ctx context.Context, playlist string, kt *hls.KeyTag) (n tagName, err error) {
	kids, err := hls.KeyTagKIDs(kt)
	if err != nil {
		return n, w.refuseOr(playlist, err)
	}
	if len(kids) > 0 {
		return tagName{kids[0], true}, nil
	}
	if isData(kt.URI) {
		return n, nil
	}
	uri := kt.URI
	spellings := []string{uri}
	if kt.LeadsToKey() {
		if k, err := w.resolve(playlist, kt.URI); err == nil {
			uri, spellings = k, []string{k}
			if escaped := Relative("", k); escaped != k {
				spellings = append(spellings, escaped)
			}
		}
	}
	if n := Normal(uri); n != uri {
		uri, spellings = n, append(spellings, n)
	}
	for _, u := range spellings {
		if w.options.Keys == nil {
			break
		}
		kid, found, err := w.options.Keys.KIDOfURI(ctx, u)
		if err != nil || found {
			return tagName{kid, found}, err
		}
	}
	return tagName{kid: key.KIDFromURI(uri)}, nil
}

// contentKey is the KID of what is encrypted under these tags in force: they are
// several ways to one key (RFC 8216 §4.3.2.4). What a tag says of its KID goes
// first, then the URI of a key object or server, then any.
func (w *walker) contentKey(ctx context.Context, playlist string, keys []*hls.KeyTag) (key.KID, error) {
	var out tagName
	rank := 0
	for _, kt := range keys {
		n, err := w.nameOf(ctx, playlist, kt)
		if err != nil {
			return key.KID{}, err
		}
		r := 1
		switch {
		case n.known:
			r = 3
		case n.kid.IsZero():
			r = 0
		case kt.LeadsToKey():
			r = 2
		}
		if r > rank {
			out, rank = n, r
		}
		if n.known && out.known && n.kid != out.kid {
			w.refuse(playlist, fmt.Sprintf("line %d: the key tags in force name different KIDs", kt.Line))
		}
	}
	if rank == 0 {
		w.asset.Opaque = true
		w.refuse(playlist, fmt.Sprintf("line %d: the key tags in force name no key", keys[0].Line))
		return key.KID{}, nil
	}
	for _, kt := range keys {
		if err := w.place(ctx, playlist, kt, out.kid); err != nil {
			return key.KID{}, err
		}
	}
	return out.kid, nil
}

// place pins where a tag's URI leads, which is to the key of this KID: a key
// object, or a place outside the media root. A URI that holds or spells its KID is
// rewritten by that.
func (w *walker) place(ctx context.Context, playlist string, kt *hls.KeyTag, kid key.KID) error {
	if isData(kt.URI) {
		return w.checkTag(playlist, kt, []key.KID{kid})
	}
	if kt.LeadsToKey() {
		k, err := w.resolve(playlist, kt.URI)
		if err == nil {
			return w.keyObject(ctx, k, kid)
		}
		if scheme, authority, _ := anatomy(kt.URI); scheme == "" && authority == "" && !strings.HasPrefix(kt.URI, "/") {
			// The error would quote the URI, which may hold a token.
			w.asset.Opaque = true
			w.refuse(playlist, fmt.Sprintf("line %d: key URI: %v", kt.Line, ErrOutside))
			return nil
		}
	} else if updates(kt, kid) {
		return w.checkTag(playlist, kt, []key.KID{kid})
	}
	if was, ok := w.keyURIs[kt.URI]; ok {
		if was != kid {
			w.refuse(playlist, fmt.Sprintf("line %d: key URI stands for KID %s and for KID %s", kt.Line, was, kid))
		}
		return nil
	}
	w.keyURIs[kt.URI] = kid
	if w.options.Renews == nil || !w.options.Renews(kt.URI) {
		w.refuse(playlist, fmt.Sprintf("line %d: the key URI leads to a key server (%s), and the configuration (new_key_uri) has no URI for a new key there", kt.Line, Scheme(kt.URI)))
	}
	w.asset.KeyURIs = append(w.asset.KeyURIs, KeyURI{URI: kt.URI, KID: kid, Playlist: playlist, Line: kt.Line})
	return nil
}

// updates reports a tag that changes by itself with its KID.
func updates(kt *hls.KeyTag, kid key.KID) bool {
	_, updated, err := hls.RekeyKeyTag(kt, key.Changes{kid: {New: key.NewContentKey(), NewKID: key.KID{0xff}}})
	return updated || err != nil
}

func (w *walker) checkTag(playlist string, kt *hls.KeyTag, kids []key.KID) error {
	if err := hls.CheckKeyTag(kt, kids); err != nil {
		return w.refuseOr(playlist, err)
	}
	return nil
}

func isData(uri string) bool { return Scheme(uri) == "data" }

// keyObject pins a key object.
func (w *walker) keyObject(ctx context.Context, k string, kid key.KID) error {
	if was, ok := w.keys[k]; ok {
		if was != kid {
			w.refuse(k, fmt.Sprintf("key object of KID %s and of KID %s", was, kid))
		}
		return nil
	}
	if other, ok := w.keyOf[kid]; ok {
		w.refuse(k, fmt.Sprintf("second key object of KID %s, beside %s", kid, other))
	}
	w.keys[k], w.keyOf[kid] = kid, k
	o, err := w.list.stat(ctx, k)
	if err != nil {
		return w.refuseOr(k, err)
	}
	if o.Size != 16 {
		w.refuse(k, fmt.Sprintf("key object has %d bytes, want 16 (RFC 8216 §4.3.2.4)", o.Size))
	}
	w.asset.Keys = append(w.asset.Keys, KeyObject{Object: o, KID: kid})
	return nil
}

// placedTag is the key tags in force over a segment, to be compared with its
// track once all the track's keys are known.
type placedTag struct {
	playlist string
	line     int
	keys     []*hls.KeyTag
	track    *Track
}

func (w *walker) keepTags(playlist string, s hls.MediaSegment, t *Track) {
	if n := len(w.tags); n > 0 && w.tags[n-1].track == t && w.tags[n-1].playlist == playlist && slices.Equal(w.tags[n-1].keys, s.Keys) {
		return
	}
	w.tags = append(w.tags, placedTag{playlist, s.Line, s.Keys, t})
}

// checkTags refuses playlists whose key tags name other keys than the media is
// under: a player would ask for keys that open nothing; and tags that can't be
// rewritten when a key changes.
func (w *walker) checkTags(ctx context.Context) error {
	for _, p := range w.tags {
		if p.track.Format != CENC {
			continue
		}
		named, right := false, false
		for _, kt := range p.keys {
			kids, err := hls.KeyTagKIDs(kt)
			if err != nil {
				if err := w.refuseOr(p.playlist, err); err != nil {
					return err
				}
				continue
			}
			named = named || len(kids) > 0
			right = right || slices.ContainsFunc(kids, p.track.Uses)
			if kt.LeadsToKey() {
				err = w.trackKey(ctx, p, kt, kids)
			} else if err = w.checkTag(p.playlist, kt, p.track.KIDs); err == nil {
				w.opaque(p, kt)
			}
			if err != nil {
				return err
			}
		}
		if named && !right {
			w.refuse(p.playlist, fmt.Sprintf("line %d: the key tags in force name other keys than %s", p.line, p.track.ID))
		}
	}
	return nil
}

// opaque keeps a tag that leads to a key system by a URI which says no KID: the
// new key wants another.
func (w *walker) opaque(p placedTag, kt *hls.KeyTag) {
	if isData(kt.URI) || kt.Method == hls.MethodNone || slices.ContainsFunc(p.track.KIDs, func(kid key.KID) bool { return updates(kt, kid) }) {
		return
	}
	o := w.opaqueURIs[kt.URI]
	if o == nil {
		o = &opaqueURI{playlist: p.playlist, line: kt.Line, kids: map[key.KID]bool{}}
		w.opaqueURIs[kt.URI] = o
	}
	for _, kid := range p.track.KIDs {
		o.kids[kid] = true
	}
}

// opaqueURI is a key URI that names no KID, and the KIDs of the media it stands
// over.
type opaqueURI struct {
	playlist string
	line     int
	kids     map[key.KID]bool
}

// settleOpaque gives such a URI to the one key it stands for, where the
// configuration says what a new key's is; else it stays, and its owner is told.
func (w *walker) settleOpaque() {
	for uri, o := range w.opaqueURIs {
		renews := w.options.Renews != nil && w.options.Renews(uri)
		if len(o.kids) != 1 || !renews || w.keyURIs[uri] != (key.KID{}) {
			w.find(fmt.Sprintf("%s line %d: the key URI (%s) names no KID and is kept: the key system has to give the new key for it", o.playlist, o.line, Scheme(uri)))
			continue
		}
		for kid := range o.kids {
			w.keyURIs[uri] = kid
			w.asset.KeyURIs = append(w.asset.KeyURIs, KeyURI{URI: uri, KID: kid, Playlist: o.playlist, Line: o.line})
		}
	}
}

// trackKey is of a tag that leads to the content key of fMP4 under Common
// Encryption: the media says which KID that is, where it has only one.
func (w *walker) trackKey(ctx context.Context, p placedTag, kt *hls.KeyTag, kids []key.KID) error {
	if len(kids) == 0 {
		kids = p.track.KIDs
	}
	if len(kids) != 1 {
		w.refuse(p.playlist, fmt.Sprintf("line %d: METHOD %s leads to one content key, and %s is under %d", kt.Line, kt.Method, p.track.ID, len(kids)))
		return nil
	}
	return w.place(ctx, p.playlist, kt, kids[0])
}
