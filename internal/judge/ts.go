package judge

import "fmt"

// packetSize is that of an MPEG-2 TS packet (ISO/IEC 13818-1 §2.4.3.2).
const packetSize = 188

// tsPacket is what the head of a packet says; zero is no packet.
type tsPacket struct {
	ok            bool
	pid           int
	starts, entry bool // payload unit start; random access indicator
}

func (p tsPacket) String() string {
	return fmt.Sprintf("PID %d, unit start %t, random access %t", p.pid, p.starts, p.entry)
}

func packetAt(b []byte, at int64) tsPacket {
	if at < 0 || at+packetSize > int64(len(b)) || b[at] != 0x47 {
		return tsPacket{}
	}
	h := b[at:]
	p := tsPacket{ok: true, pid: int(h[1]&0x1f)<<8 | int(h[2]), starts: h[1]&0x40 != 0}
	p.entry = h[3]&0x20 != 0 && h[4] > 0 && h[5]&0x40 != 0
	return p
}

// tables is how much of a TS object its program tables take, which come first.
func tables(b []byte) int64 {
	for at := int64(0); ; at += packetSize {
		if !packetAt(b, at).ok || pesID(b, at) != 0 {
			return at
		}
	}
}

// pesID is the stream_id of the PES packet of video or audio that begins in the
// packet at a place (ISO/IEC 13818-1 §2.4.3.6, table 2-22); 0 where none does.
func pesID(b []byte, at int64) byte {
	p := packetAt(b, at)
	if !p.ok || !p.starts {
		return 0
	}
	from := at + 4
	if b[at+3]&0x20 != 0 {
		from += 1 + int64(b[at+4])
	}
	if from+4 > at+packetSize || b[from] != 0 || b[from+1] != 0 || b[from+2] != 1 || b[from+3] < 0xbd {
		return 0
	}
	return b[from+3]
}

// startsVideo tells whether the first PES packet at or after a place is one of
// video, and only program tables come before it.
func startsVideo(b []byte, at int64) bool {
	at = min(at, int64(len(b)))
	return pesID(b, at+tables(b[at:]))&0xf0 == 0xe0
}
