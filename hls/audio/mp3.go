package audio

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/hls"
)

// ISO/IEC 11172-3 §2.4.1.3, and ISO/IEC 13818-3 §2.4.2.3 for ID 0.
const (
	mp3Header = 4
	mpeg1     = 3 // the two bits after the 11-bit syncword
	mpegNone  = 1
)

// mp3Rates are Layer III bitrates in kbit/s by bitrate_index, MPEG-1 and the low
// sampling frequencies.
var mp3Rates = [2][15]int{
	{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
	{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
}

// mp3Samplings are MPEG-1 sampling frequencies in Hz; MPEG-2 halves them, MPEG-2.5
// halves them again.
var mp3Samplings = [3]int{44100, 48000, 32000}

func mp3Frame(b []byte) (length, header int, err error) {
	version, layer := b[1]>>3&3, b[1]>>1&3
	rate, sampling, emphasis := b[2]>>4, b[2]>>2&3, b[3]&3
	switch {
	case b[0] != 0xff || b[1]&0xe0 != 0xe0 || layer != 1 || version == mpegNone:
		return 0, 0, malformed(0, "no MPEG Layer III frame begins here")
	case rate == 15 || sampling == 3 || emphasis == 2:
		return 0, 0, malformed(2, fmt.Sprintf("MP3 bitrate_index %d, sampling_frequency %d, emphasis %d: a value is reserved", rate, sampling, emphasis))
	case rate == 0:
		return 0, 0, &hls.Error{Offset: 2, Class: hls.ErrUnsupported, Reason: "MP3 in free format, whose frame length no header says"}
	}
	hz, table, slots := mp3Samplings[sampling], mp3Rates[0], 144
	if version != mpeg1 { // one granule a frame, ISO/IEC 13818-3 §2.4.3.1
		hz, table, slots = hz/2, mp3Rates[1], 72
	}
	if version == 0 { // MPEG-2.5
		hz /= 2
	}
	return slots*table[rate]*1000/hz + int(b[2]>>1&1), mp3Header, nil
}
