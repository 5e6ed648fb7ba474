package sampleaes

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/hls/audio"
	"github.com/seed-6133abe0/rekey/key"
)

// proven rekeys b and checks what is said of it; what is refused is an *hls.Error.
func proven(t *testing.T, b []byte) (Result, bool) {
	t.Helper()
	change, iv := testKeys()
	res, err := NewRekeyer(change).Segment("s", 100, iv, b)
	if err != nil {
		var e *hls.Error
		if !errors.As(err, &e) || !errors.Is(err, hls.ErrMalformed) && !errors.Is(err, hls.ErrUnsupported) ||
			e.Offset < 100 || e.Offset > 100+int64(len(b)) {
			t.Fatalf("refused with %v", err)
		}
		return res, false
	}
	again, err := NewDecrypter(change.New).Segment("s", 100, iv, res.Out)
	if err != nil || !bytes.Equal(again.Clear, res.Clear) || again.Frames != res.Frames {
		t.Fatalf("not the same clear form: %v", err)
	}
	more := int64(0)
	for i, g := range res.Grown {
		if more += g.By; g.By <= 0 || g.At < 100 || g.At > 100+int64(len(b)) || i > 0 && g.At <= res.Grown[i-1].At {
			t.Fatalf("growth %+v", res.Grown)
		}
	}
	if len(res.Out) != len(b)+int(more) {
		t.Fatalf("%d bytes, were %d, growth %d", len(res.Out), len(b), more)
	}
	back, err := NewRekeyer(key.Change{Old: change.New, New: change.Old}).Segment("s", 100, iv, bytes.Clone(res.Out))
	if err != nil || !bytes.Equal(back.Clear, res.Clear) {
		t.Fatalf("not back: %v", err)
	}
	if b[0] != syncByte && !bytes.Equal(back.Out, b) {
		t.Fatal("the old key does not give the old audio")
	}
	return res, true
}

func FuzzSegment(f *testing.F) {
	for _, b := range media(f) {
		f.Add(b, 0, []byte(nil))
		f.Add(b, 400, []byte{1, 2, 3})
	}
	for _, b := range samples(f, "video-*.ts") {
		f.Add(b[:20*packetSize], 3*packetSize+5, []byte{0x10})
		f.Add(stuffHeader(f, b, 0), 376+20, []byte{0, 0, 1})
	}
	f.Fuzz(func(t *testing.T, b []byte, at int, with []byte) {
		if n := len(b); n > 0 && at >= 0 {
			b = bytes.Clone(b)
			copy(b[at%n:], with)
		}
		proven(t, b)
	})
}

// FuzzADTS makes frames of what it is given, so that lengths and headers hold.
func FuzzADTS(f *testing.F) {
	for _, b := range samples(f, "packed-*.aac") {
		f.Add(b[100:400], 31, true)
		f.Add(b[200:900], 48, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int, crc bool) {
		var src []byte
		frames := 0
		for size = max(1, size%2000); len(b) > 0; frames++ {
			n := min(size, len(b))
			header := []byte{0xff, 0xf1, 0x50, 0x80, 0, 0x1f, 0xfc}
			if crc {
				header = append(header, 0, 0)
				header[1] = 0xf0
			}
			whole := len(header) + n
			header[3] |= byte(whole >> 11)
			header[4], header[5] = byte(whole>>3), byte(whole<<5)|0x1f
			if l, h, err := audio.Frame(audio.AAC, header); err != nil || l != whole || h != len(header) {
				t.Fatalf("frame of %d, header of %d, %v", l, h, err)
			}
			src = append(append(src, header...), b[:n]...)
			b = b[n:]
		}
		res, ok := proven(t, src)
		if len(src) == 0 {
			return
		}
		if !ok || len(res.Out) != len(src) || len(res.Grown) > 0 || res.Frames > frames {
			t.Fatalf("refused, or %d frames of %d", res.Frames, frames)
		}
	})
}
