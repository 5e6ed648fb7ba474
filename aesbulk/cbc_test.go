package aesbulk

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"testing"
)

// slowCBC is NIST SP 800-38A §6.2 word for word, encryption.
func slowCBC(b cipher.Block, iv [16]byte, src []byte) []byte {
	out := make([]byte, len(src))
	for i := 0; i < len(src); i += 16 {
		for k := range iv {
			iv[k] ^= src[i+k]
		}
		b.Encrypt(iv[:], iv[:])
		copy(out[i:], iv[:])
	}
	return out
}

var cbcIV = [16]byte{1, 2, 3, 0xff, 15: 0x80}

func TestCBC(t *testing.T) {
	b := testBlock(t)
	enc, dec := NewCBCEncrypter(b), NewCBCDecrypter(b)
	for _, n := range []int{0, 16, 32, 48, 1024, 5008} {
		src := random(n)
		want := make([]byte, n)
		cipher.NewCBCEncrypter(b, cbcIV[:]).CryptBlocks(want, src)
		if slow := slowCBC(b, cbcIV, src); !bytes.Equal(slow, want) {
			t.Fatalf("n=%d: the slow version differs from the standard library's", n)
		}
		for _, blocks := range []byte{1, 2, 3, 9, 255} {
			t.Run(fmt.Sprintf("n=%d/blocks=%d", n, blocks), func(t *testing.T) {
				for name, run := range map[string]func(dst, src []byte, back bool){
					"whole": func(dst, src []byte, back bool) {
						if back {
							CBCDecrypt(b, cbcIV, dst, src)
						} else {
							CBCEncrypt(b, cbcIV, dst, src)
						}
					},
					"stream": func(dst, src []byte, back bool) {
						enc.Start(cbcIV)
						dec.Start(cbcIV)
						crypt := enc.Crypt
						if back {
							crypt = dec.Crypt
						}
						cutUp(len(src), 16, []byte{blocks}, func(from, to int) { crypt(dst[from:to], src[from:to]) })
					},
				} {
					testCBC(t, name, src, want, run)
				}
			})
		}
	}
}

// testCBC runs both ways, disjoint and in place.
func testCBC(t *testing.T, name string, src, want []byte, run func(dst, src []byte, back bool)) {
	got, inPlace := make([]byte, len(src)), bytes.Clone(src)
	run(got, src, false)
	run(inPlace, inPlace, false)
	if !bytes.Equal(got, want) || !bytes.Equal(inPlace, want) {
		t.Errorf("%s: encryption differs from the standard library's", name)
	}
	run(got, want, true)
	run(inPlace, inPlace, true)
	if !bytes.Equal(got, src) || !bytes.Equal(inPlace, src) {
		t.Errorf("%s: decryption does not give back the clear bytes", name)
	}
}

// In pattern encryption the chain passes over the clear blocks (ISO/IEC 23001-7
// §9.6): 1 of 10 blocks is encrypted as if the ten thousandth byte followed the
// sixteenth.
func TestCBCPattern(t *testing.T) {
	b, src := testBlock(t), random(160*20+32)
	var protected []byte
	for i := 0; i+16 <= len(src); i += 160 {
		protected = append(protected, src[i:i+16]...)
	}
	want, next := bytes.Clone(src), slowCBC(b, cbcIV, protected)
	for i := 0; i+16 <= len(src); i += 160 {
		next = next[copy(want[i:i+16], next):]
	}
	enc, dec := NewCBCEncrypter(b), NewCBCDecrypter(b)
	got := bytes.Clone(src)
	for _, tc := range []struct {
		start func([16]byte)
		crypt func(dst, src []byte)
		want  []byte
	}{{enc.Start, enc.Crypt, want}, {dec.Start, dec.Crypt, src}} {
		tc.start(cbcIV)
		for i := 0; i+16 <= len(got); i += 160 {
			tc.crypt(got[i:i+16], got[i:i+16])
		}
		if !bytes.Equal(got, tc.want) {
			t.Error("pattern differs from one chain over the protected blocks")
		}
	}
}

func TestCBCMisuse(t *testing.T) {
	b := testBlock(t)
	for name, crypt := range map[string]func(dst, src []byte){
		"CBCEncrypt":   func(dst, src []byte) { CBCEncrypt(b, cbcIV, dst, src) },
		"CBCDecrypt":   func(dst, src []byte) { CBCDecrypt(b, cbcIV, dst, src) },
		"CBCEncrypter": NewCBCEncrypter(b).Crypt,
		"CBCDecrypter": NewCBCDecrypter(b).Crypt,
	} {
		for _, tc := range []struct{ dst, src []byte }{
			{make([]byte, 32), make([]byte, 17)},
			{make([]byte, 16, 32), make([]byte, 32)},
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %d bytes to %d: want a panic", name, len(tc.src), len(tc.dst))
					}
				}()
				crypt(tc.dst, tc.src)
			}()
		}
	}
}

func TestCBCAllocations(t *testing.T) {
	b, buf := testBlock(t), make([]byte, 4096)
	enc, dec := NewCBCEncrypter(b), NewCBCDecrypter(b)
	for _, n := range []int{0, 16, 160, 4096} {
		got := testing.AllocsPerRun(100, func() {
			enc.Start(cbcIV)
			dec.Start(cbcIV)
			for range 2 {
				enc.Crypt(buf[:n], buf[:n])
				dec.Crypt(buf[:n], buf[:n])
			}
			CBCEncrypt(b, cbcIV, buf[:n], buf[:n])
			CBCDecrypt(b, cbcIV, buf[:n], buf[:n])
		})
		if got > 0 {
			t.Errorf("%d bytes: %v allocations, want 0", n, got)
		}
	}
}

func FuzzCBC(f *testing.F) {
	f.Add([]byte{}, []byte("sixteen bytes and sixteen of it."), []byte{1})
	f.Add(cbcIV[:], random(400), []byte{9, 1, 1})
	f.Fuzz(func(t *testing.T, chain, src, cuts []byte) {
		var iv [16]byte
		copy(iv[:], chain)
		src = src[:len(src)/16*16]
		b := testBlock(t)
		want := slowCBC(b, iv, src)
		enc, dec := NewCBCEncrypter(b), NewCBCDecrypter(b)
		testCBC(t, "stream", src, want, func(dst, src []byte, back bool) {
			enc.Start(iv)
			dec.Start(iv)
			crypt := enc.Crypt
			if back {
				crypt = dec.Crypt
			}
			cutUp(len(src), 16, cuts, func(from, to int) { crypt(dst[from:to], src[from:to]) })
		})
	})
}

func BenchmarkCBC(b *testing.B) {
	block := testBlock(b)
	enc, dec := NewCBCEncrypter(block), NewCBCDecrypter(block)
	for _, bm := range []struct {
		name  string
		crypt func(dst, src []byte)
	}{
		{"encrypt", enc.Crypt},
		{"decrypt", dec.Crypt},
		{"std-encrypt", cipher.NewCBCEncrypter(block, cbcIV[:]).CryptBlocks},
		{"std-decrypt", cipher.NewCBCDecrypter(block, cbcIV[:]).CryptBlocks},
	} {
		for _, n := range []int{16, 160, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", bm.name, n), func(b *testing.B) {
				buf := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					bm.crypt(buf, buf)
				}
			})
		}
	}
}
