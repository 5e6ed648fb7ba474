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

// log10 bounds the chance that uniform bytes are as alike as these, by a bet
// (Dirichlet-multinomial against uniform): what a fair bet wins bounds the chance
// of winning it, and so it stays when the bounds of many objects are multiplied,
// most of which say nothing.
func (f *firsts) log10() float64 {
	if f.n == 0 {
		return 0
	}
	const each = 1.0 / 256 // prior weight of a value
	none, _ := math.Lgamma(each)
	all, _ := math.Lgamma(float64(f.n) + 1)
	ln := float64(f.n)*math.Log(256) - all
	for _, v := range f.values {
		if v > 0 {
			some, _ := math.Lgamma(each + float64(v))
			ln += some - none
		}
	}
	return hedged(ln * math.Log10E)
}

// stake is the part of each object's evidence that is bet; the rest is kept.
const stake = 4

// hedged is log10 of what a fair bet of 10^-stake bounds chance by, if the bet
// wins 10^won. A loss costs 10^-stake at most, which ten thousand objects may
// lose before their product claims too much.
func hedged(won float64) float64 { return min(0, stake-won) }
