package cenc

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Place is an object's place in the plan. It makes the IVs of the AES-CTR
// schemes: no two objects under one key may share any.
type Place struct {
	Object string
	// IVs is the high half of the first sample's IV; each further sample of the
	// object, over all its tracks, has one more. The low half, the block counter,
	// starts at zero. StructuredIVs gives values that can't meet.
	IVs uint64
}

// maxNumber and maxIndex are what 24 bits hold.
const (
	maxNumber = 1<<24 - 1
	maxIndex  = 1<<24 - 1
)

// StructuredIVs gives Place.IVs for an object of a plan: track (16 bits), object
// (24), sample (24). number must be below 2^24, else ErrLimit.
func StructuredIVs(track uint16, number uint32) (uint64, error) {
	if number > maxNumber {
		return 0, &Error{"plan", "file", 0, fmt.Sprintf("object number %d of track %d: numbers have 24 bits", number, track), ErrLimit}
	}
	return uint64(track)<<48 | uint64(number)<<24, nil
}

// iv is the IV of one sample. A counter block is used by one sample only: the
// high halves differ, and no sample is long enough to wrap the low half.
func (p Place) iv(index int) (iv [16]byte) {
	binary.BigEndian.PutUint64(iv[:], p.IVs+uint64(index))
	return iv
}

// check refuses an object with more samples than its IVs have numbers for.
func (p Place) check(s *segment) error {
	if s.total-1 > maxIndex {
		return s.fail(ErrLimit, 0, "%d samples: numbers of IVs have 24 bits", s.total)
	}
	return nil
}

// counters is a run of counter blocks that one sample of the old media used.
type counters struct {
	kid   int // which key
	high  uint64
	low   uint64
	last  uint64 // inclusive
	index int    // of the sample
}

func (a counters) compare(b counters) int {
	switch {
	case a.kid != b.kid:
		return a.kid - b.kid
	case a.high != b.high:
		return order(a.high, b.high)
	}
	return order(a.low, b.low)
}

func order(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// appendCounters adds the blocks that n bytes from iv use; the low half wraps
// (ISO/IEC 23001-7 §9.3), which makes two runs.
func appendCounters(list []counters, kid int, iv [16]byte, n, index int) []counters {
	if n == 0 {
		return list
	}
	c := counters{kid: kid, high: binary.BigEndian.Uint64(iv[:]), low: binary.BigEndian.Uint64(iv[8:]), index: index}
	c.last = c.low + uint64(n-1)/16
	if c.last >= c.low {
		return append(list, c)
	}
	rest := counters{kid: kid, high: c.high, low: 0, last: c.last, index: index}
	c.last = math.MaxUint64
	return append(list, c, rest)
}

// reuse counts samples that use a counter block which another one used, and
// gives the first by its index. It sorts list unless it is in order already,
// as it nearly always is.
func reuse(list []counters) (samples, first int) {
	if !slices.IsSortedFunc(list, counters.compare) {
		slices.SortFunc(list, counters.compare)
	}
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		if a.kid != b.kid || a.high != b.high || b.low > a.last {
			continue
		}
		if list[i].last < a.last { // b lies within a: the next may too
			list[i].last = a.last
		}
		if samples == 0 || b.index < first {
			first = b.index
		}
		samples++
	}
	return samples, first
}
