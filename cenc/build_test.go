package cenc

import (
	"crypto/aes"
	"encoding/binary"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// This file builds small files in layouts that the fixtures do not have. It
// encrypts block by block as ISO/IEC 23001-7 §9 is worded, apart from the code
// under test.

type madeTrack struct {
	id     uint32
	kid    key.KID
	key    key.ContentKey
	ivSize int
	clear  bool // an mp4a entry instead of enca
}

type madeSample struct {
	clear []byte
	iv    []byte   // nil: no auxiliary information, left in the clear
	subs  [][2]int // clear, protected; nil: all protected
}

type madeTraf struct {
	track madeTrack
	runs  [][]madeSample
	// where the auxiliary information goes
	senc, piff, saiz, auxInMdat bool
	otherIV                     bool // senc holds IVs that are not the right ones
	extra                       []byte
}

func be(n int, v uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return b[8-n:]
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func boxed(typ string, parts ...[]byte) []byte {
	body := join(parts...)
	return join(be(4, uint64(8+len(body))), []byte(typ), body)
}

func fullBox(typ string, version, flags uint64, parts ...[]byte) []byte {
	return boxed(typ, append([][]byte{be(4, version<<24|flags)}, parts...)...)
}

func makeInit(tracks ...madeTrack) []byte {
	moov := [][]byte{}
	mvex := [][]byte{}
	for _, t := range tracks {
		entry := boxed("mp4a", make([]byte, audioFields))
		if !t.clear {
			tenc := fullBox("tenc", 0, 0, be(3, 1), be(1, uint64(t.ivSize)), t.kid[:])
			// free keeps the size byte before enca from spelling tenc
			entry = boxed("enca", make([]byte, audioFields), boxed("free"), boxed("sinf",
				boxed("frma", []byte("mp4a")), fullBox("schm", 0, 0, []byte("cenc"), be(4, 0x10000)), boxed("schi", tenc)))
		}
		moov = append(moov, boxed("trak",
			fullBox("tkhd", 0, 0, make([]byte, 8), be(4, uint64(t.id)), make([]byte, 60)),
			boxed("mdia", fullBox("hdlr", 0, 0, make([]byte, 4), []byte("soun"), make([]byte, 13)),
				boxed("minf", boxed("stbl", fullBox("stsd", 0, 0, be(4, 1), entry))))))
		mvex = append(mvex, fullBox("trex", 0, 0, be(4, uint64(t.id)), be(4, 1), make([]byte, 12)))
	}
	return boxed("moov", append(moov, boxed("mvex", mvex...))...)
}

// encryptSlowly is ISO/IEC 23001-7 §9.3 and §9.5 word for word.
func encryptSlowly(k key.ContentKey, s madeSample) []byte {
	out := append([]byte(nil), s.clear...)
	if s.iv == nil {
		return out
	}
	var counter, stream [16]byte
	copy(counter[:], s.iv)
	subs := s.subs
	if subs == nil {
		subs = [][2]int{{0, len(out)}}
	}
	n, at := 0, 0
	for _, sub := range subs {
		at += sub[0]
		for range sub[1] {
			if n%aes.BlockSize == 0 {
				k.Block().Encrypt(stream[:], counter[:])
				low := binary.BigEndian.Uint64(counter[8:]) + 1
				binary.BigEndian.PutUint64(counter[8:], low)
			}
			out[at] ^= stream[n%aes.BlockSize]
			n++
			at++
		}
	}
	return out
}

func auxOf(s madeSample, withSubs bool) []byte {
	out := append([]byte(nil), s.iv...)
	if withSubs {
		out = append(out, be(2, uint64(len(s.subs)))...)
		for _, sub := range s.subs {
			out = join(out, be(2, uint64(sub[0])), be(4, uint64(sub[1])))
		}
	}
	return out
}

// makeSegment is one moof and its mdat. It is built twice: offsets need sizes.
func makeSegment(trafs ...madeTraf) []byte {
	size := 0
	var moof, mdat []byte
	for range 2 {
		moof, mdat = makeMoof(size, trafs)
		size = len(moof)
	}
	return join(boxed("styp", []byte("msdh"), be(4, 0)), moof, boxed("mdat", mdat))
}

func makeMoof(size int, trafs []madeTraf) (moof, mdat []byte) {
	at := 8 + len(fullBox("mfhd", 0, 0, be(4, 1))) // of the next traf in moof
	parts := [][]byte{fullBox("mfhd", 0, 0, be(4, 1))}
	for _, t := range trafs {
		traf := fullBox("tfhd", 0, tfhdBaseIsMoof, be(4, uint64(t.track.id)))
		var aux, auxSizes, wrong []byte
		count, withSubs := 0, false
		for _, run := range t.runs {
			for _, s := range run {
				withSubs = withSubs || s.subs != nil
			}
		}
		for _, run := range t.runs {
			trun := join(be(4, uint64(len(run))), be(4, uint64(size+8+len(mdat))))
			for _, s := range run {
				trun = append(trun, be(4, uint64(len(s.clear)))...)
				mdat = append(mdat, encryptSlowly(t.track.key, s)...)
				count++
				one := []byte(nil)
				if s.iv != nil {
					one = auxOf(s, withSubs)
				}
				aux, auxSizes = append(aux, one...), append(auxSizes, byte(len(one)))
				if one != nil {
					bad := append([]byte(nil), one...)
					bad[0] ^= 0xff
					wrong = append(wrong, bad...)
				}
			}
			traf = append(traf, fullBox("trun", 0, trunOffset|trunSize, trun)...)
		}
		flags := uint64(0)
		if withSubs {
			flags = 2
		}
		traf = append(traf, t.extra...)
		auxAt := size + 8 + len(mdat)
		if t.auxInMdat {
			mdat = append(mdat, aux...)
		}
		if t.senc {
			if !t.auxInMdat {
				auxAt = at + 8 + len(traf) + 16
			}
			stored := aux
			if t.otherIV {
				stored = wrong
			}
			traf = append(traf, fullBox("senc", 0, flags, be(4, uint64(count)), stored)...)
		}
		if t.piff {
			traf = append(traf, boxed("uuid", []byte(piffSenc), be(4, flags), be(4, uint64(count)), aux)...)
		}
		if t.saiz {
			traf = append(traf, fullBox("saiz", 0, 0, be(1, 0), be(4, uint64(count)), auxSizes)...)
			traf = append(traf, fullBox("saio", 0, 0, be(4, 1), be(4, uint64(auxAt)))...)
		}
		b := boxed("traf", traf)
		parts = append(parts, b)
		at += len(b)
	}
	return boxed("moof", parts...), mdat
}

func newMadeTrack(id uint32, ivSize int) madeTrack {
	return madeTrack{id: id, kid: key.NewKID(), key: key.NewContentKey(), ivSize: ivSize}
}

// madeRun is n samples of some bytes each, with IVs that count from start.
func madeRun(n, size, ivSize int, start uint64, subs [][2]int) (out []madeSample) {
	for i := range n {
		s := madeSample{clear: make([]byte, size), subs: subs}
		for j := range s.clear {
			s.clear[j] = byte(i*7 + j*13 + 1)
		}
		s.iv = join(be(8, start+uint64(i)), make([]byte, ivSize-8))
		out = append(out, s)
	}
	return out
}

func mustInit(t testing.TB, b []byte) *Init {
	t.Helper()
	in, err := ParseInit("init.mp4", b)
	if err != nil {
		t.Fatal(err)
	}
	return in
}
