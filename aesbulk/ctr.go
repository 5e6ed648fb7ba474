package aesbulk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"math"
)

// shortMax is the length up to which Start builds the key stream block by
// block. Below it, that costs less than the 512-byte allocation which
// cipher.NewCTR makes for every stream (measured: about 20 ns a block against
// 170 to 400 ns a stream).
const shortMax = 8 * aes.BlockSize

// CTR is AES-CTR under one key. Start begins a key stream, XOR takes the next
// bytes of it, however they are cut up: a partial block carries over to the
// next range (ISO/IEC 23001-7 §9.5: the protected ranges of a sample are one
// stream). It is reused for any number of streams, by one goroutine.
type CTR struct {
	block cipher.Block
	iv    [aes.BlockSize]byte

	stream cipher.Stream // nil while the stream is a short one
	left   uint64        // bytes of stream until the counter's low half wraps

	short [shortMax]byte
	at    int // position in short
}

// NewCTR returns a CTR under b.
func NewCTR(b cipher.Block) *CTR { return &CTR{block: b} }

// Start begins the key stream at counter block iv. length is the number of
// bytes that will be taken; taking more than that panics, as cipher.Stream does
// on misuse.
func (c *CTR) Start(iv [16]byte, length int) {
	c.iv = iv
	if length <= shortMax {
		c.fillShort(length)
		return
	}
	c.stream = cipher.NewCTR(c.block, c.iv[:])
	c.left = untilWrap(binary.BigEndian.Uint64(iv[8:]))
}

// XOR writes src XOR the next len(src) bytes of key stream to dst. dst and src
// must be the same memory or not overlap.
func (c *CTR) XOR(dst, src []byte) {
	if c.stream == nil {
		subtle.XORBytes(dst[:len(src)], src, c.short[c.at:c.at+len(src)])
		c.at += len(src)
		return
	}
	for uint64(len(src)) > c.left {
		// The standard library carries into the high half; the clause does not
		// (§9.3). Start again there with a low half of zero.
		n := int(c.left)
		c.stream.XORKeyStream(dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
		clear(c.iv[8:])
		c.stream = cipher.NewCTR(c.block, c.iv[:])
		c.left = math.MaxUint64
	}
	c.stream.XORKeyStream(dst[:len(src)], src)
	if c.left != math.MaxUint64 {
		c.left -= uint64(len(src))
	}
}

func (c *CTR) fillShort(length int) {
	c.stream, c.at = nil, 0
	low := binary.BigEndian.Uint64(c.iv[8:])
	for i := 0; i < length; i += aes.BlockSize {
		block := c.short[i : i+aes.BlockSize]
		copy(block, c.iv[:8])
		binary.BigEndian.PutUint64(block[8:], low) // wraps by itself
		c.block.Encrypt(block, block)
		low++
	}
}

// untilWrap is the number of key stream bytes before a block counter that
// starts at low wraps; MaxUint64 if that is out of any slice's reach.
func untilWrap(low uint64) uint64 {
	blocks := -low // 2^64 - low; 0 stands for 2^64
	if blocks == 0 || blocks > math.MaxUint64/aes.BlockSize {
		return math.MaxUint64
	}
	return blocks * aes.BlockSize
}
