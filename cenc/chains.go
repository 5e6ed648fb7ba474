package cenc

import (
	"slices"

	"github.com/seed-6133abe0/rekey/aesbulk"
)

// batchBytes is how much is gathered before it is encrypted; it stays in the
// cache.
const batchBytes = 128 << 10

// batch gathers the blocks of samples under a CBC scheme and encrypts many
// chains at once. Each chain waits for itself from block to block, and chains of
// a pattern are scattered over the sample besides.
type batch struct {
	key    *ciphers
	buf    []byte
	chains []aesbulk.Chain
	ends   []int  // in buf, of each chain
	runs   []span // where the gathered bytes belong, in order
}

// add takes a sample whose clear bytes stand in out from at on.
func (b *batch) add(m *message, c *ciphers, out []byte, at int) {
	if b.key != c || len(b.buf) >= batchBytes {
		b.flush(out)
		b.key = c
	}
	if len(m.runs) == 0 {
		return
	}
	restarts, end := m.restarts, len(b.buf)
	b.chains = append(b.chains, aesbulk.Chain{IV: m.iv})
	for i, x := range m.runs {
		for len(restarts) > 0 && restarts[0] <= i {
			restarts = restarts[1:]
			if i > 0 && len(b.ends) < len(b.chains) {
				b.ends = append(b.ends, end)
				b.chains = append(b.chains, aesbulk.Chain{IV: m.iv})
			}
		}
		b.runs = append(b.runs, span{at + x.from, at + x.to})
		end += x.to - x.from
	}
	if m.gatheredUp {
		b.buf = append(b.buf, m.buf...)
	} else {
		n := len(b.buf)
		b.buf = slices.Grow(b.buf, m.size)[:n+m.size]
		gather(b.buf[n:], out[at:], m.runs)
	}
	b.ends = append(b.ends, len(b.buf))
}

// flush encrypts what was gathered, and puts it into out.
func (b *batch) flush(out []byte) {
	from := 0
	for i, end := range b.ends {
		b.chains[i].Data = b.buf[from:end]
		from = end
	}
	if len(b.chains) > 0 {
		aesbulk.CBCEncryptChains(b.key.block, b.chains)
	}
	scatter(out, b.buf, b.runs)
	b.buf, b.chains, b.ends, b.runs = b.buf[:0], b.chains[:0], b.ends[:0], b.runs[:0]
}

// manyRuns is from how many runs on gathering them costs less than one call for
// each.
const manyRuns = 4

// gathered decrypts a sample of many runs: gathered, the blocks of a chain overlap
// in the CPU.
func (m *message) gathered(c *ciphers, dst, src []byte) {
	m.buf, m.gatheredUp = grow(m.buf, m.size), true
	gather(m.buf, src, m.runs)
	if &dst[0] != &src[0] {
		copy(dst, src)
	}
	restarts, begin, at := m.restarts, 0, 0
	for i, x := range m.runs {
		for len(restarts) > 0 && restarts[0] <= i {
			aesbulk.CBCDecrypt(c.block, m.iv, m.buf[begin:at], m.buf[begin:at])
			restarts, begin = restarts[1:], at
		}
		at += x.to - x.from
	}
	aesbulk.CBCDecrypt(c.block, m.iv, m.buf[begin:at], m.buf[begin:at])
	scatter(dst, m.buf, m.runs)
}

// gather copies runs of src one after another. Runs of one block, which patterns
// mostly have, are not worth a call each.
func gather(dst, src []byte, runs []span) {
	for _, x := range runs {
		n := x.to - x.from
		if n == 16 {
			*(*[16]byte)(dst) = [16]byte(src[x.from:])
		} else {
			copy(dst, src[x.from:x.to])
		}
		dst = dst[n:]
	}
}

// scatter undoes gather.
func scatter(dst, src []byte, runs []span) {
	for _, x := range runs {
		n := x.to - x.from
		if n == 16 {
			*(*[16]byte)(dst[x.from:]) = [16]byte(src)
		} else {
			copy(dst[x.from:x.to], src)
		}
		src = src[n:]
	}
}
