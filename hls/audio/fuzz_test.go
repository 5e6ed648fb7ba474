package audio

import (
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/hls"
)

// FuzzID3: any bytes give a length within them or an error of this package.
func FuzzID3(f *testing.F) {
	f.Add(sample(f, "tagged.mp3")[:64])
	f.Add([]byte("ID3\x04\x00\x10\x00\x00\x00\x01.3DI\x04\x00\x10\x00\x00\x00\x01ID3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ID3(b)
		check(t, b, err)
		if n < 0 || n > len(b) || err != nil && n != 0 || n > 0 && n < id3Header {
			t.Fatalf("tags of %d bytes in %d, %v", n, len(b), err)
		}
	})
}

// FuzzFrame: any bytes give a frame that is longer than its header, or an error;
// what is detected has a frame; and a walk ends within them.
func FuzzFrame(f *testing.F) {
	for name := range samples(f) {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		detected, ok := Detect(b)
		for c := Codec(0); c <= EAC3+1; c++ {
			n, h, err := Frame(c, b)
			check(t, b, err)
			if err == nil && (n < h || n < 8 && c != AAC || n > 8191 || ok && c != detected) {
				t.Fatalf("%v frame of %d bytes with a header of %d, detected as %v", c, n, h, detected)
			}
			if ok && c == detected && err != nil {
				t.Fatalf("%v was detected and has no frame: %v", c, err)
			}
		}
		s, err := Walk(b)
		check(t, b, err)
		if s.End > len(b) || err == nil && (s.End != len(b) || s.Frames == 0) || s.ChanceLog10 > 0 || s.ChanceLog10 < -300 {
			t.Fatalf("walk: %+v, %v", s, err)
		}
	})
}

func check(t *testing.T, b []byte, err error) {
	t.Helper()
	var e *hls.Error
	if err != nil && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(b)) || e.Reason == "") {
		t.Fatalf("error %#v", err)
	}
}
