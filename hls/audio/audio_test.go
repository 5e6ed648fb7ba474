package audio

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/hls"
)

// samples are the files of testdata and the frame sizes FFmpeg's demuxers found in
// them.
func samples(t testing.TB) map[string][]int {
	t.Helper()
	b, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]int{}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		for _, f := range fields[1:] {
			n := 0
			if _, err := fmt.Sscan(f, &n); err != nil {
				t.Fatal(err)
			}
			out[fields[0]] = append(out[fields[0]], n)
		}
	}
	if len(out) < 9 {
		t.Fatalf("%d samples", len(out))
	}
	return out
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFramesAsFFmpegDividesThem(t *testing.T) {
	codecs := map[string]Codec{".aac": AAC, ".mp3": MP3, ".ac3": AC3, ".eac3": EAC3}
	headers := map[Codec]int{AAC: 7, MP3: 4}
	for name, sizes := range samples(t) {
		want, b := codecs[filepath.Ext(name)], sample(t, name)
		at, err := ID3(b)
		if err != nil || (at > 0) != (name == "tagged.mp3") {
			t.Errorf("%s: tags of %d bytes, %v", name, at, err)
		}
		if name == "tagged.mp3" { // FFmpeg takes the frame with the Xing table as no packet
			n, _, err := Frame(MP3, b[at:])
			if err != nil {
				t.Fatal(err)
			}
			at += n
		}
		for i, size := range sizes {
			c, ok := Detect(b[at:])
			if !ok || c != want {
				t.Fatalf("%s: frame %d is %v, %t", name, i, c, ok)
			}
			n, h, err := Frame(c, b[at:])
			if err != nil || n != size || h != headers[c] {
				t.Fatalf("%s: frame %d is %d bytes with a header of %d, %v; FFmpeg says %d", name, i, n, h, err, size)
			}
			at += n
		}
		if rest := b[at:]; len(rest) != 0 && !bytes.HasPrefix(rest, []byte("TAG")) {
			t.Errorf("%s: %d bytes are left", name, len(rest))
		}
		s, err := Walk(b)
		if err != nil || s.Codec != want || s.Frames < len(sizes) || s.End != len(b) || s.ChanceLog10 > -40 {
			t.Errorf("%s: walked %+v, %v", name, s, err)
		}
	}
}

func TestFrameHeaders(t *testing.T) {
	tests := []struct {
		name           string
		codec          Codec
		b              string
		length, header int
		class          error
	}{
		{"ADTS without CRC", AAC, "\xff\xf1\x50\x80\x2e\x7f\xfc", 371, 7, nil},
		{"ADTS with CRC", AAC, "\xff\xf0\x50\x80\x2e\x7f\xfc", 371, 9, nil},
		{"ADTS of MPEG-2", AAC, "\xff\xf9\x50\x80\x2e\x7f\xfc", 371, 7, nil},
		{"ADTS longest", AAC, "\xff\xf1\x50\x83\xff\xff\xfc", 8191, 7, nil},
		{"ADTS nothing but header", AAC, "\xff\xf1\x50\x80\x00\xff\xfc", 7, 7, nil},
		{"ADTS shorter than its CRC", AAC, "\xff\xf0\x50\x80\x01\x1f\xfc", 0, 0, hls.ErrMalformed},
		{"ADTS layer", AAC, "\xff\xf5\x50\x80\x2e\x7f\xfc", 0, 0, hls.ErrMalformed},
		{"ADTS sampling frequency 13", AAC, "\xff\xf1\x74\x80\x2e\x7f\xfc", 0, 0, hls.ErrMalformed},
		{"ADTS cut", AAC, "\xff\xf1\x50\x80\x2e\x7f", 0, 0, hls.ErrMalformed},
		{"MPEG-1 128k 44.1", MP3, "\xff\xfb\x90\x00", 417, 4, nil},
		{"MPEG-1 padded", MP3, "\xff\xfb\x92\x00", 418, 4, nil},
		{"MPEG-1 320k 32", MP3, "\xff\xfb\xe8\x00", 1440, 4, nil},
		{"MPEG-1 with CRC", MP3, "\xff\xfa\x90\x00", 417, 4, nil},
		{"MPEG-2 64k 22.05", MP3, "\xff\xf3\x80\x00", 208, 4, nil},
		{"MPEG-2.5 8k 8", MP3, "\xff\xe3\x18\x00", 72, 4, nil},
		{"MP3 ID reserved", MP3, "\xff\xeb\x90\x00", 0, 0, hls.ErrMalformed},
		{"MPEG Layer II", MP3, "\xff\xfd\x90\x00", 0, 0, hls.ErrMalformed},
		{"MP3 bitrate 15", MP3, "\xff\xfb\xf0\x00", 0, 0, hls.ErrMalformed},
		{"MP3 sampling 3", MP3, "\xff\xfb\x9c\x00", 0, 0, hls.ErrMalformed},
		{"MP3 emphasis 2", MP3, "\xff\xfb\x90\x02", 0, 0, hls.ErrMalformed},
		{"MP3 free format", MP3, "\xff\xfb\x00\x00", 0, 0, hls.ErrUnsupported},
		{"MP3 cut", MP3, "\xff\xfb\x90", 0, 0, hls.ErrMalformed},
		{"AC-3 48 kHz 640k", AC3, "\x0b\x77..\x25\x40", 2560, 0, nil},
		{"AC-3 44.1 kHz 32k", AC3, "\x0b\x77..\x40\x40", 138, 0, nil},
		{"AC-3 44.1 kHz 32k, the longer", AC3, "\x0b\x77..\x41\x40", 140, 0, nil},
		{"AC-3 44.1 kHz 640k", AC3, "\x0b\x77..\x64\x40", 2786, 0, nil},
		{"AC-3 32 kHz 640k", AC3, "\x0b\x77..\xa5\x40", 3840, 0, nil},
		{"AC-3 of bsid 10", AC3, "\x0b\x77..\x25\x50", 2560, 0, nil},
		{"AC-3 fscod 3", AC3, "\x0b\x77..\xc0\x40", 0, 0, hls.ErrMalformed},
		{"AC-3 frmsizecod 38", AC3, "\x0b\x77..\x26\x40", 0, 0, hls.ErrMalformed},
		{"E-AC-3 asked as AC-3", AC3, "\x0b\x77\x00\x7f\x34\x80", 0, 0, hls.ErrMalformed},
		{"AC-3 cut", AC3, "\x0b\x77..\x25", 0, 0, hls.ErrMalformed},
		{"E-AC-3", EAC3, "\x0b\x77\x00\x7f\x34\x80", 256, 0, nil},
		{"E-AC-3 of bsid 11", EAC3, "\x0b\x77\x00\x7f\x34\x58", 256, 0, nil},
		{"E-AC-3 dependent", EAC3, "\x0b\x77\x47\xff\x34\x80", 4096, 0, nil},
		{"E-AC-3 low rate", EAC3, "\x0b\x77\x00\x7f\xe4\x80", 256, 0, nil},
		{"E-AC-3 strmtyp 3", EAC3, "\x0b\x77\xc0\x7f\x34\x80", 0, 0, hls.ErrMalformed},
		{"E-AC-3 fscod2 3", EAC3, "\x0b\x77\x00\x7f\xf4\x80", 0, 0, hls.ErrMalformed},
		{"E-AC-3 too short", EAC3, "\x0b\x77\x00\x02\x34\x80", 0, 0, hls.ErrMalformed},
		{"E-AC-3 bsid 17", EAC3, "\x0b\x77\x00\x7f\x34\x88", 0, 0, hls.ErrMalformed},
		{"no codec", 0, "\x0b\x77\x00\x7f\x34\x88", 0, 0, hls.ErrUnsupported},
		{"nothing", AAC, "", 0, 0, hls.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, h, err := Frame(tt.codec, []byte(tt.b))
			if n != tt.length || h != tt.header || !errors.Is(err, tt.class) {
				t.Errorf("%d bytes, header %d, %v; want %d, %d, %v", n, h, err, tt.length, tt.header, tt.class)
			}
			if c, ok := Detect([]byte(tt.b)); ok && tt.class == nil && c != tt.codec {
				t.Errorf("detected as %v", c)
			} else if ok != (tt.class == nil) && tt.name != "E-AC-3 asked as AC-3" {
				t.Errorf("detected %t", ok)
			}
		})
	}
}

func TestID3(t *testing.T) {
	tests := []struct {
		name, b string
		n       int
		class   error
	}{
		{"none", "\xff\xf1", 0, nil},
		{"letters cut", "ID", 0, nil},
		{"empty", "ID3\x04\x00\x00\x00\x00\x00\x00", 10, nil},
		{"one", "ID3\x04\x00\x00\x00\x00\x00\x02..rest", 12, nil},
		{"synchsafe", "ID3\x03\x00\x00\x00\x00\x01\x00" + strings.Repeat(".", 128), 138, nil},
		{"footer", "ID3\x04\x00\x10\x00\x00\x00\x01.3DI\x04\x00\x10\x00\x00\x00\x01rest", 21, nil},
		{"no footer in 2.3", "ID3\x03\x00\x10\x00\x00\x00\x01.", 11, nil},
		{"two", "ID3\x04\x00\x00\x00\x00\x00\x00ID3\x04\x00\x00\x00\x00\x00\x01.", 21, nil},
		{"header cut", "ID3\x04\x00\x00\x00\x00\x00", 0, hls.ErrMalformed},
		{"body cut", "ID3\x04\x00\x00\x00\x00\x00\x02.", 0, hls.ErrMalformed},
		{"footer cut", "ID3\x04\x00\x10\x00\x00\x00\x01.3DI", 0, hls.ErrMalformed},
		{"second cut", "ID3\x04\x00\x00\x00\x00\x00\x00ID3", 0, hls.ErrMalformed},
		{"not synchsafe", "ID3\x04\x00\x00\x80\x00\x00\x00", 0, hls.ErrMalformed},
		{"version 255", "ID3\xff\x00\x00\x00\x00\x00\x00", 0, hls.ErrMalformed},
	}
	for _, tt := range tests {
		if n, err := ID3([]byte(tt.b)); n != tt.n || !errors.Is(err, tt.class) {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, n, err, tt.n, tt.class)
		}
	}
}

func TestWalkSaysWhereItEnds(t *testing.T) {
	b := sample(t, "aac.aac")
	sizes := samples(t)["aac.aac"]
	damaged := bytes.Clone(b)
	damaged[sizes[0]+sizes[1]] ^= 1
	tag := "ID3\x04\x00\x00\x00\x00\x00\x02.."
	tests := []struct {
		name        string
		b           []byte
		frames, end int
		err         string
	}{
		{"tag between frames", []byte(tag + string(b[:sizes[0]]) + tag + string(b[sizes[0]:])), len(sizes), len(b) + 2*len(tag), ""},
		{"last frame cut", b[:len(b)-1], len(sizes) - 1, len(b) - sizes[len(sizes)-1], "cut after 204"},
		{"last header cut", b[:sizes[0]+3], 1, sizes[0], "no AAC (ADTS) frame begins here, after 1"},
		{"damaged", damaged, 2, sizes[0] + sizes[1], "no AAC (ADTS) frame begins here, after 2"},
		{"E-AC-3 after AC-3", append(bytes.Clone(sample(t, "48000.ac3")), sample(t, "48000.eac3")...), 10, 1920 + 1280, ""},
		{"AC-3 after AAC", append(bytes.Clone(b), sample(t, "48000.ac3")...), len(sizes), len(b), "after 12"},
		{"nothing", nil, 0, 0, "no audio frame"},
		{"a tag alone", []byte(tag), 0, len(tag), "no audio frame"},
		{"tag cut", []byte(tag[:11]), 0, 0, "ID3 tag is cut"},
		{"something else", []byte("RIFF"), 0, 0, "no tag and no audio frame"},
		{"ID3v1 after AAC", append(bytes.Clone(b), append([]byte("TAG"), make([]byte, 125)...)...), len(sizes), len(b), "after 12"},
	}
	for _, tt := range tests {
		s, err := Walk(tt.b)
		var e *hls.Error
		if (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || !errors.As(err, &e) || e.Offset != int64(s.End)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
		if s.Frames != tt.frames || s.End != tt.end {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}

// TestOdds counts all headers: the odds that the evidence rests on.
func TestOdds(t *testing.T) {
	count := func(c Codec, fixed int, vary func(b []byte, i uint32), bits int) {
		t.Helper()
		ok, lengths := 0, map[int]int{}
		b := make([]byte, 7)
		for i := range uint32(1) << bits {
			vary(b, i)
			if n, _, err := Frame(c, b); err == nil {
				ok++
				lengths[n]++
			}
		}
		most := 0
		for _, n := range lengths {
			most = max(most, n)
		}
		first := math.Log10(float64(ok)) - float64(bits+fixed)*log2
		end := math.Log10(float64(most) / float64(ok))
		if got := c.odds(); math.Abs(got.first-first) > 0.01 || got.end < end-0.001 || got.end > end+0.5 {
			t.Errorf("%s: %+v, counted 10^%.3f, and 10^%.3f of them of one length", c, got, first, end)
		}
	}
	// Bits that are not varied are either fixed (weighed as such) or read by no check.
	count(MP3, 8, func(b []byte, i uint32) { b[0], b[1], b[2], b[3] = 0xff, byte(i>>10), byte(i>>2), byte(i&3) }, 18)
	count(AC3, 16, func(b []byte, i uint32) { b[0], b[1], b[4], b[5] = 0x0b, 0x77, byte(i>>8), byte(i) }, 16)
	count(EAC3, 16, func(b []byte, i uint32) {
		b[0], b[1], b[2], b[3], b[4], b[5] = 0x0b, 0x77, byte(i>>20)<<6|byte(i>>17&7), byte(i>>9), byte(i>>5)<<4, byte(i)<<3
	}, 22)
	count(AAC, 14, func(b []byte, i uint32) {
		b[0], b[1], b[2], b[3], b[4], b[5] = 0xff, 0xf1, byte(i>>13)<<2, byte(i>>11&3), byte(i>>3), byte(i)<<5
	}, 17)
}
