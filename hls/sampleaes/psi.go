package sampleaes

import (
	"encoding/binary"
	"fmt"
	"maps"

	"github.com/seed-6133abe0/rekey/hls"
)

// Stream types (Apple's "MPEG-2 Stream Encryption Format for HTTP Live
// Streaming" §3.0; ISO/IEC 13818-1 table 2-34).
const (
	typeH264 = 0xdb
	typeAAC  = 0xcf
	typeAC3  = 0xc1
	typeEAC3 = 0xc2
	typeHEVC = 0x24
	// typeHEVCSubset is HEVC's temporal sub-bitstream.
	typeHEVCSubset = 0x25
)

// indicator is the private_data_indicator of a protected stream type.
func indicator(streamType uint8) string {
	switch streamType {
	case typeH264:
		return "zavc"
	case typeAAC:
		return "aacd"
	case typeAC3:
		return "ac3d"
	case typeEAC3:
		return "ec3d"
	}
	return ""
}

// Descriptor tags (ISO/IEC 13818-1 table 2-45).
const (
	tagRegistration = 0x05
	tagPrivateData  = 0x0f
)

// program reads the PAT and the PMT, and returns the stream type of each PID of
// the one program.
func (r *reader) program() (map[uint16]uint8, error) {
	pmt, err := r.pat()
	if err != nil {
		return nil, err
	}
	var types map[uint16]uint8
	err = r.sections(pmt, func(at int, b []byte) error {
		if b[0] != 2 { // table_id of a PMT
			return nil
		}
		now, err := r.pmt(at, b)
		switch {
		case err != nil || now == nil:
			return err
		case types == nil:
			types = now
		case !maps.Equal(types, now):
			return r.fail(hls.ErrUnsupported, at, "the PMT changes inside the segment")
		}
		return nil
	})
	if err == nil && types == nil {
		err = r.fail(hls.ErrUnsupported, 0, "no PMT in the segment")
	}
	return types, err
}

// pat returns the PID of the one program's PMT.
func (r *reader) pat() (uint16, error) {
	found, pid := false, uint16(0)
	err := r.sections(0, func(at int, b []byte) error {
		if b[0] != 0 { // table_id of a PAT
			return nil
		}
		body, err := r.table(at, b, 8)
		if err != nil || body == nil {
			return err
		}
		if len(body)%4 != 0 {
			return r.fail(hls.ErrMalformed, at, "the PAT does not hold whole entries")
		}
		for ; len(body) > 0; body = body[4:] {
			if binary.BigEndian.Uint16(body) == 0 { // network_PID
				continue
			}
			p := binary.BigEndian.Uint16(body[2:]) & 0x1fff
			if found && p != pid {
				return r.fail(hls.ErrUnsupported, at, "several programs in one TS")
			}
			found, pid = true, p
		}
		return nil
	})
	if err == nil && !found {
		err = r.fail(hls.ErrUnsupported, 0, "no PAT in the segment")
	}
	return pid, err
}

// pmt reads one program map section (§2.4.4.8), nil if it is not yet current.
func (r *reader) pmt(at int, b []byte) (map[uint16]uint8, error) {
	body, err := r.table(at, b, 12)
	if err != nil || body == nil {
		return nil, err
	}
	info := int(binary.BigEndian.Uint16(b[10:]) & 0xfff)
	if info > len(body) {
		return nil, r.fail(hls.ErrMalformed, at, "the PMT's program_info is longer than the PMT")
	}
	types := map[uint16]uint8{}
	for body = body[info:]; len(body) > 0; {
		if len(body) < 5 {
			return nil, r.fail(hls.ErrMalformed, at, "the PMT ends inside an entry")
		}
		kind, pid := body[0], binary.BigEndian.Uint16(body[1:])&0x1fff
		n := 5 + int(binary.BigEndian.Uint16(body[3:])&0xfff)
		if n > len(body) {
			return nil, r.fail(hls.ErrMalformed, at, "the PMT ends inside a descriptor loop")
		}
		if _, twice := types[pid]; twice {
			return nil, r.fail(hls.ErrMalformed, at, fmt.Sprintf("the PMT lists PID %d twice", pid))
		}
		if reason := checkDescriptors(kind, body[5:n]); reason != "" {
			return nil, r.fail(hls.ErrUnsupported, at, fmt.Sprintf("PID %d: %s", pid, reason))
		}
		types[pid], body = kind, body[n:]
	}
	return types, nil
}

// checkDescriptors refuses what says that a stream is protected in a way that its
// type does not say.
func checkDescriptors(kind uint8, b []byte) string {
	want := indicator(kind)
	for len(b) >= 2 {
		tag, n := b[0], 2+int(b[1])
		if n > len(b) {
			return "descriptor cut short"
		}
		body := b[2:n]
		b = b[n:]
		if len(body) < 4 {
			continue
		}
		id := string(body[:4])
		switch {
		case tag == tagPrivateData && want != "" && id != want:
			return fmt.Sprintf("stream type %#x with private_data_indicator %q, not %q", kind, id, want)
		case tag == tagPrivateData && (kind == typeHEVC || kind == typeHEVCSubset):
			return "HEVC under SAMPLE-AES in MPEG-2 TS"
		case want != "":
		case tag == tagPrivateData && (id == "zavc" || id == "aacd" || id == "ac3d" || id == "ec3d"),
			tag == tagRegistration && id == "apad":
			return fmt.Sprintf("stream type %#x signalled as protected by %q", kind, id)
		}
	}
	return ""
}

// table checks a section of the long form (§2.4.4.11) and returns what follows
// its head, without the CRC; nil if the table is not current.
func (r *reader) table(at int, b []byte, head int) ([]byte, error) {
	if len(b) < head+4 || b[1]&0x80 == 0 {
		return nil, r.fail(hls.ErrMalformed, at, "PAT or PMT section too short")
	}
	if crc32MPEG(b) != 0 {
		return nil, r.fail(hls.ErrMalformed, at, "CRC of a PAT or PMT section is wrong")
	}
	if b[5]&1 == 0 { // current_next_indicator
		return nil, nil
	}
	return b[head : len(b)-4], nil
}

// sections calls each for every section that the packets of this PID carry
// (§2.4.4), with the offset of the packet it ends in.
func (r *reader) sections(pid uint16, each func(at int, section []byte) error) error {
	var buf []byte
	open, last := false, -1
	for at := 0; at < len(r.src); at += packetSize {
		p := packet(r.src[at : at+packetSize])
		if p.pid() != pid {
			continue
		}
		l, reason := p.parse()
		switch {
		case p.broken():
			reason = "transport_error_indicator is set"
		case p.scrambled():
			return r.fail(hls.ErrUnsupported, at, "scrambled PAT or PMT")
		}
		if reason != "" {
			return r.fail(hls.ErrMalformed, at, reason)
		}
		if l.payload == packetSize || int(p.counter()) == last { // nothing, or the same again
			continue
		}
		last = int(p.counter())
		payload := p[l.payload:]
		if p.starts() {
			skip := 1 + int(payload[0]) // pointer_field
			if skip > len(payload) {
				return r.fail(hls.ErrMalformed, at, "pointer_field leads out of the packet")
			}
			if open {
				if _, err := takeSections(at, append(buf, payload[1:skip]...), each); err != nil {
					return err
				}
			}
			payload, buf, open = payload[skip:], buf[:0], true
		}
		if !open {
			continue
		}
		rest, err := takeSections(at, append(buf, payload...), each)
		if err != nil {
			return err
		}
		buf = append([]byte(nil), rest...)
	}
	return nil
}

// takeSections calls each for the whole sections in b and returns the rest.
func takeSections(at int, b []byte, each func(at int, section []byte) error) ([]byte, error) {
	for len(b) >= 3 && b[0] != 0xff { // 0xff: stuffing to the end of the packet
		n := 3 + int(binary.BigEndian.Uint16(b[1:])&0xfff)
		if n > len(b) {
			return b, nil
		}
		if err := each(at, b[:n]); err != nil {
			return nil, err
		}
		b = b[n:]
	}
	if len(b) > 0 && b[0] == 0xff {
		return nil, nil
	}
	return b, nil
}

// crc32MPEG is 0 over a whole section that is right (ISO/IEC 13818-1 annex A).
func crc32MPEG(b []byte) uint32 {
	crc := ^uint32(0)
	for _, c := range b {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
