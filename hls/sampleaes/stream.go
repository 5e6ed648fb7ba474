package sampleaes

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/hls"
)

// stream is one protected elementary stream.
type stream struct {
	pid     uint16
	kind    uint8 // stream type
	counter int   // continuity_counter of the last packet with payload; -1: none
	packets []carrier
	units   []unit
	heads   []byte // the PES headers, one after another
	need    int    // bytes of the last header that are still to come
	es      []byte // the payloads of all PES packets: the elementary stream
	base    int    // where its clear form begins in reader.clear
	protect []span // what is protected in the clear form, counted from base
	out     []byte // the elementary stream under the new key
	// The ends of the PES packets' payloads in es, in the clear form and in out.
	ends, clearEnds, outEnds []int
}

type span struct{ from, to int }

// carrier is a packet with payload.
type carrier struct {
	at      int   // offset in the segment
	payload uint8 // offset of the payload
	content uint8 // length of the adaptation field's content
	size    uint8 // bytes of payload in the new segment
}

func (c carrier) room() int {
	if c.content == 0 {
		return maxPayload
	}
	return maxPayload - 1 - int(c.content)
}

// unit is one PES packet.
type unit struct {
	first, last int  // its packets: [first, last)
	head        span // its header, in heads
	more        int  // packets that are inserted after its last
}

// sizes of PES headers (ISO/IEC 13818-1 §2.4.3.6).
const (
	pesFixed  = 9 // up to PES_header_data_length
	pesLength = 6 // bytes that PES_packet_length does not count
)

func (s *stream) reset(pid uint16, kind uint8) {
	s.pid, s.kind, s.counter, s.need = pid, kind, -1, 0
	s.packets, s.units, s.heads, s.es, s.protect, s.out = s.packets[:0], s.units[:0], s.heads[:0], s.es[:0], s.protect[:0], s.out[:0]
	s.ends, s.clearEnds, s.outEnds = s.ends[:0], s.clearEnds[:0], s.outEnds[:0]
}

// collect finds the protected streams' packets and PES packets.
func (r *reader) collect(types map[uint16]uint8) error {
	r.streams = r.streams[:0]
	clear(r.index[:])
	for _, pid := range slices.Sorted(maps.Keys(types)) {
		kind := types[pid]
		if indicator(kind) == "" {
			continue
		}
		n := len(r.streams)
		if n < cap(r.streams) {
			r.streams = r.streams[:n+1]
		} else {
			r.streams = append(r.streams, stream{})
		}
		r.streams[n].reset(pid, kind)
		r.index[pid] = uint16(n + 1)
	}
	if len(r.streams) == 0 {
		return nil
	}
	for at := 0; at < len(r.src); at += packetSize {
		p := packet(r.src[at : at+packetSize])
		if i := r.index[p.pid()]; i > 0 {
			if err := r.take(&r.streams[i-1], at, p); err != nil {
				return err
			}
		}
	}
	for i := range r.streams {
		if err := r.finish(&r.streams[i]); err != nil {
			return err
		}
	}
	return nil
}

// take takes one packet of a protected stream.
func (r *reader) take(s *stream, at int, p packet) error {
	l, reason := p.parse()
	switch {
	case p.broken():
		reason = "transport_error_indicator is set"
	case p.scrambled():
		return r.fail(hls.ErrUnsupported, at, fmt.Sprintf("PID %d: scrambled packet", s.pid))
	}
	if reason != "" {
		return r.fail(hls.ErrMalformed, at, fmt.Sprintf("PID %d: %s", s.pid, reason))
	}
	if l.payload == packetSize {
		return nil
	}
	if err := r.continuity(s, at, p, l); err != nil {
		return err
	}
	if p.starts() {
		if err := r.finish(s); err != nil {
			return err
		}
		n := len(s.packets)
		s.units = append(s.units, unit{first: n, last: n, head: span{len(s.heads), len(s.heads)}})
		s.need = pesFixed
	}
	if len(s.units) == 0 {
		return r.fail(hls.ErrUnsupported, at, fmt.Sprintf("PID %d: the segment begins inside a PES packet", s.pid))
	}
	u := &s.units[len(s.units)-1]
	s.packets = append(s.packets, carrier{at: at, payload: uint8(l.payload), content: uint8(l.content), size: uint8(packetSize - l.payload)})
	u.last++
	return r.payload(s, u, at, p[l.payload:])
}

// continuity checks the continuity counter (§2.4.3.3).
func (r *reader) continuity(s *stream, at int, p packet, l layout) error {
	now, last := int(p.counter()), s.counter
	s.counter = now
	switch {
	case last < 0, now == (last+1)&15, p.discontinuity(l) && p.starts():
		return nil
	case now == last:
		return r.fail(hls.ErrUnsupported, at, fmt.Sprintf("PID %d: continuity_counter %d again: a duplicate packet", s.pid, now))
	}
	return r.fail(hls.ErrMalformed, at, fmt.Sprintf("PID %d: continuity_counter %d after %d: packets are lost", s.pid, now, last))
}

// payload takes the payload of a packet: the PES header first.
func (r *reader) payload(s *stream, u *unit, at int, b []byte) error {
	for s.need > 0 && len(b) > 0 {
		n := min(s.need, len(b))
		s.heads, b, s.need = append(s.heads, b[:n]...), b[n:], s.need-n
		u.head.to = len(s.heads)
		if s.need > 0 || u.head.to-u.head.from != pesFixed {
			continue
		}
		head := s.heads[u.head.from:]
		if reason, class := checkPES(head); class != nil {
			return r.fail(class, at, fmt.Sprintf("PID %d: %s", s.pid, reason))
		}
		s.need = int(head[8])
	}
	s.es = append(s.es, b...)
	return nil
}

// checkPES looks at the first pesFixed bytes of a PES packet (§2.4.3.7).
func checkPES(b []byte) (reason string, class error) {
	id := b[3]
	switch {
	case b[0] != 0 || b[1] != 0 || b[2] != 1:
		return "no packet_start_code_prefix where a PES packet begins", hls.ErrMalformed
	case id < 0xc0 && id != 0xbd, id > 0xef && id != 0xfd:
		return fmt.Sprintf("PES packet of stream_id %#x in a protected stream", id), hls.ErrUnsupported
	case b[6]&0xc0 != 0x80:
		return "PES header without its marker bits", hls.ErrMalformed
	case b[6]&0x30 != 0:
		return "PES_scrambling_control is set", hls.ErrUnsupported
	case b[7]&0x02 != 0:
		return "PES header with a CRC of the packet before (previous_PES_packet_CRC)", hls.ErrUnsupported
	}
	return "", nil
}

// finish checks the last PES packet, which ends.
func (r *reader) finish(s *stream) error {
	if len(s.units) == 0 {
		return nil
	}
	u := &s.units[len(s.units)-1]
	at := s.packets[u.first].at
	if s.need > 0 {
		return r.fail(hls.ErrMalformed, at, fmt.Sprintf("PID %d: PES header cut short", s.pid))
	}
	head := s.heads[u.head.from:u.head.to]
	want := int(binary.BigEndian.Uint16(head[4:]))
	s.ends = append(s.ends, len(s.es))
	if got := len(head) - pesLength + len(s.es) - startOf(s.ends, len(s.ends)-1); want != 0 && want != got {
		return r.fail(hls.ErrMalformed, at, fmt.Sprintf("PID %d: PES_packet_length is %d and %d bytes are there", s.pid, want, got))
	}
	return nil
}

// startOf is where the i-th of pieces with these ends begins.
func startOf(ends []int, i int) int {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

// place is the offset in the segment of the packet that carries byte pos of es.
func (s *stream) place(pos int) int {
	for i, u := range s.units {
		if pos >= s.ends[i] && i < len(s.units)-1 {
			continue
		}
		left := pos - startOf(s.ends, i) + u.head.to - u.head.from
		for _, c := range s.packets[u.first:u.last] {
			if n := packetSize - int(c.payload); left >= n {
				left -= n
				continue
			}
			return c.at
		}
		return s.packets[u.last-1].at
	}
	return 0
}
