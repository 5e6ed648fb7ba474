package aes128

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/hls"
)

// MPEG-2 TS (ISO/IEC 13818-1 §2.4.3.2): packets of 188 bytes that begin with the
// sync byte.
const (
	tsPacket = 188
	tsSync   = 0x47
)

// maxSyncs bounds how many sync bytes count as evidence in one segment: more
// would only make a small number smaller.
const maxSyncs = 64

// lookTS takes b for MPEG-2 TS where more than half of its packets have the sync
// byte.
func lookTS(b []byte) sight {
	good, total, lost := syncs(b)
	if 2*good <= total {
		return sight{}
	}
	s := sight{format: "MPEG-2 TS", log10: -8 * log2 * float64(min(good, maxSyncs)), class: hls.ErrMalformed}
	last := len(b) % tsPacket
	switch {
	case good == total && last == 0:
		s.whole = true
	case good == total:
		s.cut, s.at = true, len(b)-last
		s.reason = fmt.Sprintf("the last TS packet is cut after %d of %d bytes", last, tsPacket)
	case good == total-1 && lost == 0:
		s.noStart, s.reason = true, "TS sync byte lost in the first packet"
	default:
		s.at, s.reason = lost, fmt.Sprintf("TS sync byte lost in %d of %d packets", total-good, total)
		// Each packet may be a good one or a lost one.
		s.log10 = max(s.log10, min(0, float64(total)*log2-8*log2*float64(good)))
	}
	return s
}

// syncs counts the packets that begin in b and those with the sync byte.
func syncs(b []byte) (good, total, firstLost int) {
	firstLost = -1
	for i := 0; i < len(b); i += tsPacket {
		total++
		if b[i] == tsSync {
			good++
		} else if firstLost < 0 {
			firstLost = i
		}
	}
	return good, total, firstLost
}
