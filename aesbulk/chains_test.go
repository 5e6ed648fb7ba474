package aesbulk

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"testing"
)

// TestCBCEncryptChains: many chains at once come to what one at a time does.
func TestCBCEncryptChains(t *testing.T) {
	b := testBlock(t)
	for _, sizes := range [][]int{{}, {16}, {0, 32}, {16, 0, 48, 16}, {160, 16, 16, 320, 0, 64, 1600, 16, 16}} {
		var chains []Chain
		var want, got [][]byte
		for i, n := range sizes {
			src := random(n)
			iv := [16]byte{byte(i), 7}
			w := bytes.Clone(src)
			cipher.NewCBCEncrypter(b, iv[:]).CryptBlocks(w, src)
			want, got = append(want, w), append(got, src)
			chains = append(chains, Chain{iv, src})
		}
		CBCEncryptChains(b, chains)
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("sizes %v: chain %d differs", sizes, i)
			}
		}
	}
}

func TestCBCEncryptChainsAllocations(t *testing.T) {
	b, data := testBlock(t), make([]byte, 1<<12)
	chains := make([]Chain, 8)
	got := testing.AllocsPerRun(100, func() {
		for i := range chains {
			chains[i].Data = data[i*512 : i*512+512]
		}
		CBCEncryptChains(b, chains)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkCBCEncryptChains(b *testing.B) {
	block := testBlock(b)
	for _, n := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf := make([]byte, n<<13)
			chains := make([]Chain, n)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				for i := range chains {
					chains[i].Data = buf[i<<13 : (i+1)<<13]
				}
				CBCEncryptChains(block, chains)
			}
		})
	}
}
