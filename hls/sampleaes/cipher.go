package sampleaes

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/seed-6133abe0/rekey/aesbulk"
	"github.com/seed-6133abe0/rekey/key"
)

// audioLeader is how much of an audio frame is clear, after its ADTS header
// (Apple §2.3): sixteen bytes. All whole blocks after them are protected.
const audioLeader = 16

// ciphers is one key, both ways.
type ciphers struct {
	block cipher.Block
	enc   *aesbulk.CBCEncrypter
	dec   *aesbulk.CBCDecrypter
}

func newCiphers(k key.ContentKey) *ciphers {
	b := k.Block()
	return &ciphers{b, aesbulk.NewCBCEncrypter(b), aesbulk.NewCBCDecrypter(b)}
}

// decryptNAL decrypts a NAL unit without emulation prevention where it lies. The
// chain begins at iv in each NAL unit and passes over its clear bytes.
func (c *ciphers) decryptNAL(iv key.IV, nal []byte) {
	c.dec.Start(iv)
	for at := clearLeader; len(nal)-at > aes.BlockSize; at += pattern {
		b := nal[at : at+aes.BlockSize]
		c.dec.Crypt(b, b)
	}
}

// encryptNAL undoes decryptNAL.
func (c *ciphers) encryptNAL(iv key.IV, nal []byte) {
	c.enc.Start(iv)
	for at := clearLeader; len(nal)-at > aes.BlockSize; at += pattern {
		b := nal[at : at+aes.BlockSize]
		c.enc.Crypt(b, b)
	}
}

// wholeBlocks is the protected part of an audio frame that follows its header.
func wholeBlocks(body []byte) []byte {
	if len(body) < audioLeader+aes.BlockSize {
		return nil
	}
	body = body[audioLeader:]
	return body[:len(body)/aes.BlockSize*aes.BlockSize]
}

// encrypter is what encrypting one segment needs.
type encrypter struct {
	key     *ciphers
	iv      key.IV
	scratch []byte
	chains  []aesbulk.Chain
}

// encryptAudio encrypts these parts of b where they lie. Each is a chain of its
// own; several are encrypted at a time.
func (e *encrypter) encryptAudio(b []byte, parts []span) {
	e.chains = e.chains[:0]
	for _, p := range parts {
		e.chains = append(e.chains, aesbulk.Chain{IV: e.iv, Data: b[p.from:p.to]})
	}
	aesbulk.CBCEncryptChains(e.key.block, e.chains)
}
