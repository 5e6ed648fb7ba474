package sampleaes

import (
	"encoding/binary"
	"fmt"

	"github.com/seed-6133abe0/rekey/hls"
)

// turn is how many packets are inserted at a time: continuity counters after them
// are what they were.
const turn = 16

// fit decides how many bytes of its PES packet each packet carries. The last
// packets' stuffing changes first; where all is full, packets are inserted; none
// is taken away.
func (s *stream) fit(i int) (reason string) {
	u := &s.units[i]
	u.more = 0
	grow := s.outEnds[i] - startOf(s.outEnds, i) - (s.ends[i] - startOf(s.ends, i))
	if grow == 0 {
		return ""
	}
	if reason := s.setLength(u, grow); reason != "" {
		return reason
	}
	packets := s.packets[u.first:u.last]
	for n := len(packets) - 1; n >= 0 && grow > 0; n-- {
		add := min(grow, packets[n].room()-int(packets[n].size))
		packets[n].size += uint8(add)
		grow -= add
	}
	if grow > 0 {
		u.more = (grow + turn*maxPayload - 1) / (turn * maxPayload) * turn
		grow = min(0, grow-u.more) // each carries a byte at least
	}
	for n := len(packets) - 1; n >= 0 && grow < 0; n-- {
		take := min(-grow, int(packets[n].size)-1)
		packets[n].size -= uint8(take)
		grow += take
	}
	if grow < 0 {
		return "a PES packet shrinks to fewer bytes than it has packets"
	}
	return ""
}

// setLength adds grow to PES_packet_length, where there is one. Too long a video
// packet says nothing of its length (ISO/IEC 13818-1 §2.4.3.7).
func (s *stream) setLength(u *unit, grow int) (reason string) {
	head := s.heads[u.head.from:u.head.to]
	n := int(binary.BigEndian.Uint16(head[4:]))
	if n == 0 {
		return ""
	}
	n += grow
	if n > 0xffff {
		if head[3]&0xf0 != 0xe0 {
			return "a PES packet that is no video grows over 65535 bytes"
		}
		n = 0
	}
	binary.BigEndian.PutUint16(head[4:], uint16(n))
	return ""
}

// remux writes the segment with the streams' new payloads.
func (r *Rekeyer) remux() error {
	src := &r.old
	for i := range src.streams {
		s := &src.streams[i]
		for n := range s.units {
			if reason := s.fit(n); reason != "" {
				return src.fail(hls.ErrUnsupported, s.packets[s.units[n].first].at, fmt.Sprintf("PID %d: %s", s.pid, reason))
			}
		}
	}
	r.out, r.grown = r.out[:0], r.grown[:0]
	r.cursors = r.cursors[:0]
	for i := range src.streams {
		r.cursors = append(r.cursors, cursor{s: &src.streams[i]})
	}
	for at := 0; at < len(src.src); at += packetSize {
		p := packet(src.src[at : at+packetSize])
		i := src.index[p.pid()]
		if i == 0 || len(r.cursors) == 0 || !r.cursors[i-1].carries(at) {
			r.out = append(r.out, p...)
			continue
		}
		var inserted int
		r.out, inserted = r.cursors[i-1].packet(r.out, p)
		if inserted > 0 {
			r.grown = append(r.grown, Growth{At: src.at + int64(at) + packetSize, By: int64(inserted) * packetSize})
		}
	}
	return nil
}

// cursor goes through a stream's packets.
type cursor struct {
	s          *stream
	next, unit int
	done       int // bytes of the PES packet that are written
}

// carries tells whether the packet at this offset has payload of the stream.
func (c *cursor) carries(at int) bool {
	return c.next < len(c.s.packets) && c.s.packets[c.next].at == at
}

// packet appends the next packet, p in the old segment, and what is inserted after
// it.
func (c *cursor) packet(out []byte, p packet) ([]byte, int) {
	s, k := c.s, c.s.packets[c.next]
	u := s.units[c.unit]
	if size := packetSize - int(k.payload); int(k.size) == size {
		out = append(out, p[:k.payload]...)
	} else {
		out = appendHead(out, p, int(k.content), int(k.size))
	}
	out = c.payload(out, int(k.size))
	c.next++
	if c.next < u.last {
		return out, 0
	}
	left := u.head.to - u.head.from + s.outEnds[c.unit] - startOf(s.outEnds, c.unit) - c.done
	for n := range u.more {
		size := left / (u.more - n)
		left -= size
		next := [packetSize]byte{syncByte, p[1] &^ 0x40, p[2], p[3]&0xc0 | 0x10 | (p[3]+1+byte(n))&0x0f}
		out = c.payload(appendHead(out, next[:], 0, size), size)
	}
	c.unit++
	c.done = 0
	return out, u.more
}

// payload appends the next n bytes of the PES packet.
func (c *cursor) payload(out []byte, n int) []byte {
	s, u := c.s, c.s.units[c.unit]
	if head := s.heads[u.head.from:u.head.to]; c.done < len(head) {
		take := min(n, len(head)-c.done)
		out = append(out, head[c.done:c.done+take]...)
		c.done += take
		n -= take
	}
	from := startOf(s.outEnds, c.unit) + c.done - (u.head.to - u.head.from)
	c.done += n
	return append(out, s.out[from:from+n]...)
}

// appendHead appends the head of p and an adaptation field that leaves size bytes
// for the payload: the content of p's and stuffing (§2.4.3.5).
func appendHead(out []byte, p packet, content, size int) []byte {
	field := maxPayload - size
	control := byte(0x10)
	if field > 0 {
		control = 0x30
	}
	out = append(out, p[0], p[1], p[2], p[3]&^0x30|control)
	if field == 0 {
		return out
	}
	out = append(out, byte(field-1))
	switch {
	case field == 1:
		return out
	case content > 0:
		out = append(out, p[5:5+content]...)
	default:
		out, content = append(out, 0), 1
	}
	for range field - 1 - content {
		out = append(out, 0xff)
	}
	return out
}
