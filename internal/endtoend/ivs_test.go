package endtoend

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
)

// boxes yields the boxes of b that have the given type (ISO/IEC 14496-12 §4.2;
// 32-bit sizes, which is all that the fixtures have).
func boxes(t *testing.T, b []byte, typ string) [][]byte {
	t.Helper()
	var out [][]byte
	for len(b) > 0 {
		if len(b) < 8 || int(binary.BigEndian.Uint32(b)) < 8 || int(binary.BigEndian.Uint32(b)) > len(b) {
			t.Fatalf("bad box before %d bytes", len(b))
		}
		n := binary.BigEndian.Uint32(b)
		if string(b[4:8]) == typ {
			out = append(out, b[8:n])
		}
		b = b[n:]
	}
	return out
}

// tencOf finds IV size and KID in an init section (ISO/IEC 23001-7 §8.2).
func tencOf(t *testing.T, init []byte) (ivSize int, kid string) {
	t.Helper()
	i := bytes.Index(init, []byte("tenc"))
	if i < 0 || len(init) < i+28 {
		t.Fatal("no tenc")
	}
	body := init[i+4:]
	return int(body[7]), hex.EncodeToString(body[8:24])
}

// ivsOf reads the IVs in every senc of a segment (ISO/IEC 23001-7 §7.2).
func ivsOf(t *testing.T, segment []byte, size int) [][]byte {
	t.Helper()
	var ivs [][]byte
	for _, moof := range boxes(t, segment, "moof") {
		for _, traf := range boxes(t, moof, "traf") {
			for _, senc := range boxes(t, traf, "senc") {
				flags, count := binary.BigEndian.Uint32(senc)&0xffffff, binary.BigEndian.Uint32(senc[4:])
				at := 8
				for range count {
					ivs = append(ivs, senc[at:at+size])
					at += size
					if flags&2 != 0 {
						at += 2 + 6*int(binary.BigEndian.Uint16(senc[at:]))
					}
				}
				if at != len(senc) {
					t.Fatalf("senc has %d bytes, its samples take %d", len(senc), at)
				}
			}
		}
	}
	return ivs
}

// keystreams gathers the IVs of an asset's CENC tracks by KID, and fails where
// one is there twice. The counter of new media begins at zero in the low half
// (§9.3), so that IVs which differ in the high half never share a block.
func (l *lab) keystreams(t *testing.T, ctx context.Context, entry string, seen map[string]string) int {
	t.Helper()
	a, err := catalog.Walk(ctx, l.media, entry, []string{entry}, catalog.Options{})
	if err != nil || len(a.Refusals) > 0 {
		t.Fatalf("walk %s: %v %v", entry, err, a.Refusals)
	}
	n := 0
	for _, track := range a.Tracks {
		size, kid := tencOf(t, l.get(t, ctx, track.Init.Key))
		for _, s := range track.Segments {
			for _, iv := range ivsOf(t, l.get(t, ctx, s.Key), size) {
				if catalog.InTree(s.Key) && !bytes.Equal(iv[8:], make([]byte, size-8)) {
					t.Errorf("%s: IV %x does not begin its counter at zero", s.Key, iv)
				}
				at := kid + " " + hex.EncodeToString(iv[:8])
				if was, ok := seen[at]; ok {
					t.Errorf("%s repeats the IV %x of %s under KID %s", s.Key, iv, was, kid)
				}
				seen[at] = s.Key
				n++
			}
		}
	}
	return n
}

func TestInvariant3IVsNeverRepeat(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	// Parts of two objects: numbers must hold across parts too.
	e.PartObjects = 2
	l.work(t, ctx, e)
	p := plan(t, ctx, e, kid(t, movieVideo), kid(t, sharedAudio), kid(t, shortVideo))
	drive(t, ctx, e, p.Rotation, journal.Done)
	seen := map[string]string{}
	// 100 frames hi, 100 lo and about 188 frames of audio in movie; half of
	// that, one rendition, in short.
	if n := l.keystreams(t, ctx, "movie/stream.mpd", seen); n < 380 {
		t.Errorf("movie has %d IVs", n)
	}
	if n := l.keystreams(t, ctx, "short/stream.mpd", seen); n < 140 {
		t.Errorf("short has %d IVs", n)
	}
}
