package cpix

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/key"
)

// minRSA is the least size of a recipient's key, in bits: what SPEKE asks for
// and FIPS 186-5 §5.1 allows. CPIX recommends 3072.
const minRSA = 2048

// newSecrets makes a document's own keys.
func newSecrets() *secrets {
	s := &secrets{document: make([]byte, documentKeySize), mac: make([]byte, sha512.Size)}
	// crypto/rand.Read never returns an error; it crashes the program instead.
	_, _ = rand.Read(s.document)
	_, _ = rand.Read(s.mac)
	return s
}

// seal encrypts one content key: IV and ciphertext, and the MAC over both.
func (s *secrets) seal(k key.ContentKey) (value, tag []byte, err error) {
	block, err := aes.NewCipher(s.document)
	if err != nil {
		return nil, nil, err
	}
	raw := k.RevealSecretBytes()
	padded := append(raw[:], bytes.Repeat([]byte{aes.BlockSize}, aes.BlockSize)...)
	defer clear(raw[:])
	defer clear(padded)
	value = make([]byte, sealedSize)
	_, _ = rand.Read(value[:aes.BlockSize])
	cipher.NewCBCEncrypter(block, value[:aes.BlockSize]).CryptBlocks(value[aes.BlockSize:], padded)
	mac := hmac.New(sha512.New, s.mac)
	mac.Write(value)
	return value, mac.Sum(nil), nil
}

var errRecipient = errors.New("certificate cannot be encrypted to")

// recipientKey is the public key of a certificate that is fit for a recipient.
func recipientKey(c *x509.Certificate) (*rsa.PublicKey, error) {
	public, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: its key is not RSA", errRecipient)
	}
	if n := public.N.BitLen(); n < minRSA {
		return nil, fmt.Errorf("%w: its RSA key has %d bits, less than %d", errRecipient, n, minRSA)
	}
	return public, nil
}

// wrap encrypts a document's key to one recipient.
func wrap(public *rsa.PublicKey, secret []byte, sha256 bool) ([]byte, error) {
	h := crypto.SHA1
	if sha256 {
		h = crypto.SHA256
	} else if fips140.Enforced() {
		return nil, ErrNotFIPS
	}
	return rsa.EncryptOAEPWithOptions(rand.Reader, public, secret, &rsa.OAEPOptions{Hash: h, MGFHash: h})
}
