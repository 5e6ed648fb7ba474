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

func TestMessageSizes(t *testing.T) {
	change := key.Change{Old: key.NewContentKey(), New: key.NewContentKey()}
	rekeyer := NewRekeyer(change)
	iv := key.SequenceIV(3)
	for n := 6; n < 100; n++ { // every length of padding
		media := webVTT(n)
		got, err := rekeyer.Message("s", 0, iv, stdEncrypt(change.Old, iv, media))
		if err != nil || !bytes.Equal(got.Clear, media) || !bytes.Equal(got.Out, stdEncrypt(change.New, iv, media)) {
			t.Errorf("%d bytes: wrong result, err %v", n, err)
		}
	}
}

// TestFaultyCPU gives the Rekeyer a cipher that decrypts one block wrongly.
func TestFaultyCPU(t *testing.T) {
	change := key.Change{Old: key.NewContentKey(), New: key.NewContentKey()}
	src := stdEncrypt(change.Old, key.IV{}, tsMedia(10))
	for n := range len(src) / aes.BlockSize {
		r := NewRekeyer(change)
		r.block = &faulty{Block: r.block, wrong: n}
		_, err := r.Message("s", 1000, key.IV{}, src)
		var e *hls.Error
		if !errors.As(err, &e) || e.Offset != int64(1000+n*aes.BlockSize) || !strings.Contains(e.Reason, "faulty") {
			t.Errorf("block %d: error %v", n, err)
		}
	}
}

type faulty struct {
	cipher.Block
	wrong, seen int
}

func (f *faulty) Decrypt(dst, src []byte) {
	f.Block.Decrypt(dst, src)
	if f.seen == f.wrong {
		dst[f.seen%aes.BlockSize] ^= 0x10
	}
	f.seen++
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

func TestMessageAllocatesNothing(t *testing.T) {
	k := key.NewContentKey()
	src := stdEncrypt(k, key.IV{}, tsMedia(100))
	r := NewRekeyer(key.Change{Old: k, New: key.NewContentKey()})
	n := testing.AllocsPerRun(10, func() {
		if _, err := r.Message("s", 0, key.IV{}, src); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
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
