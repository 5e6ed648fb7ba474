package aes128

import (
	"bytes"
	"unicode/utf8"

	"github.com/seed-6133abe0/rekey/hls"
)

// lookWebVTT looks for a WebVTT file (RFC 8216 §3.5; WebVTT §4.1): a byte order
// mark perhaps, "WEBVTT", then a space, a tab, a line end or nothing, and UTF-8.
func lookWebVTT(b []byte) sight {
	s := sight{class: hls.ErrMalformed}
	text := bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	after, ok := bytes.CutPrefix(text, []byte("WEBVTT"))
	if !ok {
		return sight{}
	}
	s.format = "WebVTT"
	s.log10 = -8 * log2 * float64(len(b)-len(after))
	if len(after) > 0 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(after[0])) {
		s.at, s.reason = len(b)-len(after), "WEBVTT is not followed by a space, a tab or a line end"
		return s
	}
	if n := utf8Length(after); n < len(after) {
		s.at, s.reason = len(b)-len(after)+n, "the text is not UTF-8"
		return s
	}
	s.whole = true
	return s
}

// utf8Length is how many bytes of b are UTF-8.
func utf8Length(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}
