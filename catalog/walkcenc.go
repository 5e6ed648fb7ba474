package catalog

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// maxSegment is the largest segment that is read for the keys it names itself;
// a worker takes no larger one.
const maxSegment = 512 << 20

// singleFile adds a track that lies in one object with its init section.
func (w *walker) singleFile(ctx context.Context, manifest, ref string, named []key.KID) error {
	k, err := w.resolve(manifest, ref)
	if err != nil {
		return w.opaqueOr(manifest, err)
	}
	t, err := w.fileTrack(ctx, k)
	if err == nil && t != nil {
		w.checkDefaults(manifest, t, named)
	}
	return err
}

func (w *walker) hlsSingleFile(ctx context.Context, playlist string, s hls.MediaSegment, k string) error {
	t, err := w.fileTrack(ctx, k)
	if err == nil && t != nil {
		w.keepTags(playlist, s, t)
	}
	return err
}

// fileTrack returns the track in a single file; nil where it is refused.
func (w *walker) fileTrack(ctx context.Context, k string) (*Track, error) {
	if t, ok := w.tracks[k]; ok {
		if !t.Single {
			w.refuse(k, "one manifest takes it for an init section, another for a whole file")
		}
		return t, nil
	}
	o, err := w.list.stat(ctx, k)
	if err != nil {
		return nil, w.opaqueOr(k, err)
	}
	f, err := cenc.OpenFile(k, rangeReader(ctx, w.list.r, o), o.Size)
	if err != nil {
		return nil, w.opaqueOr(k, err)
	}
	t := &Track{ID: k, Format: Clear, Single: true, Segments: []Segment{{Object: o}}}
	for _, tr := range f.Init().Tracks() {
		if tr.Encrypted {
			t.Format, t.Scheme = CENC, tr.Scheme
		}
	}
	if was, ok := w.owners[k]; ok && was.track != k {
		w.refuse(k, "one manifest takes it for a segment, another for a whole file")
	}
	w.tracks[k], w.owners[k] = t, owner{track: k}
	if t.Format == Clear {
		return t, nil
	}
	if err := f.Supported(); err != nil {
		w.refuse(k, err.Error())
	}
	if t.KIDs, t.PSSHKIDs, err = f.KIDs(); err != nil {
		return t, w.opaqueOr(k, err)
	}
	w.dropZeroKID(t)
	return t, nil
}

// rangeReader reads an object by ranges, some KiB at a time: the boxes of a file
// lie apart, and their heads are small.
func rangeReader(ctx context.Context, r Reader, o Object) io.ReaderAt {
	const ahead = 64 << 10
	var held []byte
	var from int64
	return readerAt(func(b []byte, at int64) (int, error) {
		if at < from || at+int64(len(b)) > from+int64(len(held)) {
			n := min(max(int64(len(b)), ahead), o.Size-at)
			if n < int64(len(b)) {
				return 0, io.ErrUnexpectedEOF
			}
			_, body, err := r.Get(ctx, o.Key, store.GetOptions{IfMatch: o.ETag, Offset: at, Length: n})
			if err != nil {
				return 0, err
			}
			defer body.Close()
			held, from = make([]byte, n), at
			if _, err := io.ReadFull(body, held); err != nil {
				held = nil
				return 0, err
			}
		}
		return copy(b, held[at-from:]), nil
	})
}

type readerAt func(b []byte, at int64) (int, error)

func (f readerAt) ReadAt(b []byte, at int64) (int, error) { return f(b, at) }

// dropZeroKID takes a default of zero from the list if other KIDs are named: it
// says nothing of the key (ISO/IEC 23001-7 §8.2). If none are, nobody can tell.
func (w *walker) dropZeroKID(t *Track) {
	t.KIDs = slices.DeleteFunc(t.KIDs, key.KID.IsZero)
	if t.Format == CENC && len(t.KIDs) == 0 {
		w.asset.Opaque = true
		w.refuse(t.ID, "default_KID is zero, and no sample group names a key")
	}
}

// fragmentKeys finds the keys that only fragments name, in sample groups and in
// PSSH boxes. Where neither moov nor the first and last segments of a track know
// of any, the segments between are not read.
func (w *walker) fragmentKeys(ctx context.Context) error {
	for id, in := range w.inits {
		t := w.tracks[id]
		if t.Format != CENC {
			continue
		}
		deep := in.KeysInFragments()
		if !deep && len(t.Segments) > 0 {
			for _, s := range []Segment{t.Segments[0], t.Segments[len(t.Segments)-1]} {
				n := len(t.KIDs) + len(t.PSSHKIDs)
				if err := w.segmentKeys(ctx, in, t, s, false); err != nil {
					return err
				}
				deep = deep || len(t.KIDs)+len(t.PSSHKIDs) > n
			}
		}
		for i := 0; deep && i < len(t.Segments); i++ {
			if err := w.segmentKeys(ctx, in, t, t.Segments[i], true); err != nil {
				return err
			}
		}
		w.dropZeroKID(t)
	}
	return nil
}

// segmentKeys adds the KIDs that a segment names itself; of a segment that is not
// read whole, those of its first moof.
func (w *walker) segmentKeys(ctx context.Context, in *cenc.Init, t *Track, s Segment, whole bool) error {
	const head = 64 << 10
	n := s.Size
	if !whole {
		n = min(n, head)
	}
	if n > maxSegment {
		w.refuse(s.Key, fmt.Sprintf("it has %d bytes, and its keys are named inside it", n))
		return nil
	}
	b := make([]byte, n)
	if n > 0 {
		if _, err := rangeReader(ctx, w.list.r, s.Object).ReadAt(b, 0); err != nil {
			return w.refuseOr(s.Key, err)
		}
	}
	kids, boxes, moofs, err := cenc.SegmentKIDs(in, s.Key, b)
	if err != nil {
		return w.refuseOr(s.Key, err)
	}
	if moofs == 0 && n < s.Size {
		return w.segmentKeys(ctx, in, t, s, true) // its first moof is longer
	}
	for _, kid := range kids {
		if !t.Uses(kid) {
			t.KIDs = append(t.KIDs, kid)
		}
	}
	for _, kid := range boxes {
		if !slices.Contains(t.PSSHKIDs, kid) {
			t.PSSHKIDs = append(t.PSSHKIDs, kid)
		}
	}
	return nil
}

// checkDefaults compares what an MPD says with the media: default_KID is the
// tenc's (ISO/IEC 23009-1 §5.8.4.1, DASH-IF IOP part 6). Two answers to "which
// key?" are none. A default of zero is no answer.
func (w *walker) checkDefaults(mpd string, t *Track, named []key.KID) {
	for _, kid := range named {
		if len(t.KIDs) > 0 && !t.Uses(kid) && !t.Uses(key.KID{}) && !kid.IsZero() {
			w.refuse(mpd, fmt.Sprintf("default_KID %s is not a KID of %s", kid, t.ID))
		}
	}
}
