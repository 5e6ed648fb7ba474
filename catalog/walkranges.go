package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// blockSize is what every ciphertext of AES-128 is a multiple of (RFC 8216 §5.2).
const blockSize = 16

// protected reports an object that its playlists list under a key.
func (s Segment) protected() bool {
	return slices.ContainsFunc(s.Parts(), func(m Message) bool { return !m.KID.IsZero() })
}

// whole adds an object that is one segment.
func (w *walker) whole(ctx context.Context, t *Track, object string, m Message) error {
	if own, ok := w.owners[object]; ok {
		s, listed := w.segmentOf(own)
		switch {
		case !listed || w.tracks[own.track].Format == CENC && !m.KID.IsZero():
			w.refuse(object, "one manifest lists it as HLS encrypts whole segments, another as fMP4 of a track")
		case m.KID.IsZero() && !s.protected():
		case s.Messages != nil:
			w.refuse(object, "one playlist lists it whole, another by byte ranges")
		case s.KID != m.KID || s.IV != m.IV:
			w.refuse(object, "two playlists list it with different keys or IVs")
		}
		return nil
	}
	o, err := w.list.stat(ctx, object)
	if err != nil {
		return w.refuseOr(object, err)
	}
	if t.Format == AES128 && !m.KID.IsZero() {
		w.checkLength(object, 0, o.Size)
	}
	w.add(t, Segment{Object: o, KID: m.KID, IV: m.IV, UnknownIV: m.UnknownIV})
	return nil
}

// checkLength refuses what no CBC ciphertext with PKCS #7 padding can be.
func (w *walker) checkLength(object string, at, length int64) {
	if length == 0 || length%blockSize != 0 {
		w.refuse(object, fmt.Sprintf("offset %d: %d bytes, want a multiple of 16 and at least 16 (RFC 8216 §5.2): truncated or not AES-128", at, length))
	}
}

// sub adds a segment that is a sub-range of an object.
func (w *walker) sub(ctx context.Context, t *Track, object string, m Message) error {
	own, ok := w.owners[object]
	if !ok {
		o, err := w.list.stat(ctx, object)
		if err != nil {
			return w.refuseOr(object, err)
		}
		w.add(t, Segment{Object: o, Messages: []Message{}})
		own = w.owners[object]
	}
	s, listed := w.segmentOf(own)
	switch {
	case !listed || w.tracks[own.track].Format == CENC && !m.KID.IsZero():
		w.refuse(object, "one manifest lists it as HLS encrypts whole segments, another as fMP4 of a track")
		return nil
	case s.Messages == nil && (m.KID.IsZero() && !s.protected()):
		return nil
	case s.Messages == nil:
		w.refuse(object, "one playlist lists it whole, another by byte ranges")
		return nil
	case m.Length <= 0 || m.Offset > s.Size || m.Length > s.Size-m.Offset:
		w.refuse(object, fmt.Sprintf("byte range %d@%d goes past its end at %d", m.Length, m.Offset, s.Size))
		return nil
	}
	if t.Format == AES128 && !m.KID.IsZero() {
		w.checkLength(object, m.Offset, m.Length)
	}
	s.Messages = append(s.Messages, m)
	return nil
}

// segmentOf is the segment that an object is; listed is false for an init section
// and a single file.
func (w *walker) segmentOf(o owner) (s *Segment, listed bool) {
	t := w.tracks[o.track]
	if t.Single || o.segment < 0 || o.segment >= len(t.Segments) {
		return nil, false
	}
	return &t.Segments[o.segment], true
}

// view is a sub-range of an I-frame playlist over encrypted segments. It is of the
// blocks of a resource that is encrypted as a whole: a player widens it to whole
// blocks and takes the block before as IV (RFC 8216 §6.3.6). Under SAMPLE-AES it
// is any run of packets.
type view struct {
	Message
	playlist string
	line     int
	track    *Track
	object   string
}

// settleRanges settles what lists of sub-ranges say once all are read.
func (w *walker) settleRanges() {
	for _, t := range w.tracks {
		for i := range t.Segments {
			if t.Segments[i].Messages != nil {
				w.messages(&t.Segments[i])
			}
		}
		t.ownKIDs()
	}
	for _, v := range w.views {
		w.view(v)
	}
}

// ownKIDs adds to a track the keys of all its objects: another playlist may have
// listed ranges of them under keys that the track's own does not name.
func (t *Track) ownKIDs() {
	if !t.Format.InPlaylist() {
		return
	}
	seen := map[key.KID]bool{}
	for _, kid := range t.KIDs {
		seen[kid] = true
	}
	for _, s := range t.Segments {
		for _, m := range s.Parts() {
			if !m.KID.IsZero() && !seen[m.KID] {
				seen[m.KID] = true
				t.KIDs = append(t.KIDs, m.KID)
			}
		}
	}
}

// view checks that the object behind it is listed with its key: it has no
// ciphertext of its own to rekey.
func (w *walker) view(v view) {
	own, ok := w.owners[v.object]
	var s *Segment
	if ok {
		s, ok = w.segmentOf(own)
	}
	if !ok {
		w.refuse(v.playlist, fmt.Sprintf("line %d: I-frame range of %s, which no playlist lists as a segment", v.line, v.object))
		return
	}
	if v.Offset > s.Size || v.Length > s.Size-v.Offset {
		w.refuse(v.object, fmt.Sprintf("I-frame range %d@%d goes past its end at %d", v.Length, v.Offset, s.Size))
		return
	}
	parts := s.Parts()
	i, found := slices.BinarySearchFunc(parts, v.Offset, func(m Message, at int64) int { return cmp.Compare(m.Offset, at) })
	if !found {
		i--
	}
	if i >= 0 && parts[i].KID == v.KID && v.Offset+v.Length <= parts[i].Offset+parts[i].Length {
		return
	}
	w.refuse(v.playlist, fmt.Sprintf("line %d: I-frame range of %s is under another key than the segment around it", v.line, v.object))
}

// messages sorts the sub-ranges of an object and refuses those that overlap, or
// that leave bytes between them: what no playlist lists has no known key, and
// would stay under the old one.
func (w *walker) messages(s *Segment) {
	slices.SortFunc(s.Messages, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length), slices.Compare(a.KID[:], b.KID[:]))
	})
	s.Messages = slices.Compact(s.Messages)
	if !s.protected() {
		s.Messages = nil
		return
	}
	var end int64
	for _, m := range s.Messages {
		switch {
		case m.Offset < end:
			w.refuse(s.Key, fmt.Sprintf("byte ranges overlap at offset %d, with different bounds, keys or IVs", m.Offset))
		case m.Offset > end:
			w.refuse(s.Key, fmt.Sprintf("bytes %d to %d are in no playlist's byte ranges: their key is unknown", end, m.Offset-1))
		}
		end = max(end, m.Offset+m.Length)
	}
	if end < s.Size {
		w.refuse(s.Key, fmt.Sprintf("bytes %d to %d are in no playlist's byte ranges: their key is unknown", end, s.Size-1))
	}
}
