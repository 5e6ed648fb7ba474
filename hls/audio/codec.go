package audio

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/hls"
)

// Codec is what the frames of a stream hold.
type Codec int

// The codecs of packed audio.
const (
	AAC  Codec = iota + 1 // in ADTS
	MP3                   // MPEG Audio Layer III
	AC3                   // bsid 0 to 10
	EAC3                  // bsid 11 to 16
)

// String is the codec's usual name.
func (c Codec) String() string {
	switch c {
	case AAC:
		return "AAC (ADTS)"
	case MP3:
		return "MP3"
	case AC3:
		return "AC-3"
	case EAC3:
		return "E-AC-3"
	default:
		return fmt.Sprintf("codec %d", int(c))
	}
}

// header is how many bytes of a frame decide its codec and length.
func (c Codec) header() int {
	switch c {
	case AAC:
		return adtsHeader
	case MP3:
		return mp3Header
	default:
		return ac3Fixed
	}
}

// Detect tells the codec of the frame that begins b. It is false where none
// begins, or its header is cut or cannot be.
func Detect(b []byte) (Codec, bool) {
	if len(b) < 2 {
		return 0, false
	}
	var c Codec
	switch {
	case b[0] == 0x0b && b[1] == 0x77:
		c = AC3
		if len(b) >= ac3Fixed && bsid(b) > lastAC3 {
			c = EAC3
		}
	case b[0] == 0xff && b[1]&0xf6 == 0xf0:
		c = AAC
	case b[0] == 0xff && b[1]&0xe6 == 0xe2:
		c = MP3
	default:
		return 0, false
	}
	_, _, err := Frame(c, b)
	return c, err == nil
}

// Frame reads the header of the frame that begins b. length is that of the whole
// frame, which may be more than b holds. header is how many of its bytes are an
// ADTS header, with its CRC (7 or 9), or an MPEG audio header (4); 0 for AC-3 and
// E-AC-3, which have none apart. A header that is cut, holds a reserved value or
// is of another codec is hls.ErrMalformed; free format MP3, whose length no header
// says, is hls.ErrUnsupported.
func Frame(c Codec, b []byte) (length, header int, err error) {
	if len(b) < c.header() {
		return 0, 0, malformed(len(b), fmt.Sprintf("%s frame header is cut after %d bytes", c, len(b)))
	}
	switch c {
	case AAC:
		return adtsFrame(b)
	case MP3:
		return mp3Frame(b)
	case AC3:
		return ac3Frame(b)
	case EAC3:
		return eac3Frame(b)
	default:
		return 0, 0, &hls.Error{Class: hls.ErrUnsupported, Reason: c.String() + " has no rule"}
	}
}

func malformed(at int, reason string) error {
	return &hls.Error{Offset: int64(at), Class: hls.ErrMalformed, Reason: reason}
}
