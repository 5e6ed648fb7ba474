package aes128

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

// clipKey is the one key of the library's AES-128 asset.
func clipKey(t testing.TB) key.ContentKey {
	t.Helper()
	digits, _, _ := strings.Cut(string(fixtures.HLSKeys()), " ")
	k, err := key.ParseContentKey(digits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type storedSegment struct {
	name string
	iv   key.IV
	body []byte
}

// clipSegments are the library's AES-128 segments, as its playlists lead to them.
func clipSegments(t testing.TB) []storedSegment {
	t.Helper()
	var out []storedSegment
	for name, b := range library(t, "clip/*/stream.m3u8") {
		p, err := hls.Parse(name, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Segments {
			file := path.Join(path.Dir(name), s.URI)
			body, err := fs.ReadFile(fixtures.Library(), file)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, storedSegment{file, s.IV(s.Keys[0]), body})
		}
	}
	return out
}

// stdEncrypt pads and encrypts by the standard library, the reference.
func stdEncrypt(k key.ContentKey, iv key.IV, media []byte) []byte {
	n := aes.BlockSize - len(media)%aes.BlockSize
	b := append(bytes.Clone(media), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(k.Block(), iv[:]).CryptBlocks(b, b)
	return b
}

func tsMedia(packets int) []byte {
	b := bytes.Repeat([]byte{0xa5}, packets*tsPacket)
	for i := 0; i < len(b); i += tsPacket {
		b[i] = tsSync
	}
	return b
}

func TestRekeyLibrarySegments(t *testing.T) {
	old, sums := clipKey(t), fixtures.ClearSHA256()
	change := key.Change{Old: old, New: key.NewContentKey(), NewKID: key.NewKID()}
	rekeyer, decrypter := NewRekeyer(change), NewDecrypter(change.New)
	for _, s := range clipSegments(t) {
		before := bytes.Clone(s.body)
		got, err := rekeyer.Message(s.name, 0, s.iv, s.body)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(got.Clear); hex.EncodeToString(sum[:]) != sums[s.name] {
			t.Errorf("%s: clear bytes are not those FFmpeg encrypted", s.name)
		}
		if got.Evidence.Verdict() != evidence.Right || got.Evidence.Bytes != int64(len(s.body)) {
			t.Errorf("%s: evidence %+v", s.name, got.Evidence)
		}
		if !bytes.Equal(got.Out, stdEncrypt(change.New, s.iv, got.Clear)) {
			t.Errorf("%s: new ciphertext differs from the standard library's", s.name)
		}
		if len(got.Out) != len(s.body) || !bytes.Equal(before, s.body) {
			t.Errorf("%s: length changed or source written", s.name)
		}
		again, err := decrypter.Message(s.name, 0, s.iv, got.Out)
		if err != nil || !bytes.Equal(again.Clear, got.Clear) || again.Out != nil {
			t.Errorf("%s: new segment does not decrypt to the old clear bytes: %v", s.name, err)
		}
	}
}

func TestSegmentSizes(t *testing.T) {
	change := key.Change{Old: key.NewContentKey(), New: key.NewContentKey()}
	rekeyer := NewRekeyer(change)
	iv := key.SequenceIV(3)
	// Around verifyChunk, and every length of padding.
	for _, n := range []int{1, 15, 16, 17, 188, verifyChunk - 16, verifyChunk - 1, verifyChunk, verifyChunk + 1, 3*verifyChunk + 7} {
		media := tsMedia(n/tsPacket + 1)[:n]
		got, err := rekeyer.Message("s", 0, iv, stdEncrypt(change.Old, iv, media))
		if err != nil || !bytes.Equal(got.Clear, media) || !bytes.Equal(got.Out, stdEncrypt(change.New, iv, media)) {
			t.Errorf("%d bytes: wrong result, err %v", n, err)
		}
	}
}

func TestWhatIsWrongWithASegment(t *testing.T) {
	k, iv := key.NewContentKey(), key.SequenceIV(9)
	good := stdEncrypt(k, iv, tsMedia(20))
	damage := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0xff
		return b
	}
	lost := tsMedia(20)
	lost[5*tsPacket] = 0
	badPad := tsMedia(20)
	badPad = append(badPad, bytes.Repeat([]byte{0}, 16-len(badPad)%16)...)
	cipher.NewCBCEncrypter(k.Block(), iv[:]).CryptBlocks(badPad, badPad)
	tests := []struct {
		name    string
		iv      key.IV
		src     []byte
		class   error
		verdict evidence.Verdict
		want    string
	}{
		{"empty", iv, nil, hls.ErrMalformed, evidence.Undecided, "0 bytes"},
		{"not whole blocks", iv, good[:len(good)-1], hls.ErrMalformed, evidence.Undecided, "multiple of 16"},
		{"truncated", iv, good[:len(good)-32], hls.ErrMalformed, evidence.Undecided, "truncated or damaged at its end"},
		{"padding 0", iv, badPad, hls.ErrMalformed, evidence.Undecided, "truncated or damaged at its end"},
		{"last block damaged", iv, damage(len(good) - 17), hls.ErrMalformed, evidence.Undecided, "truncated or damaged at its end"},
		{"first block damaged", iv, damage(0), hls.ErrMalformed, evidence.Undecided, "every TS packet but the first"},
		{"wrong IV", key.IV{1}, stdEncrypt(k, key.IV{}, tsMedia(20)), hls.ErrMalformed, evidence.Undecided, "every TS packet but the first"},
		{"lost sync", iv, stdEncrypt(k, iv, lost), hls.ErrMalformed, evidence.Undecided, "offset 940: malformed: TS sync byte lost in 1 of 20 packets"},
		{"WebVTT", iv, stdEncrypt(k, iv, []byte("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")), hls.ErrUnsupported, evidence.Undecided, "WebVTT"},
		{"ADTS", iv, stdEncrypt(k, iv, bytes.Repeat([]byte{0xff, 0xf1, 0x50}, 300)), hls.ErrUnsupported, evidence.Undecided, "packed audio"},
		{"ID3", iv, stdEncrypt(k, iv, []byte("ID3\x04")), hls.ErrUnsupported, evidence.Undecided, "packed audio"},
		{"fMP4", iv, stdEncrypt(k, iv, []byte("\x00\x00\x00\x18stypmsdh")), hls.ErrUnsupported, evidence.Undecided, "fMP4"},
		{"unknown", iv, stdEncrypt(k, iv, bytes.Repeat([]byte{1}, 999)), hls.ErrUnsupported, evidence.Undecided, "not MPEG-2 TS"},
		{"nothing but padding", iv, stdEncrypt(k, iv, nil), hls.ErrUnsupported, evidence.Undecided, "not MPEG-2 TS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, run := range []func() (Result, error){
				func() (Result, error) { return NewDecrypter(k).Message("s.ts", 0, tt.iv, tt.src) },
				func() (Result, error) {
					return NewRekeyer(key.Change{Old: k, New: key.NewContentKey()}).Message("s.ts", 0, tt.iv, tt.src)
				},
			} {
				res, err := run()
				var e *hls.Error
				if !errors.Is(err, tt.class) || !errors.As(err, &e) || e.Object != "s.ts" || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want class %v and %q", err, tt.class, tt.want)
				}
				if res.Evidence.Verdict() != tt.verdict || res.Out != nil || res.Clear != nil {
					t.Errorf("result beside the error is %+v", res)
				}
			}
		})
	}
}

// TestWrongKeys counts what wrong keys do to a real segment: none passes, and
// all but about one in 255 (right padding by chance) are called wrong.
func TestWrongKeys(t *testing.T) {
	s := clipSegments(t)[0]
	const tries = 2000
	wrong := 0
	for i := range tries {
		raw := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		k, err := key.ContentKeyFromBytes(raw[:16])
		if err != nil {
			t.Fatal(err)
		}
		res, err := NewDecrypter(k).Message(s.name, 0, s.iv, s.body)
		switch {
		case err == nil:
			t.Fatalf("wrong key %d passes", i)
		case errors.Is(err, hls.ErrWrongKey):
			wrong++
			if res.Evidence.Verdict() != evidence.Wrong {
				t.Fatalf("evidence %+v beside hls.ErrWrongKey", res.Evidence)
			}
		case !errors.Is(err, hls.ErrUnsupported):
			t.Fatalf("wrong key %d: %v", i, err)
		}
	}
	if wrong < tries*98/100 {
		t.Errorf("%d of %d wrong keys are called wrong", wrong, tries)
	}
}

func TestUnusableKeys(t *testing.T) {
	k := key.NewContentKey()
	src := stdEncrypt(k, key.IV{}, tsMedia(1))
	for name, c := range map[string]key.Change{
		"no old": {New: k}, "no new": {Old: k}, "same": {Old: k, New: k},
	} {
		if _, err := NewRekeyer(c).Message("s", 0, key.IV{}, src); !errors.Is(err, hls.ErrMissingKey) {
			t.Errorf("%s: error %v, want hls.ErrMissingKey", name, err)
		}
	}
	if _, err := NewDecrypter(key.ContentKey{}).Message("s", 0, key.IV{}, src); !errors.Is(err, hls.ErrMissingKey) {
		t.Errorf("decrypter: error %v, want hls.ErrMissingKey", err)
	}
}

func TestSegmentAllocatesNothing(t *testing.T) {
	k := key.NewContentKey()
	src := stdEncrypt(k, key.IV{}, tsMedia(100))
	r := NewRekeyer(key.Change{Old: k, New: key.NewContentKey()})
	n := testing.AllocsPerRun(10, func() {
		if _, err := r.Message("s", 0, key.IV{}, src); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a segment, want 0", n)
	}
}

// library reads the embedded library's files that match.
func library(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(fixtures.Library(), pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("glob %q: %d files, err %v", pattern, len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := fs.ReadFile(fixtures.Library(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}
