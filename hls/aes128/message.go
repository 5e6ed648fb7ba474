package aes128

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/seed-6133abe0/rekey/aesbulk"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

// Result is what became of one message. Out and Clear alias the buffers of the
// Rekeyer or Decrypter and stand until its next call.
type Result struct {
	// Out is the message under the new key; nil from a Decrypter.
	Out []byte
	// Clear is the whole clear message without its padding.
	Clear []byte
	// Evidence says what the clear message says of the old key. It is also set
	// beside an error of class hls.ErrWrongKey.
	Evidence evidence.Evidence
}

// Decrypter decrypts AES-128 messages. It is for one goroutine, and reuses its
// buffers.
type Decrypter struct {
	block cipher.Block // nil: no key
	clear []byte
}

// NewDecrypter decrypts under k. With a key that is not set, every Message gives
// hls.ErrMissingKey.
func NewDecrypter(k key.ContentKey) *Decrypter {
	d := &Decrypter{}
	if !k.IsZero() {
		d.block = k.Block()
	}
	return d
}

// Message decrypts one message (RFC 8216 §5.2: AES-128, CBC, PKCS #7), which
// begins at this offset of the object, and judges whether it is media. src is only
// read.
func (d *Decrypter) Message(object string, at int64, iv key.IV, src []byte) (Result, error) {
	if d.block == nil {
		return Result{}, &hls.Error{Object: object, Class: hls.ErrMissingKey, Reason: "no key to decrypt with"}
	}
	if len(src) == 0 || len(src)%aes.BlockSize != 0 {
		if err := refuseClear(object, at, src); err != nil {
			return Result{}, err
		}
		return Result{}, &hls.Error{Object: object, Offset: at + int64(len(src)), Class: hls.ErrMalformed,
			Reason: fmt.Sprintf("message has %d bytes, want a multiple of 16 and at least 16 (RFC 8216 §5.2): truncated or not AES-128", len(src))}
	}
	d.clear = grow(d.clear, len(src))
	aesbulk.CBCDecrypt(d.block, iv, d.clear, src)
	res, err := judge(object, at, d.clear)
	if err != nil {
		if clear := refuseClear(object, at, src); clear != nil {
			// The key has nothing to do with it: nothing speaks against it.
			var ev evidence.Evidence
			ev.Look(int64(len(src)))
			return Result{Evidence: ev}, clear
		}
	}
	return res, err
}

// Rekeyer moves AES-128 messages from one key to another. It is for one
// goroutine, and reuses its buffers.
type Rekeyer struct {
	old      *Decrypter
	block    cipher.Block
	unusable string // why the change cannot be made
	out      []byte
	iv       key.IV              // of the message at hand
	again    [aes.BlockSize]byte // a block decrypted again
}

// NewRekeyer rekeys by c; its NewKID is not used. With keys that are not set or
// are the same, every Message gives hls.ErrMissingKey.
func NewRekeyer(c key.Change) *Rekeyer {
	r := &Rekeyer{old: NewDecrypter(c.Old)}
	switch {
	case c.New.IsZero():
		r.unusable = "no key to encrypt with"
	case c.New.Equal(c.Old):
		r.unusable = "the new key is the old one"
	default:
		r.block = c.New.Block()
	}
	return r
}

// Message rekeys one message, which begins at this offset of the object, under the
// same IV: the key is new, and CBC needs no more. len(Out) is len(src). The new
// ciphertext has been decrypted again and equals the clear message. src is only
// read.
func (r *Rekeyer) Message(object string, at int64, iv key.IV, src []byte) (Result, error) {
	if r.unusable != "" {
		return Result{}, &hls.Error{Object: object, Class: hls.ErrMissingKey, Reason: r.unusable}
	}
	res, err := r.old.Message(object, at, iv, src)
	if err != nil {
		return res, err
	}
	padded := r.old.clear // the padding is encrypted again as it was
	r.out = grow(r.out, len(padded))
	if bad, ok := r.encrypt(iv, padded); !ok {
		return Result{}, &hls.Error{Object: object, Offset: at + int64(bad), Class: hls.ErrMalformed,
			Reason: "new ciphertext does not decrypt to the clear message: faulty memory or CPU"}
	}
	res.Out = r.out
	return res, nil
}

// encrypt fills r.out from padded and decrypts it again, one block behind. In CBC
// a block to encrypt waits for the one before it: decrypting costs little, for the
// CPU does it in the meantime.
func (r *Rekeyer) encrypt(iv key.IV, padded []byte) (at int, ok bool) {
	r.iv = iv
	before, last := r.iv[:], r.iv[:]
	for at := 0; at < len(padded); at += aes.BlockSize {
		block := r.out[at : at+aes.BlockSize]
		subtle.XORBytes(block, padded[at:at+aes.BlockSize], last)
		r.block.Encrypt(block, block)
		if at > 0 {
			if !r.same(last, before, padded[at-aes.BlockSize:at]) {
				return at - aes.BlockSize, false
			}
			before = last
		}
		last = block
	}
	at = len(padded) - aes.BlockSize
	return at, r.same(last, before, padded[at:])
}

// same tells whether a block, which is chained to the one before it, decrypts to
// plain.
func (r *Rekeyer) same(block, before, plain []byte) bool {
	r.block.Decrypt(r.again[:], block)
	le := binary.LittleEndian
	return le.Uint64(r.again[:])^le.Uint64(before) == le.Uint64(plain) &&
		le.Uint64(r.again[8:])^le.Uint64(before[8:]) == le.Uint64(plain[8:])
}

// grow returns a slice of n bytes in b's memory where it is large enough.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
