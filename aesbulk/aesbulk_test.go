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

func TestCTR(t *testing.T) {
	b := testBlock(t)
	c := NewCTR(b)
	for _, low := range []uint64{0, 1, 1 << 32, math.MaxUint64, math.MaxUint64 - 1, math.MaxUint64 - 20, 1 << 63} {
		for _, n := range []int{0, 1, 15, 16, 17, 127, 128, 129, 400, 1000} {
			for _, cut := range []int{1, 3, 16, 31, 1000} {
				t.Run(fmt.Sprintf("low=%x/n=%d/cut=%d", low, n, cut), func(t *testing.T) {
					iv := [16]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
					binary.BigEndian.PutUint64(iv[8:], low)
					src := random(n)
					got := bytes.Clone(src)
					c.Start(iv, n)
					for i := 0; i < n; i += cut {
						part := got[i:min(i+cut, n)]
						c.XOR(part, part)
					}
					if want := slowCTR(b, iv, src); !bytes.Equal(got, want) {
						t.Errorf("got %x\nwant %x", got, want)
					}
				})
			}
		}
	}
}

func TestCTRAllocations(t *testing.T) {
	c := NewCTR(testBlock(t))
	short, long := make([]byte, shortMax), make([]byte, 4096)
	for _, tc := range []struct {
		buf  []byte
		most float64
	}{{short, 0}, {long, 1}} {
		got := testing.AllocsPerRun(100, func() {
			c.Start([16]byte{}, len(tc.buf))
			c.XOR(tc.buf, tc.buf)
		})
		if got > tc.most {
			t.Errorf("%d bytes: %v allocations a stream, want at most %v", len(tc.buf), got, tc.most)
		}
	}
}

func TestCBC(t *testing.T) {
	b := testBlock(t)
	iv := [16]byte{1, 2, 3}
	for _, n := range []int{0, 16, 32, 48, 1024, 5008} {
		src := random(n)
		want := make([]byte, n)
		cipher.NewCBCEncrypter(b, iv[:]).CryptBlocks(want, src)
		got := make([]byte, n)
		CBCEncrypt(b, iv, got, src)
		if !bytes.Equal(got, want) {
			t.Errorf("n=%d: encryption differs from the standard library's", n)
		}
		inPlace := bytes.Clone(src)
		CBCEncrypt(b, iv, inPlace, inPlace)
		if !bytes.Equal(inPlace, want) {
			t.Errorf("n=%d: encryption in place differs", n)
		}
		CBCDecrypt(b, iv, got, want)
		CBCDecrypt(b, iv, inPlace, inPlace)
		if !bytes.Equal(got, src) || !bytes.Equal(inPlace, src) {
			t.Errorf("n=%d: decryption does not give back the clear bytes", n)
		}
	}
}

func BenchmarkCTR(b *testing.B) {
	c := NewCTR(testBlock(b))
	for _, n := range []int{64, 128, 350, 4096, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
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

func BenchmarkCBC(b *testing.B) {
	block, buf := testBlock(b), make([]byte, 1<<20)
	b.Run("encrypt", func(b *testing.B) {
		b.SetBytes(1 << 20)
		b.ReportAllocs()
		for b.Loop() {
			CBCEncrypt(block, [16]byte{}, buf, buf)
		}
	})
	b.Run("decrypt", func(b *testing.B) {
		b.SetBytes(1 << 20)
		b.ReportAllocs()
		for b.Loop() {
			CBCDecrypt(block, [16]byte{}, buf, buf)
		}
	})
}
