package aes128

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

const id3Tag = "ID3\x04\x00\x00\x00\x00\x00\x3fPRIV\x00\x00\x00\x35\x00\x00com.apple.streaming.transportStreamTimestamp\x00\x00\x00\x00\x00\x00\x01\x5f\x90"

// webVTT is a WebVTT file of n bytes.
func webVTT(n int) []byte {
	b := "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n"
	for i := 0; len(b) < n; i++ {
		b += "00:00.000 --> 00:01.000\nline é " + strings.Repeat("x", i%9) + "\n\n"
	}
	if b[n-1] == "é"[0] { // no half character
		return append([]byte(b[:n-1]), '.')
	}
	return []byte(b[:n])
}

func box(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, kind...), body...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// clearMedia is media of every format and what it is recognized as. It is made by
// others' tools, as far as it comes from files.
func clearMedia(t testing.TB) map[string]struct {
	b    []byte
	want string
} {
	t.Helper()
	out := map[string]struct {
		b    []byte
		want string
	}{}
	add := func(name, want string, b []byte) {
		out[name] = struct {
			b    []byte
			want string
		}{b, want}
	}
	for _, s := range clipSegments(t)[:2] {
		b := bytes.Clone(s.body)
		cipher.NewCBCDecrypter(clipKey(t).Block(), s.iv[:]).CryptBlocks(b, b)
		add(s.name, "MPEG-2 TS", b[:len(b)-int(b[len(b)-1])])
	}
	files := library(t, "short/*/*.m*")
	for name, b := range files {
		add(name, "fMP4", b)
	}
	init, segment := files["short/audio/init.mp4"], files["short/audio/001.m4s"]
	add("fMP4 with its init section", "fMP4", join(init, segment))
	mdat := bytes.Repeat([]byte("media"), 300)
	start := join(box("emsg", make([]byte, 40)), box("prft", make([]byte, 24)), box("vndr", make([]byte, 9)), box("moof", make([]byte, 99)))
	add("fMP4, mdat to the end", "fMP4", join(start, []byte("\x00\x00\x00\x00mdat"), mdat))
	add("fMP4, 64-bit mdat", "fMP4", join(start, []byte("\x00\x00\x00\x01mdat"), binary.BigEndian.AppendUint64(nil, uint64(16+len(mdat))), mdat))
	add("fMP4, uuid", "fMP4", join(box("uuid", mdat[:16]), start, box("mdat", mdat)))
	names, err := filepath.Glob("../audio/testdata/*.*3")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d samples of audio, %v", len(names), err)
	}
	codecs := map[string]string{".aac": "AAC (ADTS)", ".mp3": "MP3", ".ac3": "AC-3", ".eac3": "E-AC-3"}
	for _, name := range append(names, "../audio/testdata/aac.aac") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := "packed audio, " + codecs[filepath.Ext(name)]
		add(filepath.Base(name), want, b)
		add(filepath.Base(name)+" with ID3", want, join([]byte(id3Tag), b))
	}
	add("WebVTT", "WebVTT", webVTT(1500))
	add("WebVTT with BOM", "WebVTT", join([]byte("\xef\xbb\xbf"), webVTT(1500)))
	add("WebVTT with CRLF", "WebVTT", bytes.ReplaceAll(webVTT(1500), []byte("\n"), []byte("\r\n")))
	return out
}

func TestEveryFormat(t *testing.T) {
	change := key.Change{Old: key.NewContentKey(), New: key.NewContentKey()}
	rekeyer, iv := NewRekeyer(change), key.SequenceIV(7)
	for name, m := range clearMedia(t) {
		if s := recognize(m.b); s.format != m.want || !s.whole {
			t.Errorf("%s is recognized as %+v", name, s)
		}
		src := stdEncrypt(change.Old, iv, m.b)
		got, err := rekeyer.Message(name, 0, iv, src)
		if err != nil || !bytes.Equal(got.Clear, m.b) || !bytes.Equal(got.Out, stdEncrypt(change.New, iv, m.b)) {
			t.Errorf("%s: wrong result, err %v", name, err)
			continue
		}
		if len(m.b) < 600 || got.Evidence.Verdict() != evidence.Right || got.Evidence.Bytes != int64(len(src)) {
			t.Errorf("%s: %d bytes, evidence %+v", name, len(m.b), got.Evidence)
		}
	}
}

// TestWrongKeysOfEveryFormat counts what wrong keys do: none passes, and all but
// about one in 255 (right padding by chance) are called wrong.
func TestWrongKeysOfEveryFormat(t *testing.T) {
	const tries = 300
	random := rand.NewChaCha8([32]byte{1})
	for name, m := range clearMedia(t) {
		iv := key.SequenceIV(7)
		src := stdEncrypt(key.NewContentKey(), iv, m.b[:min(len(m.b), 30*tsPacket)])
		wrong := 0
		for i := range tries {
			var raw [16]byte
			_, _ = random.Read(raw[:])
			k, err := key.ContentKeyFromBytes(raw[:])
			if err != nil {
				t.Fatal(err)
			}
			res, err := NewDecrypter(k).Message(name, 0, iv, src)
			switch {
			case errors.Is(err, hls.ErrWrongKey):
				wrong++
				if res.Evidence.Verdict() != evidence.Wrong {
					t.Fatalf("evidence %+v beside %v", res.Evidence, err)
				}
			case !errors.Is(err, hls.ErrUnsupported) || res.Evidence.Verdict() != evidence.Undecided:
				t.Fatalf("%s: wrong key %d gives %v, %+v", name, i, err, res.Evidence)
			}
		}
		if wrong < tries*97/100 {
			t.Errorf("%s: %d of %d wrong keys are called wrong", name, wrong, tries)
		}
	}
}

func TestWrongIVOfEveryFormat(t *testing.T) {
	k := key.NewContentKey()
	for name, m := range clearMedia(t) {
		src := stdEncrypt(k, key.IV{1, 2, 3, 4, 5, 6, 7, 8, 9}, m.b)
		res, err := NewDecrypter(k).Message(name, 0, key.IV{}, src)
		if !errors.Is(err, hls.ErrMalformed) || !strings.Contains(err.Error(), "right after its first block: the IV is not") || res.Evidence.Verdict() != evidence.Undecided {
			t.Errorf("%s: %v, %+v", name, err, res.Evidence)
		}
	}
}

// TestTruncationOfEveryFormat cuts messages at block boundaries: they are never
// accepted, and as long as enough is left they are not blamed on the key.
func TestTruncationOfEveryFormat(t *testing.T) {
	k, iv := key.NewContentKey(), key.SequenceIV(1)
	for name, m := range clearMedia(t) {
		if m.want == "WebVTT" || name == "fMP4, mdat to the end" {
			continue // these may end anywhere; the padding alone shows it
		}
		src := stdEncrypt(k, iv, m.b)
		for cut := 16; cut < len(src); cut += 16 * (1 + len(src)/5000) {
			_, err := NewDecrypter(k).Message(name, 0, iv, src[:len(src)-cut])
			if err == nil || len(src)-cut >= 1024 && !errors.Is(err, hls.ErrMalformed) {
				t.Fatalf("%s without its last %d of %d bytes: %v", name, cut, len(src), err)
			}
		}
	}
}

// TestDamageOfEveryFormat flips a bit of each block: what is accepted is what the
// message holds, and nothing is blamed on the key.
func TestDamageOfEveryFormat(t *testing.T) {
	k, iv := key.NewContentKey(), key.SequenceIV(1)
	now := key.NewContentKey()
	rekeyer := NewRekeyer(key.Change{Old: k, New: now})
	for name, m := range clearMedia(t) {
		src := stdEncrypt(k, iv, m.b)
		seen := 0
		for at := 3; at < len(src); at += 16 * (1 + len(src)/10000) {
			src[at] ^= 0x40
			res, err := rekeyer.Message(name, 0, iv, src)
			switch {
			case err != nil:
				seen++
				if errors.Is(err, hls.ErrWrongKey) {
					t.Fatalf("%s damaged at %d: %v", name, at, err)
				}
			case !bytes.Equal(res.Out, stdEncrypt(now, iv, res.Clear)):
				t.Fatalf("%s damaged at %d: wrong ciphertext", name, at)
			}
			src[at] ^= 0x40
		}
		if seen == 0 {
			t.Errorf("%s: no damage was seen", name)
		}
	}
}

// TestClearAlready gives messages that were never encrypted, in every length.
func TestClearAlready(t *testing.T) {
	rekeyer := NewRekeyer(key.Change{Old: key.NewContentKey(), New: key.NewContentKey()})
	for name, m := range clearMedia(t) {
		for cut := range min(16, len(m.b)-1024) {
			res, err := rekeyer.Message(name, 0, key.IV{}, m.b[:len(m.b)-cut])
			if !errors.Is(err, hls.ErrMalformed) || !strings.Contains(err.Error(), "clear media already ("+m.want+")") || res.Out != nil || res.Evidence.Verdict() != evidence.Undecided {
				t.Errorf("%s without its last %d bytes: %v, %+v", name, cut, err, res)
			}
		}
	}
}

// TestSmallMessages: what little there is says so.
func TestSmallMessages(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../audio/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name    string
		b       []byte
		chance  float64 // log10, without padding and the number of formats
		verdict evidence.Verdict
	}{
		{"a TS packet", tsMedia(1), -2.41, evidence.Undecided},
		{"three TS packets", tsMedia(3), -7.22, evidence.Undecided},
		{"four TS packets", tsMedia(4), -9.63, evidence.Right},
		{"an empty mdat", box("mdat", nil), -8.40 - 9.63, evidence.Right},
		{"an ftyp and a moov", join(box("ftyp", make([]byte, 16)), box("moov", make([]byte, 668))), -8.40 - 6.79 - 8.40 - 9.63, evidence.Right},
		{"WEBVTT alone", []byte("WEBVTT"), -14.45, evidence.Right},
		{"an ADTS frame", read("aac.aac")[:172], -4.30 - 3.91, evidence.Right},
		{"an MP3 frame", read("mpeg1.mp3")[:208], -4.35 - 1.32, evidence.Undecided},
		{"two MP3 frames", read("mpeg1.mp3")[:417], -4.35 - 6.62 + 0.30 - 1.32, evidence.Right},
		{"an AC-3 frame", read("48000.ac3")[:384], -5.63 - 4.82 - 1.36, evidence.Right},
		{"an E-AC-3 frame", read("48000.eac3")[:256], -5.70 - 4.82 - 3.31, evidence.Right},
	}
	for _, tt := range tests {
		k := key.NewContentKey()
		res, err := NewDecrypter(k).Message("s", 0, key.IV{}, stdEncrypt(k, key.IV{}, tt.b))
		if err != nil || res.Evidence.Verdict() != tt.verdict {
			t.Errorf("%s: %v, %v", tt.name, res.Evidence, err)
		}
		if want := tt.chance + math.Log10(7./255); math.Abs(res.Evidence.ForLog10-want) > 0.03 && tt.chance < -3 {
			t.Errorf("%s: evidence 10^%.2f, want 10^%.2f", tt.name, res.Evidence.ForLog10, want)
		}
	}
}
