package aes128

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

func TestWhatIsWrongWithAMessage(t *testing.T) {
	k, iv := key.NewContentKey(), key.SequenceIV(9)
	enc := func(parts ...string) []byte { return stdEncrypt(k, iv, []byte(strings.Join(parts, ""))) }
	raw := func(b []byte) []byte { // without padding
		b = bytes.Clone(b)
		cipher.NewCBCEncrypter(k.Block(), iv[:]).CryptBlocks(b, b)
		return b
	}
	ts := tsMedia(20)
	good := stdEncrypt(k, iv, ts)
	damage := func(src []byte, at int) []byte {
		b := bytes.Clone(src)
		b[at] ^= 0xff
		return b
	}
	lost := bytes.Clone(ts)
	lost[5*tsPacket] = 0
	styp := string(box("styp", []byte("msdh....msdh")))
	mdat := string(box("mdat", bytes.Repeat([]byte("media"), 60)))
	aac := clearMedia(t)["aac.aac"].b
	tests := []struct {
		name  string
		iv    key.IV
		src   []byte
		class error
		at    int64
		want  string
	}{
		{"empty", iv, nil, hls.ErrMalformed, 0, "message has 0 bytes"},
		{"not whole blocks", iv, good[:len(good)-1], hls.ErrMalformed, 3775, "multiple of 16"},
		{"wrong key", key.IV{}, stdEncrypt(key.NewContentKey(), iv, make([]byte, 16)), hls.ErrWrongKey, 0, "neither known media nor PKCS #7 padding"},
		{"TS truncated", iv, good[:len(good)-32], hls.ErrMalformed, 3728, "MPEG-2 TS is right and the PKCS #7 padding is not: the message is truncated"},
		{"TS with padding 0", iv, raw(append(bytes.Clone(ts), make([]byte, 16)...)), hls.ErrMalformed, 3760, "truncated or damaged at its end"},
		{"TS, last block damaged", iv, damage(good, len(good)-17), hls.ErrMalformed, 3760, "truncated or damaged at its end"},
		{"TS, first block damaged", iv, damage(good, 0), hls.ErrMalformed, 0, "MPEG-2 TS is right after its first block: the IV is not"},
		{"TS, wrong IV", key.IV{1}, good, hls.ErrMalformed, 0, "MPEG-2 TS is right after its first block: the IV is not"},
		{"TS, wrong IV and truncated", key.IV{1}, good[:len(good)-32], hls.ErrMalformed, 0, "right but for its first block and its padding"},
		{"TS, lost sync", iv, stdEncrypt(k, iv, lost), hls.ErrMalformed, 940, "TS sync byte lost in 1 of 20 packets"},
		{"TS, lost sync and truncated", iv, stdEncrypt(k, iv, lost)[:3728], hls.ErrMalformed, 940, "right up to here and the PKCS #7 padding is not"},
		{"TS cut before it was encrypted", iv, stdEncrypt(k, iv, ts[:len(ts)-8]), hls.ErrMalformed, 19 * tsPacket, "last TS packet is cut after 180"},
		{"fMP4 truncated", iv, enc(styp, mdat)[:320], hls.ErrMalformed, 304, "fMP4 is right and the PKCS #7 padding is not"},
		{"fMP4 longer than its boxes", iv, enc(styp, mdat, "1234"), hls.ErrMalformed, 328, "box header is cut after 4 bytes"},
		{"fMP4, then no box", iv, enc(styp, mdat, "\x00\x00\x00\x08\x01\x02\x03\x04"), hls.ErrMalformed, 328, "no box begins here"},
		{"fMP4, box shorter than its header", iv, enc(styp, mdat, "\x00\x00\x00\x07free"), hls.ErrMalformed, 328, "shorter than its header"},
		{"fMP4, uuid shorter than its header", iv, enc(styp, mdat, "\x00\x00\x00\x10uuid12345678"), hls.ErrMalformed, 328, "shorter than its header"},
		{"fMP4, 64-bit size cut", iv, enc(styp, mdat, "\x00\x00\x00\x01mdat"), hls.ErrMalformed, 328, "cut before its 64-bit size"},
		{"fMP4, 64-bit size past the end", iv, enc(styp, "\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff..."), hls.ErrMalformed, 20, "is cut after 19"},
		{"fMP4 cut before it was encrypted", iv, enc(styp, mdat[:299]), hls.ErrMalformed, 20, `"mdat" box of 308 bytes is cut after 299`},
		{"ADTS cut before it was encrypted", iv, enc(string(aac[:len(aac)-1])), hls.ErrMalformed, int64(len(aac) - 205), "AAC (ADTS) frame of 205 bytes is cut after 204"},
		{"ADTS truncated", iv, enc(string(aac))[:len(aac)/16*16-16], hls.ErrMalformed, int64(len(aac)/16*16 - 32), "packed audio, AAC (ADTS) is right and the PKCS #7"},
		{"ADTS, second frame damaged", iv, damage(enc(string(aac)), 168), hls.ErrMalformed, 172, "no AAC (ADTS) frame begins here, after 1"},
		{"ID3 and AC-4", iv, enc(id3Tag, "\xac\x40\x01\x00...."), hls.ErrUnsupported, int64(len(id3Tag)), "ID3 tags, and then no frame of AAC"},
		{"ID3 alone", iv, enc(id3Tag), hls.ErrUnsupported, int64(len(id3Tag)), "ID3 tags, and then no frame of AAC"},
		{"ID3 cut", iv, enc(id3Tag[:40]), hls.ErrMalformed, 0, "ID3 tag is cut"},
		{"ID3 truncated", iv, enc(id3Tag, string(aac))[:48], hls.ErrMalformed, 32, "packed audio is right and the PKCS #7 padding is not"},
		{"WebVTT not UTF-8", iv, enc("WEBVTT\n\n00:00.000 --> 00:01.000\nna\xefve\n"), hls.ErrMalformed, 34, "the text is not UTF-8"},
		{"WebVTT truncated", iv, enc(string(webVTT(500)))[:480], hls.ErrMalformed, 464, "WebVTT is right and the PKCS #7 padding is not"},
		{"WebVTTs", iv, enc("WEBVTTs\n"), hls.ErrMalformed, 6, "WEBVTT is not followed by"},
		{"TTML", iv, enc(`<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml"/>`), hls.ErrUnsupported, 0, "no media that HLS knows"},
		{"MPEG Layer II", iv, enc("\xff\xfd\x90\x00", strings.Repeat(".", 500)), hls.ErrUnsupported, 0, "no media that HLS knows"},
		{"unknown", iv, stdEncrypt(k, iv, bytes.Repeat([]byte{1}, 999)), hls.ErrUnsupported, 0, "one wrong key in 255"},
		{"nothing but padding", iv, enc(), hls.ErrUnsupported, 0, "nothing but padding"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, run := range []func() (Result, error){
				func() (Result, error) { return NewDecrypter(k).Message("s.ts", 100, tt.iv, tt.src) },
				func() (Result, error) {
					return NewRekeyer(key.Change{Old: k, New: key.NewContentKey()}).Message("s.ts", 100, tt.iv, tt.src)
				},
			} {
				res, err := run()
				var e *hls.Error
				if !errors.Is(err, tt.class) || !errors.As(err, &e) || e.Object != "s.ts" || e.Offset != 100+tt.at || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want class %v at %d and %q", err, tt.class, 100+tt.at, tt.want)
				}
				verdict := evidence.Undecided
				if errors.Is(tt.class, hls.ErrWrongKey) {
					verdict = evidence.Wrong
				}
				if res.Evidence.Verdict() != verdict || res.Out != nil || res.Clear != nil {
					t.Errorf("result beside the error is %+v", res)
				}
			}
		})
	}
}

func TestPadding(t *testing.T) {
	for n := range 256 {
		b := append(make([]byte, aes.BlockSize), bytes.Repeat([]byte{byte(n)}, aes.BlockSize)...)
		got, ok := padding(b)
		if ok != (n >= 1 && n <= aes.BlockSize) || ok && got != n {
			t.Errorf("%d: %d, %t", n, got, ok)
		}
		if n > 1 && n <= aes.BlockSize {
			b[len(b)-n]++
			if _, ok := padding(b); ok {
				t.Errorf("%d, the first wrong: right", n)
			}
		}
	}
}
