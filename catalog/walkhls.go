package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

func (w *walker) playlist(ctx context.Context, k string, b []byte) error {
	p, err := hls.Parse(k, b)
	if err != nil {
		return w.opaqueOr(k, err)
	}
	if err := p.Unsupported(); err != nil {
		w.refuse(k, err.Error())
	}
	if p.Multivariant {
		return w.multivariant(ctx, k, p)
	}
	for _, s := range p.Segments {
		if err := w.hlsSegment(ctx, k, s); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) multivariant(ctx context.Context, k string, p *hls.Playlist) error {
	for _, ref := range p.Refs {
		switch ref.Role {
		case hls.Variant, hls.Rendition, hls.IFrame:
			child, err := Resolve(k, ref.URI)
			if err != nil {
				if err := w.opaqueOr(k, err); err != nil {
					return err
				}
				continue
			}
			if child == k {
				w.refuse(k, fmt.Sprintf("line %d: the playlist includes itself", ref.Line))
				continue
			}
			if err := w.manifest(ctx, child, false); err != nil {
				return err
			}
		case hls.SessionKey:
			if ref.Key != nil && ref.Key.Method == "AES-128" {
				if _, err := w.aesKey(ctx, k, ref.Key); err != nil {
					return err
				}
			}
		default:
		}
	}
	return nil
}

func (w *walker) hlsSegment(ctx context.Context, k string, s hls.MediaSegment) error {
	if s.Gap {
		return nil
	}
	aes := aesKeyTag(s.Keys)
	if s.Map != nil {
		initKey, err := Resolve(k, s.Map.URI)
		if err != nil {
			return w.opaqueOr(k, err)
		}
		if aes != nil {
			w.refuse(k, fmt.Sprintf("line %d: AES-128 over fMP4 is not supported yet", aes.Line))
			_, err := w.aesTrack(ctx, k, s, aes)
			return err
		}
		if s.SingleFile() {
			return w.hlsSingleFile(ctx, k, s, initKey)
		}
		t, err := w.initTrack(ctx, initKey)
		if err != nil || t == nil {
			return err
		}
		w.keepTags(k, s, t)
		return w.media(ctx, k, s.URI, t, key.KID{}, key.IV{})
	}
	t, err := w.aesTrack(ctx, k, s, aes)
	if err != nil {
		return err
	}
	if aes == nil {
		return w.media(ctx, k, s.URI, t, key.KID{}, key.IV{})
	}
	kid, err := w.aesKey(ctx, k, aes)
	if err != nil {
		return err
	}
	return w.media(ctx, k, s.URI, t, kid, s.IV(aes))
}

// aesTrack is the track of a playlist without init sections.
func (w *walker) aesTrack(ctx context.Context, k string, s hls.MediaSegment, aes *hls.KeyTag) (*Track, error) {
	t, ok := w.tracks[k]
	if !ok {
		t = &Track{ID: k, Format: Clear}
		w.tracks[k] = t
	}
	tag := aes
	for _, kt := range s.Keys {
		if tag == nil && kt.Method == "SAMPLE-AES" {
			tag = kt
		}
	}
	if tag == nil {
		return t, nil
	}
	t.Format, t.Scheme = AES128, tag.Method
	kid, err := w.aesKey(ctx, k, tag)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.KIDs, kid) {
		t.KIDs = append(t.KIDs, kid)
	}
	return t, nil
}

func aesKeyTag(keys []*hls.KeyTag) *hls.KeyTag {
	for _, kt := range keys {
		if kt.Method == "AES-128" {
			return kt
		}
	}
	return nil
}

// aesKey names the key behind an HLS key tag and pins its object.
func (w *walker) aesKey(ctx context.Context, playlist string, kt *hls.KeyTag) (key.KID, error) {
	k, err := Resolve(playlist, kt.URI)
	if err != nil {
		w.refuse(playlist, fmt.Sprintf("line %d: key URI %s is not in the media root: key servers are not supported yet", kt.Line, quote(kt.URI)))
		return w.kidOf(kt.URI), nil
	}
	kid := w.kidOf(k)
	if w.keys[k] {
		return kid, nil
	}
	w.keys[k] = true
	o, err := w.list.stat(ctx, k)
	if err != nil {
		return kid, w.refuseOr(k, err)
	}
	if o.Size != 16 {
		w.refuse(k, fmt.Sprintf("key object has %d bytes, want 16 (RFC 8216 §4.3.2.4)", o.Size))
	}
	w.asset.Keys = append(w.asset.Keys, KeyObject{Object: o, KID: kid})
	return kid, nil
}
