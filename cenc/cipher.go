package cenc

import (
	"crypto/cipher"

	"github.com/seed-6133abe0/rekey/aesbulk"
)

// ciphers are one content key's.
type ciphers struct {
	block cipher.Block
	ctr   *aesbulk.CTR
	dec   *aesbulk.CBCDecrypter
}

func newCiphers(b cipher.Block) *ciphers {
	return &ciphers{b, aesbulk.NewCTR(b), aesbulk.NewCBCDecrypter(b)}
}

// message is the part of one sample that is encrypted: runs of bytes, counted
// from the sample's start. Under AES-CTR they are one key stream (ISO/IEC
// 23001-7 §9.5). Under AES-CBC they are one chain (§10.2), or one for each
// subsample (§10.4): a chain begins at every run of restarts.
type message struct {
	runs     []span
	restarts []int // indices in runs
	size     int
	iv       [16]byte
	carry    bool // the counter carries over 128 bits
	buf      []byte
	// gatheredUp is true while buf holds the clear bytes of the runs.
	gatheredUp bool
}

func (m *message) reset() {
	m.runs, m.restarts, m.size, m.gatheredUp = m.runs[:0], m.restarts[:0], 0, false
}

func (m *message) add(from, n int) {
	if n == 0 {
		return
	}
	if last := len(m.runs) - 1; last >= 0 && m.runs[last].to == from && (len(m.restarts) == 0 || m.restarts[len(m.restarts)-1] <= last) {
		m.runs[last].to += n
	} else {
		m.runs = append(m.runs, span{from, from + n})
	}
	m.size += n
}

// protect adds the encrypted runs of n protected bytes from from.
func (m *message) protect(p *protection, from, n int, r Readings) {
	const block = 16
	switch {
	case p.scheme == schemeCENC:
	case p.crypt != 0:
		// §9.6.1: runs of crypt blocks, then skip blocks in the clear; the last
		// pattern is followed until the range ends, and a partial block stays clear.
		run, gap := p.crypt*block, p.skip*block
		for ; n >= block; n -= run + gap {
			m.add(from, min(run, n-n%block))
			from += run + gap
		}
		return
	case p.scheme == schemeCENS && r.Tails == TailsEncrypted:
	default:
		n -= n % block // §9.7, §10.2: whole blocks only
	}
	m.add(from, n)
}

// runOn is protect with a pattern that is at block phase of its period; it
// returns where the pattern is after n bytes.
func (m *message) runOn(p *protection, from, n, phase int) int {
	const block = 16
	for ; n >= block; n -= block {
		if phase < p.crypt {
			m.add(from, block)
		}
		from += block
		phase = (phase + 1) % (p.crypt + p.skip)
	}
	return phase
}

// fill makes m of a sample: its runs, from its subsample table.
func (m *message) fill(p *protection, size, nsubs int, table []byte, r Readings) {
	m.reset()
	if nsubs == 0 {
		m.protect(p, 0, size, r)
		return
	}
	at, phase := 0, 0
	for i := range nsubs {
		c, e := subsample(table[6*i:])
		at += c
		switch {
		case p.scheme == schemeCENS && p.crypt != 0 && r.Pattern == PatternRunsOn:
			phase = m.runOn(p, at, e, phase)
		case p.scheme == schemeCBCS && len(m.runs) > 0:
			m.restarts = append(m.restarts, len(m.runs))
			m.protect(p, at, e, r)
		default:
			m.protect(p, at, e, r)
		}
		at += e
	}
}

// firsts counts the first bytes of a sample's key stream or chains.
func (m *message) firsts(f *firsts, p *protection, cl, src []byte) {
	if len(m.runs) == 0 {
		return
	}
	if p.scheme.ctr() {
		f.add(cl[m.runs[0].from], m.iv[:])
		return
	}
	f.add(cl[m.runs[0].from], src[m.runs[0].from:])
	for _, i := range m.restarts {
		if i < len(m.runs) {
			f.add(cl[m.runs[i].from], src[m.runs[i].from:])
		}
	}
}

// decrypt copies a sample from src to dst and decrypts m's runs.
func (m *message) decrypt(c *ciphers, s scheme, dst, src []byte) {
	switch {
	case s.ctr():
		m.stream(c.ctr, dst, src)
	case len(m.runs) >= manyRuns:
		m.gathered(c, dst, src)
	default:
		m.chain(c.dec, dst, src)
	}
}

func (m *message) stream(c *aesbulk.CTR, dst, src []byte) {
	if m.carry {
		c.StartCarry(m.iv, m.size)
	} else {
		c.Start(m.iv, m.size)
	}
	at := 0
	for _, x := range m.runs {
		copy(dst[at:x.from], src[at:x.from])
		c.XOR(dst[x.from:x.to], src[x.from:x.to])
		at = x.to
	}
	copy(dst[at:], src[at:])
}

func (m *message) chain(c *aesbulk.CBCDecrypter, dst, src []byte) {
	c.Start(m.iv)
	at, restarts := 0, m.restarts
	for i, x := range m.runs {
		copy(dst[at:x.from], src[at:x.from])
		for len(restarts) > 0 && restarts[0] <= i {
			c.Start(m.iv)
			restarts = restarts[1:]
		}
		c.Crypt(dst[x.from:x.to], src[x.from:x.to])
		at = x.to
	}
	copy(dst[at:], src[at:])
}
