package sampleaes

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"
)

// BenchmarkSegment rekeys segments of a few megabytes, made of the samples again
// and again, next to what bounds it: cbc is CBC decryption and encryption alone,
// by crypto/cipher, of as many protected bytes. MB/s is of whole segments.
func BenchmarkSegment(b *testing.B) {
	change, iv := testKeys()
	for _, name := range []string{"video-1.ts", "aac-1.ts", "ac3-1.ts"} {
		src := repeatTS(samples(b, name)[name], 300)
		r := NewRekeyer(change)
		res, err := r.Segment(name, 0, iv, src)
		if err != nil {
			b.Fatal(err)
		}
		protected := bytes.Repeat([]byte{7}, int(res.Evidence.Bytes)/aes.BlockSize*aes.BlockSize)
		b.Run(name+"/rekey", func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Segment(name, 0, iv, src); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/cbc", func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			old, now := change.Old.Block(), change.New.Block()
			for b.Loop() {
				cipher.NewCBCDecrypter(old, iv[:]).CryptBlocks(protected, protected)
				cipher.NewCBCEncrypter(now, iv[:]).CryptBlocks(protected, protected)
			}
		})
	}
}

// repeatTS repeats the media packets of a segment with counters that go on.
func repeatTS(b []byte, times int) []byte {
	out := bytes.Clone(b[:2*packetSize])
	counter := byte(0)
	for range times {
		for at := 2 * packetSize; at < len(b); at += packetSize {
			p := bytes.Clone(b[at : at+packetSize])
			p[3] = p[3]&0xf0 | counter
			counter = (counter + 1) & 15
			out = append(out, p...)
		}
	}
	return out
}
