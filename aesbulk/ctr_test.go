package aesbulk

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func testBlock(t testing.TB) cipher.Block {
	t.Helper()
	b, err := aes.NewCipher([]byte("sixteen byte key"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func testIV(high, low uint64) (iv [16]byte) {
	binary.BigEndian.PutUint64(iv[:8], high)
	binary.BigEndian.PutUint64(iv[8:], low)
	return iv
}

// slowCTR is ISO/IEC 23001-7 §9.3 word for word.
func slowCTR(b cipher.Block, iv [16]byte, src []byte) []byte {
	out := make([]byte, len(src))
	var ks [16]byte
	low := binary.BigEndian.Uint64(iv[8:])
	for i := range src {
		if i%16 == 0 {
			b.Encrypt(ks[:], iv[:])
			low++
			binary.BigEndian.PutUint64(iv[8:], low)
		}
		out[i] = src[i] ^ ks[i%16]
	}
	return out
}

// slowCarryCTR is the counter mode of NIST SP 800-38A with the standard
// incrementing function (appendix B.1) over the whole block.
func slowCarryCTR(b cipher.Block, iv [16]byte, src []byte) []byte {
	out := make([]byte, len(src))
	var ks [16]byte
	for i := range src {
		if i%16 == 0 {
			b.Encrypt(ks[:], iv[:])
			for k := 15; k >= 0; k-- {
				if iv[k]++; iv[k] != 0 {
					break
				}
			}
		}
		out[i] = src[i] ^ ks[i%16]
	}
	return out
}

// counting is one of the two ways to count, fast and slow.
type counting struct {
	name  string
	start func(*CTR, [16]byte, int)
	slow  func(cipher.Block, [16]byte, []byte) []byte
}

var countings = []counting{
	{"wrap", (*CTR).Start, slowCTR},
	{"carry", (*CTR).StartCarry, slowCarryCTR},
}

// ways are the CTRs that must not differ.
func ways(b cipher.Block) map[string]*CTR {
	return map[string]*CTR{"reset": NewCTR(b), "fresh": newFreshCTR(b)}
}

func TestCTR(t *testing.T) {
	b := testBlock(t)
	for way, c := range ways(b) {
		for _, by := range countings {
			for _, high := range []uint64{0, 0x0123456789abcdef, math.MaxUint64} {
				for _, low := range []uint64{0, 1, 1 << 32, 1 << 63, math.MaxUint64, math.MaxUint64 - 1, math.MaxUint64 - 7, math.MaxUint64 - 20} {
					t.Run(fmt.Sprintf("%s/%s/%x/%x", way, by.name, high, low), func(t *testing.T) {
						testCTR(t, b, c, by, testIV(high, low))
					})
				}
			}
		}
	}
}

func testCTR(t *testing.T, b cipher.Block, c *CTR, by counting, iv [16]byte) {
	for _, n := range []int{0, 1, 15, 16, 17, 127, 128, 129, 400, 1000} {
		src := random(n)
		want := by.slow(b, iv, src)
		for _, cut := range []int{1, 3, 15, 16, 31, 128, 1000} {
			inPlace := bytes.Clone(src)
			for _, tc := range []struct{ dst, src []byte }{{inPlace, inPlace}, {make([]byte, n), src}} {
				by.start(c, iv, n)
				for i := 0; i < n; i += cut {
					end := min(i+cut, n)
					c.XOR(tc.dst[i:end], tc.src[i:end])
				}
				if !bytes.Equal(tc.dst, want) {
					t.Errorf("n=%d cut=%d: got %x\nwant %x", n, cut, tc.dst, want)
				}
			}
		}
	}
}

// A stream left anywhere must not show in the next one.
func TestCTRAbandoned(t *testing.T) {
	b, src := testBlock(t), random(300)
	for way, c := range ways(b) {
		for _, by := range countings {
			for n := range 60 {
				by.start(c, testIV(uint64(n), math.MaxUint64-1), n)
				c.XOR(make([]byte, n), src[:n])
				iv, got := testIV(7, uint64(n)), make([]byte, len(src))
				by.start(c, iv, len(src))
				c.XOR(got, src)
				if want := by.slow(b, iv, src); !bytes.Equal(got, want) {
					t.Errorf("%s, %s: stream after one of %d bytes is wrong", way, by.name, n)
				}
			}
		}
	}
}

func TestCTRMisuse(t *testing.T) {
	for way, c := range ways(testBlock(t)) {
		for name, misuse := range map[string]func(){
			"not started":      func() { new(CTR).XOR(make([]byte, 1), make([]byte, 1)) },
			"more than length": func() { c.Start([16]byte{}, 20); c.XOR(make([]byte, 21), make([]byte, 21)) },
			"more, in cuts": func() {
				c.Start([16]byte{}, 1)
				c.XOR(make([]byte, 1), make([]byte, 1))
				c.XOR(make([]byte, 1), make([]byte, 1))
			},
			"no room":         func() { c.Start([16]byte{}, 9); c.XOR(make([]byte, 8, 9), make([]byte, 9)) },
			"no room at wrap": func() { c.Start(testIV(0, math.MaxUint64), 99); c.XOR(make([]byte, 20, 99), make([]byte, 99)) },
		} {
			t.Run(way+"/"+name, func(t *testing.T) {
				defer func() {
					if recover() == nil {
						t.Error("want a panic")
					}
				}()
				misuse()
			})
		}
	}
}

func TestCTRAllocations(t *testing.T) {
	b, buf := testBlock(t), make([]byte, 1<<14)
	for way, c := range ways(b) {
		most := map[string]float64{"reset": 0, "fresh": 1}[way]
		for _, by := range countings {
			for _, n := range []int{0, 1, 16, 100, 350, 4096, len(buf)} {
				got := testing.AllocsPerRun(100, func() {
					by.start(c, testIV(1, 2), n)
					c.XOR(buf[:n/2], buf[:n/2])
					c.XOR(buf[n/2:n], buf[n/2:n])
				})
				if got > most {
					t.Errorf("%s, %s, %d bytes: %v allocations a stream, want at most %v", way, by.name, n, got, most)
				}
			}
		}
	}
	c := NewCTR(b)
	got := testing.AllocsPerRun(100, func() {
		c.Start(testIV(1, math.MaxUint64-3), len(buf))
		c.XOR(buf, buf)
	})
	if got > 0 {
		t.Errorf("a stream that wraps allocates %v times, want 0", got)
	}
}

// cutUp calls do with every piece of 0 to n; the pieces are as long as the bytes
// of cuts say, in multiples of unit, and again from the first.
func cutUp(n, unit int, cuts []byte, do func(from, to int)) {
	for at, i := 0, 0; at < n; i++ {
		to := n
		if len(cuts) > 0 {
			to = min(n, at+unit*int(cuts[i%len(cuts)]))
		}
		if to == at {
			to = min(n, at+unit)
		}
		do(at, to)
		at = to
	}
}

func FuzzCTR(f *testing.F) {
	f.Add([]byte("sixteen byte key"), uint64(0), uint64(0), []byte("some clear bytes"), []byte{1, 5})
	f.Add([]byte("sixteen byte key"), uint64(1)<<63, uint64(math.MaxUint64), random(100), []byte{17})
	f.Add([]byte("a key of thirty-two bytes' length"[:32]), uint64(math.MaxUint64), uint64(math.MaxUint64-8), random(400), []byte{200, 3, 0})
	f.Fuzz(func(t *testing.T, key []byte, high, low uint64, src, cuts []byte) {
		b, err := aes.NewCipher(append(key, make([]byte, 32)...)[:16+16*(len(key)/32%2)])
		if err != nil {
			t.Fatal(err)
		}
		iv := testIV(high, low)
		for way, c := range ways(b) {
			for _, by := range countings {
				got := make([]byte, len(src))
				by.start(c, iv, len(src))
				cutUp(len(src), 1, cuts, func(from, to int) { c.XOR(got[from:to], src[from:to]) })
				if want := by.slow(b, iv, src); !bytes.Equal(got, want) {
					t.Errorf("%s, %s: got %x\nwant %x", way, by.name, got, want)
				}
			}
		}
	})
}

func BenchmarkCTR(b *testing.B) {
	for _, way := range []string{"reset", "fresh"} {
		c := ways(testBlock(b))[way]
		for _, n := range []int{16, 128, 350, 4096, 20000, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", way, n), func(b *testing.B) {
				buf := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					c.Start([16]byte{}, n)
					c.XOR(buf, buf)
				}
			})
		}
	}
	block := testBlock(b)
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewCTR(block)
		}
	})
}
