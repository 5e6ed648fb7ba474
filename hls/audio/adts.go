package audio

import "fmt"

// ISO/IEC 14496-3 §1.A.2.2.1: adts_fixed_header and adts_variable_header.
const (
	adtsHeader   = 7
	adtsCRC      = 2
	adtsLastRate = 12 // sampling_frequency_index; 13 and 14 are reserved, 15 is no ADTS
)

func adtsFrame(b []byte) (length, header int, err error) {
	if b[0] != 0xff || b[1]&0xf6 != 0xf0 { // syncword, layer 0
		return 0, 0, malformed(0, "no ADTS frame begins here")
	}
	if rate := b[2] >> 2 & 0xf; rate > adtsLastRate {
		return 0, 0, malformed(2, fmt.Sprintf("ADTS sampling_frequency_index is %d, which is reserved", rate))
	}
	header = adtsHeader
	if b[1]&1 == 0 { // protection_absent
		header += adtsCRC
	}
	length = int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5 // aac_frame_length
	if length < header {
		return 0, 0, malformed(3, fmt.Sprintf("ADTS frame of %d bytes is shorter than its header", length))
	}
	return length, header, nil
}
