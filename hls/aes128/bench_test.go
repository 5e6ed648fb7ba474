package aes128

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"os/exec"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// BenchmarkAES128 rekeys one 8 MB message, next to what bounds it: stdlib is CBC
// decryption and encryption alone by crypto/cipher, without padding, evidence or
// verifying; openssl is `openssl enc -d | openssl enc`, two processes.
func BenchmarkAES128(b *testing.B) {
	c := key.Change{Old: key.NewContentKey(), New: key.NewContentKey()}
	iv := key.SequenceIV(1)
	fmp4 := join(box("styp", make([]byte, 16)), box("moof", make([]byte, 2000)), box("mdat", make([]byte, 8_000_000)))
	src := stdEncrypt(c.Old, iv, tsMedia(8_000_000/tsPacket))
	b.Run("rekey-ts", func(b *testing.B) { benchmarkMessage(b, c, iv, src) })
	b.Run("rekey-fmp4", func(b *testing.B) { benchmarkMessage(b, c, iv, stdEncrypt(c.Old, iv, fmp4)) })
	b.Run("stdlib", func(b *testing.B) {
		clear, out := make([]byte, len(src)), make([]byte, len(src))
		dec, enc := c.Old.Block(), c.New.Block()
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			cipher.NewCBCDecrypter(dec, iv[:]).CryptBlocks(clear, src)
			cipher.NewCBCEncrypter(enc, iv[:]).CryptBlocks(out, clear)
		}
	})
	b.Run("openssl", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			clear := openssl(b, c.Old, iv, src, "-d")
			openssl(b, c.New, iv, clear)
		}
	})
}

func benchmarkMessage(b *testing.B, c key.Change, iv key.IV, src []byte) {
	r := NewRekeyer(c)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Message("s", 0, iv, src); err != nil {
			b.Fatal(err)
		}
	}
}

// openssl runs openssl enc. The keys are made by the benchmark: a real key never
// goes into an argument list.
func openssl(b *testing.B, k key.ContentKey, iv key.IV, in []byte, args ...string) []byte {
	raw := k.RevealSecretBytes()
	args = append([]string{"enc", "-aes-128-cbc", "-K", hex.EncodeToString(raw[:]), "-iv", hex.EncodeToString(iv[:])}, args...)
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(in)
	var out bytes.Buffer
	out.Grow(len(in) + 512)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		b.Fatalf("openssl %v: %v", args[:2], err)
	}
	return out.Bytes()
}
