package sampleaes

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls/audio"
	"github.com/seed-6133abe0/rekey/key"
)

func TestCRC16(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		b := random(r, r.IntN(50))
		var want uint16
		for _, c := range b {
			want ^= uint16(c) << 8
			for range 8 {
				carry := want & 0x8000
				want <<= 1
				if carry != 0 {
					want ^= 0x8005
				}
			}
		}
		if got := crc16(b); got != want {
			t.Fatalf("%x: %04x, want %04x", b, got, want)
		}
	}
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestKeysOfRealMedia: AC-3 and E-AC-3 are proven by a second of them; nothing ever
// speaks against the right key, nor for wrong ones.
func TestKeysOfRealMedia(t *testing.T) {
	change, iv := testKeys()
	tries := 100
	for name, src := range media(t) {
		res, err := NewDecrypter(change.Old).Segment(name, 0, iv, src)
		if err != nil || res.Evidence.Against > 0 || res.Stored.Verdict() == evidence.Right {
			t.Errorf("%s: %+v, stored %+v, %v", name, res.Evidence, res.Stored, err)
		}
		sums := bytes.Contains([]byte(name), []byte("c3"))
		if sums && res.Evidence.Verdict() != evidence.Right {
			t.Errorf("%s: right key is %s", name, res.Evidence.Verdict())
		}
		t.Logf("%s: %+v", name, res.Evidence)
		for range tries {
			wrong, err := NewDecrypter(key.NewContentKey()).Segment(name, 0, iv, src)
			v := wrong.Evidence.Verdict()
			if err != nil || v == evidence.Right || sums && v != evidence.Wrong {
				t.Fatalf("%s: wrong key is %s, %+v, %v", name, v, wrong.Evidence, err)
			}
		}
	}
}

// TestBetsAreFair: random bytes win a bet of 10^n with a chance of 10^-n at most,
// in blocks of all amounts.
func TestBetsAreFair(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	const runs = 1500
	for _, blocks := range []int{1, 4, 30, 300} {
		var over [3]int
		for range runs {
			var s skew
			for range blocks {
				b := random(r, 17)
				s.add(b[0], b[1:])
			}
			for i, limit := range []float64{0.5, 1, 2} {
				if s.won() > limit {
					over[i]++
				}
			}
		}
		for i, limit := range []float64{0.5, 1, 2} {
			if most := runs * math.Pow(10, -limit); float64(over[i]) > most+3*math.Sqrt(most)+1 {
				t.Errorf("%d blocks: %d of %d bets win 10^%v", blocks, over[i], runs, limit)
			}
		}
	}
}

// TestPooledClaims: what wrong keys make of segments, added up over a track, never
// comes to right.
func TestPooledClaims(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 20 {
		var sum evidence.Evidence
		for range 200 {
			var y tally
			fresh := make([]bool, 6)
			for i := range fresh {
				fresh[i] = true
			}
			for range 12 {
				y.frame(audio.AAC, random(r, 112), span{16, 112}, fresh)
				nal := random(r, 32+160*5+17)
				y.nal(nal, fresh)
				y.escapes(nal, fresh)
			}
			sum.Add(y.weigh())
		}
		if sum.ForLog10 < -0.001 || sum.Verdict() == evidence.Right {
			t.Errorf("random bytes come to %+v", sum)
		}
	}
}

// TestLikeFramesCountOnce: silence is one frame again and again, and under a wrong
// key wrong in one way.
func TestLikeFramesCountOnce(t *testing.T) {
	iv := key.IV{}
	frame := append([]byte{0xff, 0xf1, 0x50, 0x80, 0x0e, 0x1f, 0xfc}, bytes.Repeat([]byte{0x21}, 105)...)
	src := bytes.Repeat(frame, 500)
	for n := range 50 {
		res, err := NewDecrypter(numberedKey(n)).Segment("s", 0, iv, src)
		if err != nil || res.Evidence.ForLog10 != 0 || res.Evidence.Against != 0 || res.Frames != 500 {
			t.Fatalf("%+v, %v", res.Evidence, err)
		}
	}
}

// TestWeigh: what checks come to.
func TestWeigh(t *testing.T) {
	for name, tt := range map[string]struct {
		tally tally
		want  evidence.Verdict
	}{
		"nothing":                        {tally{}, evidence.Undecided},
		"ends":                           {tally{ends: 40, goodEnds: 40}, evidence.Right},
		"ends, nearly all":               {tally{ends: 80, goodEnds: 77}, evidence.Right},
		"ends as chance has them":        {tally{ends: 40, goodEnds: 10}, evidence.Wrong},
		"ends that no encoder writes":    {tally{ends: 40}, evidence.Undecided},
		"sums":                           {tally{sums: 6, goodSums: 6, written: 6}, evidence.Right},
		"one sum right by chance":        {tally{sums: 29, goodSums: 1, written: 29}, evidence.Wrong},
		"no sum right":                   {tally{sums: 6, written: 6}, evidence.Wrong},
		"sums that were never written":   {tally{sums: 60, unwritten: 30}, evidence.Undecided},
		"one code in a megabyte":         {tally{windows: 1 << 20, codes: 1}, evidence.Wrong},
		"a stream without prevention":    {tally{windows: 1 << 20, codes: 500}, evidence.Undecided},
		"40 MB without a code":           {tally{windows: 200 << 20}, evidence.Right},
		"sums outweigh broken NAL units": {tally{sums: 60, goodSums: 60, written: 60, windows: 1 << 20, codes: 1}, evidence.Right},
	} {
		if e := tt.tally.weigh(); e.Verdict() != tt.want {
			t.Errorf("%s: %s, %+v", name, e.Verdict(), e)
		}
	}
}

// TestSkewedBits: what is hardly compressible is told from noise.
func TestSkewedBits(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	var s skew
	for range 4000 {
		b := make([]byte, 16)
		for i := range b {
			for range 8 {
				b[i] <<= 1
				if r.Float64() < 0.52 {
					b[i] |= 1
				}
			}
		}
		s.add(byte(binary.BigEndian.Uint16(b)), b)
	}
	if won := s.won(); won < 50 {
		t.Errorf("won 10^%.1f", won)
	}
}
