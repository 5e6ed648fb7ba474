package backup

import (
	"bufio"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	chunkSize = 64 << 10 // bytes in the clear, of every chunk but the last
	overhead  = 12 + 16  // nonce and tag
	maxChunks = 1 << 32  // under one key with random nonces: SP 800-38D §8.3
)

// chunkAAD binds a chunk to its place and says whether it is the last.
func chunkAAD(index uint64, last bool) []byte {
	b := binary.BigEndian.AppendUint64([]byte("rekey backup v2 chunk"), index)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// chunkWriter seals what is written to it. Close writes the last chunk.
type chunkWriter struct {
	w     io.Writer
	aead  cipher.AEAD
	plain []byte // not yet sealed
	out   []byte
	index uint64
}

func newChunkWriter(w io.Writer, aead cipher.AEAD) *chunkWriter {
	return &chunkWriter{w: w, aead: aead, plain: make([]byte, 0, chunkSize), out: make([]byte, 0, chunkSize+overhead)}
}

func (c *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(c.plain) == chunkSize {
			if err := c.flush(false); err != nil {
				return n - len(p), err
			}
		}
		take := min(len(p), chunkSize-len(c.plain))
		c.plain = append(c.plain, p[:take]...)
		p = p[take:]
	}
	return n, nil
}

func (c *chunkWriter) Close() error { return c.flush(true) }

func (c *chunkWriter) flush(last bool) error {
	if c.index == maxChunks {
		return fmt.Errorf("%w: more than %d chunks", ErrEntry, uint64(maxChunks))
	}
	c.out = c.aead.Seal(c.out[:0], nil, c.plain, chunkAAD(c.index, last))
	c.wipe()
	c.index++
	_, err := c.w.Write(c.out)
	return err
}

func (c *chunkWriter) wipe() {
	clear(c.plain[:cap(c.plain)])
	c.plain = c.plain[:0]
}

// chunkReader gives out the clear bytes of authenticated chunks only, and io.EOF
// only after the last one.
type chunkReader struct {
	br     *bufio.Reader
	aead   cipher.AEAD
	in     []byte
	buf    []byte // the chunk in the clear
	left   []byte // of buf, not yet given out
	index  uint64
	offset int64 // of the next chunk in the file
	ended  bool
}

func newChunkReader(br *bufio.Reader, aead cipher.AEAD, offset int64) *chunkReader {
	return &chunkReader{br: br, aead: aead, in: make([]byte, chunkSize+overhead), buf: make([]byte, 0, chunkSize), offset: offset}
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// next opens the next chunk. An empty one is the writer's never.
func (c *chunkReader) next() error {
	n, err := io.ReadFull(c.br, c.in)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s at offset %d: %w", c.part(), c.offset, err)
	}
	if n <= overhead {
		return c.damaged("the file is cut off")
	}
	last := err != nil
	if !last {
		_, err := c.br.Peek(1)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s at offset %d: %w", c.part(), c.offset, err)
		}
		last = err != nil
	}
	sealed := c.in[:n]
	plain, err := c.aead.Open(c.buf[:0], nil, sealed, chunkAAD(c.index, last))
	if err != nil {
		return c.explain(sealed, last)
	}
	c.buf, c.left, c.ended = plain, plain, last
	c.index++
	c.offset += int64(n)
	return nil
}

// explain finds the reason why a chunk does not open as what its place says.
func (c *chunkReader) explain(sealed []byte, last bool) error {
	if _, err := c.aead.Open(c.buf[:0], nil, sealed, chunkAAD(c.index, !last)); err == nil {
		c.wipe()
		if last {
			return c.damaged("the file is cut off after this chunk")
		}
		return c.damaged("more follows after the last chunk")
	}
	return c.damaged("is not authentic: it was changed, moved or cut, or the header was changed")
}

func (c *chunkReader) damaged(reason string) error {
	return fault(ErrDamaged, c.part(), c.offset, "%s", reason)
}

func (c *chunkReader) part() string { return fmt.Sprintf("chunk %d", c.index) }

// wipe clears what was in the clear.
func (c *chunkReader) wipe() {
	clear(c.buf[:cap(c.buf)])
	c.left = nil
}
