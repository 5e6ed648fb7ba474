package cenc

import "math"

// chunkCursor walks the chunks of a track (ISO/IEC 14496-12 §8.7.3 to §8.7.5).
type chunkCursor struct {
	sizes  fields
	fixed  uint32
	bits   int // of each size, in stz2
	half   bool
	nibble uint8
	left   int // samples

	offsets fields
	wide    bool
	chunks  uint32
	chunk   uint32 // number of the next one, from 1

	runs       fields
	runsLeft   uint32
	each, desc uint32
	nextFirst  uint64
}

func (s *segment) chunkCursor(t *sampleTables) (*chunkCursor, error) {
	c := &chunkCursor{left: int(t.count), chunk: 1, bits: 32}
	c.sizes = s.fields(t.sizes)
	c.sizes.full()
	if v := c.sizes.u32(); t.sizes.typ == typeStsz {
		c.fixed = v
	} else {
		c.bits = int(v & 0xff)
	}
	c.sizes.u32() // sample_count
	if c.bits != 4 && c.bits != 8 && c.bits != 16 && c.bits != 32 || c.fixed == 0 && uint64(c.left)*uint64(c.bits) > 8*uint64(c.sizes.left()) {
		return nil, s.malformed(t.sizes.start, "%d sizes of %d bits do not fit into the box", c.left, c.bits)
	}
	c.offsets = s.fields(t.chunks)
	c.offsets.full()
	c.wide = t.chunks.typ == typeCo64
	c.chunks = c.offsets.u32()
	c.runs = s.fields(t.runs)
	c.runs.full()
	c.runsLeft = c.runs.u32()
	c.nextFirst = uint64(c.runs.u32())
	if c.offsets.short || c.runs.short || c.nextFirst != 1 || c.runsLeft == 0 {
		return nil, s.malformed(t.runs.start, "stsc does not begin at the first chunk")
	}
	return c, nil
}

// next gives the next chunk: where it lies, its samples, its sample entry.
func (c *chunkCursor) next(s *segment) (data, count int, entry uint32, err error) {
	for uint64(c.chunk) == c.nextFirst && c.runsLeft > 0 {
		c.each, c.desc = c.runs.u32(), c.runs.u32()
		c.nextFirst = math.MaxUint64
		if c.runsLeft--; c.runsLeft > 0 {
			c.nextFirst = uint64(c.runs.u32())
		}
		if c.runs.short || c.nextFirst <= uint64(c.chunk) {
			return 0, 0, 0, s.malformed(c.runs.at, "stsc ends early, or its chunks do not ascend")
		}
	}
	if c.chunk > c.chunks || c.each == 0 {
		return 0, 0, 0, s.malformed(c.offsets.at, "%d samples are left after chunk %d of %d", c.left, c.chunk-1, c.chunks)
	}
	offset := uint64(0)
	if c.wide {
		offset = c.offsets.u64()
	} else {
		offset = uint64(c.offsets.u32())
	}
	if c.offsets.short || offset > 1<<62 {
		return 0, 0, 0, s.malformed(c.offsets.at, "offset of chunk %d", c.chunk)
	}
	c.chunk++
	n := min(c.left, int(c.each))
	c.left -= n
	return int(offset), n, c.desc, nil
}

// size reads the next sample's size.
func (c *chunkCursor) size() uint32 {
	switch {
	case c.fixed != 0:
		return c.fixed
	case c.bits == 16:
		return uint32(c.sizes.u16())
	case c.bits == 8:
		return uint32(c.sizes.u8())
	case c.bits == 32:
		return c.sizes.u32()
	}
	if c.half = !c.half; c.half { // two in a byte, the high one first
		c.nibble = c.sizes.u8()
		return uint32(c.nibble >> 4)
	}
	return uint32(c.nibble & 15)
}
