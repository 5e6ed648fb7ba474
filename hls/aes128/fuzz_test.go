package aes128

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

// FuzzAES128Message: any bytes are refused or rekeyed to the same clear bytes in
// the same length; under another key they are refused.
func FuzzAES128Message(f *testing.F) {
	for _, s := range clipSegments(f)[:2] {
		f.Add(s.body[:2048])
	}
	for _, m := range clearMedia(f) {
		f.Add(m.b[:min(len(m.b), 4096)])
	}
	f.Add(tsMedia(3))
	old, now := clipKey(f), key.NewContentKey()
	iv := key.SequenceIV(1)
	f.Fuzz(func(t *testing.T, b []byte) {
		rekeyer := NewRekeyer(key.Change{Old: old, New: now})
		// As ciphertext it is almost always refused; as media it is encrypted first.
		if res, err := rekeyer.Message("raw", 0, iv, b); err == nil && !bytes.Equal(res.Out, stdEncrypt(now, iv, res.Clear)) {
			t.Fatal("wrong ciphertext")
		}
		src := stdEncrypt(old, iv, b)
		res, err := rekeyer.Message("s", 0, iv, src)
		if wrong, err := NewDecrypter(now).Message("s", 0, iv, src); err == nil && wrong.Evidence.Verdict() == evidence.Right {
			t.Fatal("a wrong key is right")
		}
		if err != nil {
			var e *hls.Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(src)) || e.Reason == "" {
				t.Fatalf("error %#v", err)
			}
			if res.Evidence.Verdict() == evidence.Right {
				t.Fatalf("right evidence beside %v", err)
			}
			return
		}
		if !bytes.Equal(res.Clear, b) || !bytes.Equal(res.Out, stdEncrypt(now, iv, b)) || len(res.Out) != len(src) {
			t.Fatal("wrong result")
		}
	})
}
