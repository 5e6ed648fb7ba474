package audio

import "fmt"

// ETSI TS 102 366 §4.3.1 and §4.3.2; Annex E §E.1.2 for E-AC-3, whose bsid lies
// in the same place.
const (
	ac3Fixed = 6  // syncinfo and bsid
	lastAC3  = 10 // a decoder for bsid 8 decodes 0 to 8; 9 and 10 are lower sampling frequencies in the same syntax
	lastEAC3 = 16
	// eac3Least holds syncinfo, the least bsi and the CRC.
	eac3Least = 8
)

// ac3Rates are bitrates in kbit/s by frmsizecod/2 (table 4.13).
var ac3Rates = [19]int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640}

func bsid(b []byte) int { return int(b[5] >> 3) }

func ac3Frame(b []byte) (length, header int, err error) {
	fscod, size := b[4]>>6, int(b[4]&0x3f)
	switch {
	case b[0] != 0x0b || b[1] != 0x77 || bsid(b) > lastAC3:
		return 0, 0, malformed(0, "no AC-3 syncframe begins here")
	case fscod == 3 || size >= 2*len(ac3Rates):
		return 0, 0, malformed(4, fmt.Sprintf("AC-3 fscod %d, frmsizecod %d: a value is reserved", fscod, size))
	}
	rate := ac3Rates[size/2]
	switch fscod { // 1536 samples in words of 16 bits
	case 0: // 48 kHz
		return 2 * (2 * rate), 0, nil
	case 1: // 44.1 kHz: the odd codes have a word more
		return 2 * (rate*320/147 + size&1), 0, nil
	default: // 32 kHz
		return 2 * (3 * rate), 0, nil
	}
}

func eac3Frame(b []byte) (length, header int, err error) {
	id := bsid(b)
	switch {
	case b[0] != 0x0b || b[1] != 0x77 || id <= lastAC3 || id > lastEAC3:
		return 0, 0, malformed(0, "no E-AC-3 syncframe begins here")
	case b[2]>>6 == 3:
		return 0, 0, malformed(2, "E-AC-3 strmtyp is 3, which is reserved")
	case b[4]>>4 == 0xf: // fscod and fscod2
		return 0, 0, malformed(4, "E-AC-3 fscod2 is 3, which is reserved")
	}
	length = 2 * (int(b[2]&7)<<8 + int(b[3]) + 1) // frmsiz
	if length < eac3Least {
		return 0, 0, malformed(2, fmt.Sprintf("E-AC-3 syncframe of %d bytes is shorter than its header", length))
	}
	return length, 0, nil
}
