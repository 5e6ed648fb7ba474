package judge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// openssl decrypts AES-128-CBC; with padding it takes PKCS #7 away and fails
// where there is none.
func openssl(t testing.TB, k, iv, b []byte, padding bool) ([]byte, error) {
	t.Helper()
	need(t, "openssl", "openssl")
	args := []string{"enc", "-d", "-aes-128-cbc", "-K", hex.EncodeToString(k), "-iv", hex.EncodeToString(iv)}
	if !padding {
		args = append(args, "-nopad")
	}
	return output(t, bytes.NewReader(b), "openssl", args...)
}

// open is the clear media of a piece that is no view, under the key that its
// playlist names.
func (p piece) open(t testing.TB, root string) ([]byte, error) {
	t.Helper()
	b, err := p.bytes(root)
	if err != nil || p.method != "AES-128" {
		return b, err
	}
	k, err := keyBytes(root, p.key)
	if err != nil {
		return nil, err
	}
	return openssl(t, k, p.iv[:], b, true)
}

func keyBytes(root, key string) ([]byte, error) {
	if key == "" {
		return nil, fmt.Errorf("no key object")
	}
	k, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(key)))
	if err == nil && len(k) != 16 {
		return nil, fmt.Errorf("%s: %d bytes are no key", key, len(k))
	}
	return k, err
}

// openView is the clear media of a sub-range of an I-frame playlist as a player
// gets it: RFC 8216 §6.3.6 widens the range to whole blocks, and the block before
// is the IV. The message of another playlist that it lies in says where blocks
// begin; at its first block the IV is the message's.
func (p piece) openView(t testing.TB, root string, message piece) ([]byte, error) {
	t.Helper()
	object, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p.object)))
	if err != nil {
		return nil, err
	}
	end := message.end(int64(len(object)))
	if p.offset+p.length > end {
		return nil, fmt.Errorf("%s is past the end of %s", p, message)
	}
	from := p.offset - (p.offset-message.offset)%16
	to := min(from+(p.offset+p.length-from+15)/16*16, end)
	iv := message.iv[:]
	if from > message.offset {
		iv = object[from-16 : from]
	}
	k, err := keyBytes(root, p.key)
	if err != nil {
		return nil, err
	}
	wide, err := openssl(t, k, iv, object[from:to], false)
	if err != nil {
		return nil, err
	}
	return wide[p.offset-from:][:p.length], nil
}

func (p piece) end(size int64) int64 {
	if p.ranged {
		return p.offset + p.length
	}
	return size
}

// holder is the message of any playlist that holds a view.
func holder(all map[string]*playlist, v piece) (piece, bool) {
	for _, p := range all {
		for _, m := range p.pieces {
			if m.object == v.object && !m.view && !m.part && (!m.ranged || m.offset <= v.offset && v.offset < m.offset+m.length) {
				return m, true
			}
		}
	}
	return piece{}, false
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
