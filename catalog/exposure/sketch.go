package exposure

import (
	"math"
	"math/bits"
)

// registers of a sketch: 2^12 give a standard error of 1.04/√4096, 1.6 %.
const registers = 1 << 12

// sketch estimates how many different strings it was shown, after Flajolet, Fusy,
// Gandouet, Meunier: HyperLogLog (2007). Two sketches merge to that of both. Which
// strings collide is open to all: somebody who chooses client ids at will can make
// the estimate small.
type sketch [registers]uint8

func (s *sketch) add(hash uint64) {
	i := hash & (registers - 1)
	// The rank is the place of the first 1 in the 52 bits that are left.
	rank := uint8(bits.LeadingZeros64(hash|registers-1) + 1)
	s[i] = max(s[i], rank)
}

func (s *sketch) merge(o *sketch) {
	for i := range s {
		s[i] = max(s[i], o[i])
	}
}

func (s *sketch) estimate() int64 {
	const m = float64(registers)
	sum, empty := 0.0, 0
	for _, r := range s {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	e := 0.7213 / (1 + 1.079/m) * m * m / sum
	if e <= 2.5*m && empty > 0 {
		e = m * math.Log(m/float64(empty)) // linear counting: few strings
	}
	return int64(math.Round(e))
}

// hashOf is FNV-1a, its bits mixed as MurmurHash3 ends, so that the same string has
// the same hash in every run.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h ^= uint64(s[i])
		h *= 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
