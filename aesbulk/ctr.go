package aesbulk

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math"

	"github.com/seed-6133abe0/rekey/key"
)

// CTR is AES-CTR under one key. Start begins a key stream, XOR takes the next
// bytes of it, however they are cut up: a partial block carries over to the
// next range (ISO/IEC 23001-7 §9.5: the protected ranges of a sample are one
// stream). It is reused for any number of streams, by one goroutine.
type CTR struct {
	block   cipher.Block
	stream  cipher.Stream
	counter counter // of stream; zero: streams cannot be reset, make new ones

	high uint64              // of the counter block that the stream began at
	iv   [aes.BlockSize]byte // for seek; of its own it would be an allocation
	left int                 // bytes of stream that may still be taken
	wrap uint64              // bytes of stream until the counter's low half wraps alone
}

// never stands for a distance that no slice reaches.
const never = math.MaxUint64

// NewCTR returns a CTR under b.
func NewCTR(b cipher.Block) *CTR {
	c := newFreshCTR(b)
	if s, n, ok := resettable(b); ok {
		c.stream, c.counter = s, n
	}
	return c
}

// newFreshCTR returns a CTR that makes a new stream at every start, which
// allocates but asks nothing of the standard library beyond its promises.
func newFreshCTR(b cipher.Block) *CTR { return &CTR{block: b} }

// Start begins the key stream at counter block iv, of which the low 64 bits
// count blocks and wrap alone (ISO/IEC 23001-7 §9.3). length is the number of
// bytes that will be taken; taking more than that panics, as cipher.Stream does
// on misuse.
func (c *CTR) Start(iv [16]byte, length int) {
	low := binary.BigEndian.Uint64(iv[8:])
	c.begin(binary.BigEndian.Uint64(iv[:8]), low, length)
	c.wrap = untilWrap(low)
}

// StartCarry is Start with all 128 bits of iv as one counter, as NIST SP
// 800-38A has it and some packagers do. The two differ only for streams in
// which the low half wraps.
func (c *CTR) StartCarry(iv [16]byte, length int) {
	c.begin(binary.BigEndian.Uint64(iv[:8]), binary.BigEndian.Uint64(iv[8:]), length)
	c.wrap = never
}

func (c *CTR) begin(high, low uint64, length int) {
	c.high, c.left = high, length
	c.seek(low)
}

// seek sets the stream to the counter block c.high‖low.
func (c *CTR) seek(low uint64) {
	if c.counter.set(c.high, low) {
		return
	}
	binary.BigEndian.PutUint64(c.iv[:8], c.high)
	binary.BigEndian.PutUint64(c.iv[8:], low)
	c.stream = cipher.NewCTR(c.block, c.iv[:])
	key.WipeLater(c.stream)
}

// XOR writes src XOR the next len(src) bytes of key stream to dst. dst and src
// must be the same memory or not overlap.
func (c *CTR) XOR(dst, src []byte) {
	if len(src) == 0 {
		return
	}
	if len(src) > c.left {
		panic("aesbulk: more key stream taken than CTR was started for")
	}
	c.left -= len(src)
	if c.wrap != never {
		if uint64(len(src)) > c.wrap {
			// The standard library carries into the high half; the clause does
			// not (§9.3). Go on there from a low half of zero.
			n := int(c.wrap)
			c.stream.XORKeyStream(dst, src[:n])
			dst, src = dst[n:], src[n:]
			c.seek(0)
			c.wrap = never
		} else {
			c.wrap -= uint64(len(src))
		}
	}
	c.stream.XORKeyStream(dst, src)
}

// untilWrap is the number of key stream bytes before a block counter that
// starts at low wraps; never if that is out of any slice's reach.
func untilWrap(low uint64) uint64 {
	blocks := -low // 2^64 - low; 0 stands for 2^64
	if blocks == 0 || blocks > math.MaxInt64/aes.BlockSize {
		return never
	}
	return blocks * aes.BlockSize
}
