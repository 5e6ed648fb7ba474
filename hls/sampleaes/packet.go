package sampleaes

import (
	"github.com/seed-6133abe0/rekey/hls"
)

// MPEG-2 TS packets (ISO/IEC 13818-1 §2.4.3.2).
const (
	packetSize = 188
	syncByte   = 0x47
	maxPayload = packetSize - 4
	nullPID    = 0x1fff
)

// packet is one transport packet, packetSize bytes.
type packet []byte

func (p packet) broken() bool    { return p[1]&0x80 != 0 } // transport_error_indicator
func (p packet) starts() bool    { return p[1]&0x40 != 0 } // payload_unit_start_indicator
func (p packet) pid() uint16     { return uint16(p[1]&0x1f)<<8 | uint16(p[2]) }
func (p packet) scrambled() bool { return p[3]&0xc0 != 0 } // transport_scrambling_control
func (p packet) counter() uint8  { return p[3] & 0x0f }

// layout is where the parts of a packet lie.
type layout struct {
	payload int // offset of the payload; packetSize: none
	content int // bytes of the adaptation field from its flags that say something
}

// parse finds the parts (§2.4.3.4). reason is empty where the packet is legal.
func (p packet) parse() (l layout, reason string) {
	switch p[3] >> 4 & 3 { // adaptation_field_control
	case 0:
		return l, "adaptation_field_control is 0, which is reserved"
	case 1:
		return layout{payload: 4}, ""
	case 2:
		l.payload = packetSize
	case 3:
		l.payload = 5 + int(p[4])
	}
	size := int(p[4])
	if size > packetSize-5 || l.payload > packetSize || l.payload == packetSize && p[3]&0x10 != 0 {
		return l, "the adaptation field leaves no room for the payload"
	}
	if size == 0 || p[5] == 0 {
		return l, ""
	}
	l.content = p.adaptation()
	if l.content > size {
		return l, "the adaptation field is shorter than what its flags announce"
	}
	return l, ""
}

// adaptation is the length of what the flags of an adaptation field of at least
// one byte announce, flags included; it may be too long for the field.
func (p packet) adaptation() int {
	flags, n := p[5], 1
	if flags&0x10 != 0 { // PCR
		n += 6
	}
	if flags&0x08 != 0 { // OPCR
		n += 6
	}
	if flags&0x04 != 0 { // splice_countdown
		n++
	}
	for _, flag := range []byte{0x02, 0x01} { // private data, extension: with their lengths
		if flags&flag == 0 {
			continue
		}
		if 5+n >= packetSize {
			return packetSize
		}
		n += 1 + int(p[5+n])
	}
	return n
}

// discontinuity tells whether the counter may jump here (§2.4.3.5).
func (p packet) discontinuity(l layout) bool { return l.content > 0 && p[5]&0x80 != 0 }

// checkPackets tells whether src is packets of 188 bytes.
func checkPackets(src []byte) (at int, reason string, class error) {
	for at = 0; at < len(src); at += packetSize {
		if src[at] == syncByte {
			continue
		}
		for _, other := range []struct {
			size, first int
			name        string
		}{{192, 4, "TS packets of 192 bytes (with time codes)"}, {204, 0, "TS packets of 204 bytes (with Reed-Solomon codes)"}} {
			if spaced(src, other.first, other.size) {
				return 0, other.name, hls.ErrUnsupported
			}
		}
		return at, "TS sync byte lost", hls.ErrMalformed
	}
	if n := len(src) % packetSize; n != 0 {
		return len(src) - n, "the last TS packet is cut short", hls.ErrMalformed
	}
	return 0, "", nil
}

// spaced tells whether sync bytes stand at this distance, four at least.
func spaced(src []byte, first, size int) bool {
	if len(src) < 4*size || len(src)%size != 0 {
		return false
	}
	for at := first; at < len(src); at += size {
		if src[at] != syncByte {
			return false
		}
	}
	return true
}
