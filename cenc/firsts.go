package cenc

import (
	"encoding/binary"
	"math"
)

// firsts counts the first bytes of encrypted ranges, whatever the codec. Real
// media begins alike again and again: a sync word, a slice header, a table of
// contents. Under a wrong key every value is as likely as another, if the ranges
// are of key streams, or chains, that differ: two under one IV would be wrong
// in the same way, so only one of them counts.
type firsts struct {
	values [256]uint16
	n      int
	seen   [64]uint64 // a small set of what set the streams apart, by hash
}

// most bounds the counts; more would prove no more.
const mostFirsts = 1 << 12

// add counts the first byte of a range, unless unique was seen: the IV of a key
// stream, or the first block of a chain as it is stored.
func (f *firsts) add(first byte, unique []byte) {
	if f.n == mostFirsts || len(unique) < 16 {
		return
	}
	h := binary.LittleEndian.Uint64(unique)*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(unique[8:])*0xc2b2ae3d27d4eb4f
	h ^= h >> 29
	h *= 0x9e3779b97f4a7c15
	slot, bit := h>>58, uint64(1)<<(h>>52&63)
	if f.seen[slot]&bit != 0 {
		return
	}
	f.seen[slot] |= bit
	f.values[first]++
	f.n++
}

// log10 bounds the chance that uniform bytes are as alike as these: the
// Chernoff bound of a binomial tail, for the commonest value, which may be any.
func (f *firsts) log10() float64 {
	most := uint16(0)
	for _, v := range f.values {
		most = max(most, v)
	}
	if f.n == 0 {
		return 0
	}
	share := float64(most) / float64(f.n)
	if share <= 1.0/256 {
		return 0
	}
	return min(0, math.Log10(256)-float64(f.n)*divergence(share, 1.0/256)*math.Log10E)
}
