package audio

import "bytes"

// ID3v2.4 structure §3.1.
const (
	id3Header  = 10
	id3Footer  = 10
	id3HasFoot = 0x10 // flag
)

// ID3 returns the length of the ID3v2 tags that begin b, one after the other: 0
// for none. A tag that is cut, or whose header cannot be, is hls.ErrMalformed.
func ID3(b []byte) (n int, err error) {
	for bytes.HasPrefix(b[n:], []byte("ID3")) {
		size, err := id3Size(b[n:], n)
		if err != nil {
			return 0, err
		}
		n += size
	}
	return n, nil
}

// id3Size is the length of the tag that begins b, which lies at this offset.
func id3Size(b []byte, at int) (int, error) {
	if len(b) < id3Header {
		return 0, malformed(at, "ID3 tag header is cut")
	}
	if b[3] == 0xff || b[4] == 0xff {
		return 0, malformed(at+3, "ID3 tag of version 255, which cannot be")
	}
	size := 0
	for i := 6; i < id3Header; i++ {
		if b[i] >= 0x80 { // §6.2: synchsafe
			return 0, malformed(at+i, "ID3 tag size is not synchsafe")
		}
		size = size<<7 | int(b[i])
	}
	size += id3Header
	if b[3] >= 4 && b[5]&id3HasFoot != 0 {
		size += id3Footer
	}
	if size > len(b) {
		return 0, malformed(at, "ID3 tag is longer than what is left")
	}
	return size, nil
}
