package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

func (w *walker) playlist(ctx context.Context, k string, b []byte, c Context, entry bool) error {
	p, err := hls.ParseWith(k, b, c.HLS())
	if err != nil {
		return w.opaqueOr(k, err)
	}
	w.contextual[k] = p.Contextual()
	if err := p.Unsupported(); err != nil {
		w.refuse(k, err.Error())
	}
	if p.Multivariant && !entry {
		// RFC 8216 §4.3.4: a variant is a media playlist.
		w.asset.Opaque = true
		w.refuse(k, "a multivariant playlist leads to it, and it is one itself")
		return nil
	}
	if p.Multivariant {
		return w.multivariant(ctx, k, p)
	}
	for _, s := range p.Segments {
		if s.Gap {
			w.gap(ctx, k, s)
		}
	}
	format, tag := w.inPlaylist(ctx, k, p)
	if format != Clear {
		return w.segments(ctx, k, p, format, tag)
	}
	for _, s := range slices.Concat(p.Segments, p.Parts) {
		if err := w.hlsSegment(ctx, k, s); err != nil {
			return err
		}
	}
	return nil
}

// gap tells of a segment that is declared absent and is there.
func (w *walker) gap(ctx context.Context, k string, s hls.MediaSegment) {
	if object, err := w.resolve(k, s.URI); err == nil {
		if _, err := w.list.stat(ctx, object); err == nil {
			w.find(fmt.Sprintf("%s line %d: %s is declared absent (EXT-X-GAP), is there, and stays as it is", k, s.Line, object))
		}
	}
}

// equal compares contexts.
func (c Context) equal(o Context) bool {
	return c.Query == o.Query && c.AnyQuery == o.AnyQuery && maps.Equal(c.Variables, o.Variables)
}

// sameContext refuses a playlist that two others lead to with different variables,
// where it takes any.
func (w *walker) sameContext(k string, was, now Context) {
	if w.contextual[k] && !was.equal(now) {
		w.refuse(k, "two playlists lead to it with different variables")
	}
}

// inPlaylist is the format of a media playlist whose tags have the keys of whole
// segments, and the first tag that says so; Clear where there is none.
func (w *walker) inPlaylist(ctx context.Context, k string, p *hls.Playlist) (Format, *hls.KeyTag) {
	for _, s := range p.Segments {
		if s.Gap {
			continue
		}
		lists := [][]*hls.KeyTag{s.Keys}
		if s.Map != nil {
			lists = append(lists, s.Map.Keys)
		}
		for _, keys := range lists {
			for _, kt := range keys {
				switch {
				case kt.Method == hls.MethodAES128:
					return AES128, kt
				case kt.Method == hls.MethodSampleAES && (s.Map == nil || w.isTS(ctx, k, s.Map)):
					return SampleAES, kt
				}
			}
		}
	}
	return Clear, nil
}

// isTS reports an init section that is MPEG-2 TS, by its sync byte: the program
// tables of an I-frame playlist (RFC 8216 §4.3.3.6).
func (w *walker) isTS(ctx context.Context, k string, m *hls.InitSection) bool {
	object, err := w.resolve(k, m.URI)
	if err != nil {
		return false
	}
	at := int64(0)
	if m.Range != nil {
		at = m.Range.Offset
	}
	id := fmt.Sprintf("%d@%s", at, object)
	ts, known := w.tsMaps[id]
	if known {
		return ts
	}
	o, err := w.list.stat(ctx, object)
	var b [1]byte
	if err == nil && at < o.Size {
		_, err = rangeReader(ctx, w.list.r, o).ReadAt(b[:], at)
	}
	w.tsMaps[id] = err == nil && b[0] == 0x47
	return w.tsMaps[id]
}

func (w *walker) multivariant(ctx context.Context, k string, p *hls.Playlist) error {
	for _, ref := range p.Refs {
		switch ref.Role {
		case hls.Variant, hls.Rendition, hls.IFrame, hls.Image:
			if err := w.child(ctx, k, p, ref); err != nil {
				return err
			}
		case hls.SessionKey:
			if ref.Key.LeadsToKey() && ref.Key.Method == hls.MethodAES128 {
				if _, err := w.contentKey(ctx, k, []*hls.KeyTag{ref.Key}); err != nil {
					return err
				}
			}
		default:
		}
	}
	return nil
}

// child follows a multivariant playlist to one of its media playlists.
func (w *walker) child(ctx context.Context, k string, p *hls.Playlist, ref hls.Ref) error {
	child, err := w.resolve(k, ref.Target)
	switch {
	case errors.Is(err, ErrExternal):
		w.find(fmt.Sprintf("%s line %d: leads to a playlist outside the media root, which stays as it is", k, ref.Line))
		return nil
	case err != nil:
		return w.opaqueOr(k, fmt.Errorf("line %d: %w", ref.Line, err))
	case child == k:
		w.refuse(k, fmt.Sprintf("line %d: the playlist includes itself", ref.Line))
		return nil
	}
	return w.manifest(ctx, child, false, childContext(p, ref))
}

func childContext(p *hls.Playlist, ref hls.Ref) Context {
	return Context{Variables: p.Variables(), Query: query(ref.Target)}
}

// hlsSegment adds a segment that is clear or under Common Encryption.
func (w *walker) hlsSegment(ctx context.Context, k string, s hls.MediaSegment) error {
	if s.Gap {
		return nil
	}
	if s.Map == nil || w.isTS(ctx, k, s.Map) {
		return w.media(ctx, k, s.URI, w.playlistTrack(k, Clear, ""))
	}
	initKey, err := w.resolve(k, s.Map.URI)
	if errors.Is(err, ErrExternal) && len(s.Keys) == 0 {
		return nil
	}
	if err != nil {
		return w.opaqueOr(k, err)
	}
	if s.SingleFile() {
		return w.hlsSingleFile(ctx, k, s, initKey)
	}
	t, err := w.initTrack(ctx, initKey)
	if err != nil || t == nil {
		return err
	}
	t.InitFixed = t.InitFixed || s.Map.Range != nil
	w.keepTags(k, s, t)
	return w.media(ctx, k, s.URI, t)
}

// playlistTrack is the track of a playlist whose objects hold no init section of
// Common Encryption.
func (w *walker) playlistTrack(k string, f Format, scheme string) *Track {
	t, ok := w.tracks[k]
	if !ok {
		t = &Track{ID: k, Format: f, Scheme: scheme}
		w.tracks[k] = t
	}
	return t
}

// segments adds what a playlist lists under AES-128, or under SAMPLE-AES without
// init sections. Spans of METHOD=NONE are clear objects of the same track.
func (w *walker) segments(ctx context.Context, k string, p *hls.Playlist, f Format, tag *hls.KeyTag) error {
	t := w.playlistTrack(k, f, tag.Method)
	var last *hls.InitSection
	for _, s := range p.Segments {
		if s.Gap {
			continue
		}
		if other := otherMethod(s, tag); other != nil {
			w.refuse(k, fmt.Sprintf("line %d: METHOD %s beside METHOD %s of line %d", other.Line, other.Method, tag.Method, tag.Line))
			continue
		}
		if s.Map != nil && s.Map != last {
			last = s.Map
			// An init section has no number of its own: its IV is explicit, or the
			// playlist is refused (RFC 8216 §4.3.2.5).
			init := hls.MediaSegment{URI: s.Map.URI, Line: s.Map.Line, Range: s.Map.Range, Keys: s.Map.Keys}
			if f == SampleAES { // its program tables are never encrypted
				init.Keys = nil
				if init.Range != nil {
					init.Keys = s.Keys // of the segment that it is a part of
				}
			}
			if err := w.listed(ctx, k, t, init, f == SampleAES); err != nil {
				return err
			}
		}
		if err := w.listed(ctx, k, t, s, p.IFramesOnly); err != nil {
			return err
		}
	}
	return nil
}

// otherMethod is a tag in force over the segment or its init section that has
// another METHOD; nil where there is none.
func otherMethod(s hls.MediaSegment, tag *hls.KeyTag) *hls.KeyTag {
	keys := s.Keys
	if s.Map != nil {
		keys = slices.Concat(keys, s.Map.Keys)
	}
	for _, kt := range keys {
		if kt.Method != tag.Method {
			return kt
		}
	}
	return nil
}

// listed adds one segment of such a playlist.
func (w *walker) listed(ctx context.Context, k string, t *Track, s hls.MediaSegment, iframe bool) error {
	var m Message
	if len(s.Keys) > 0 {
		kid, err := w.contentKey(ctx, k, s.Keys)
		if err != nil {
			return err
		}
		tag := ivTag(s.Keys)
		m.KID, m.IV = kid, s.IV(tag)
		// FairPlay Streaming sends the IV with the key, unless the tag has one.
		m.UnknownIV = t.Format == SampleAES && tag.IV == nil && !slices.ContainsFunc(s.Keys, func(kt *hls.KeyTag) bool { return kt.KeyFormat == hls.FormatIdentity })
		if !t.Uses(kid) {
			t.KIDs = append(t.KIDs, kid)
		}
	}
	object, err := w.resolve(k, s.URI)
	if errors.Is(err, ErrExternal) && m.KID == (key.KID{}) {
		return nil
	}
	if err != nil {
		return w.refuseOr(k, fmt.Errorf("line %d: %w", s.Line, err))
	}
	if s.Range == nil {
		return w.whole(ctx, t, object, m)
	}
	m.Offset, m.Length = s.Range.Offset, s.Range.Length
	if iframe && len(s.Keys) > 0 {
		w.views = append(w.views, view{playlist: k, line: s.Line, track: t, object: object, Message: m})
		return nil
	}
	return w.sub(ctx, t, object, m)
}

// ivTag is the tag whose IV counts: all that are in force lead to one key, and
// those that have an IV to one IV.
func ivTag(keys []*hls.KeyTag) *hls.KeyTag {
	for _, kt := range keys {
		if kt.IV != nil {
			return kt
		}
	}
	return keys[0]
}
