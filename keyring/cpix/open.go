package cpix

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"

	"github.com/seed-6133abe0/rekey/key"
)

// The algorithms of CPIX 2.3, clause "Mandatory Algorithms", by the names that
// XML Encryption and RFC 9231 give them.
const (
	algAES256 = nsXENC + "aes256-cbc"
	algOAEP   = nsXENC + "rsa-oaep-mgf1p"
	algOAEP11 = nsXENC11 + "rsa-oaep"
	algMAC    = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"
	algSHA256 = nsXENC + "sha256"
	algMGF256 = nsXENC11 + "mgf1sha256"
	algSHA1   = nsDS + "sha1"
	algMGF1   = nsXENC11 + "mgf1sha1"
)

const (
	documentKeySize = 32
	minMACKey       = 16 // bytes; less is no key for HMAC-SHA512
	maxMACKey       = 512
)

// sealedSize is an IV and the two blocks of a padded content key.
const sealedSize = 3 * aes.BlockSize

// secrets are what a document is encrypted and authenticated with.
type secrets struct{ document, mac []byte }

func (s *secrets) clear() {
	if s == nil {
		return
	}
	clear(s.document)
	clear(s.mac)
}

// delivery keeps a recipient for the first key that is encrypted: who only wants
// the rest needs no private key.
func (p *parser) delivery(_ *Document, n *node) error {
	p.deliveries = append(p.deliveries, n)
	return nil
}

// sealed opens Secret/EncryptedValue. Its MAC is compared before anything is
// decrypted (clause "Authenticated Encryption").
func (p *parser) sealed(secret, n *node) (key.ContentKey, error) {
	var none key.ContentKey
	value, err := p.cipherValue(n, algAES256)
	if err != nil {
		return none, err
	}
	if len(value) != sealedSize {
		return none, p.fail(n, ErrMalformed, "%d bytes, want %d: an IV and a key of 16 bytes", len(value), sealedSize)
	}
	tag, err := p.one(secret, nsPSKC, "ValueMAC")
	if err != nil {
		return none, err
	}
	if tag == nil {
		return none, p.fail(secret, ErrMAC, "no ValueMAC")
	}
	want, ok := tag.base64()
	if !ok || len(want) != sha512.Size {
		return none, p.fail(tag, ErrMAC, "not the base64 of %d bytes", sha512.Size)
	}
	if p.secrets == nil {
		if p.secrets, err = p.recipient(n); err != nil {
			return none, err
		}
	}
	mac := hmac.New(sha512.New, p.secrets.mac)
	mac.Write(value)
	if !hmac.Equal(mac.Sum(nil), want) {
		return none, p.fail(tag, ErrMAC, "not the MAC of the encrypted value")
	}
	k, ok := p.secrets.open(value)
	if !ok {
		return none, p.fail(n, ErrDecrypt, "no key of 16 bytes in PKCS #7 padding")
	}
	return k, nil
}

// open decrypts an IV and ciphertext whose MAC is right.
func (s *secrets) open(value []byte) (key.ContentKey, bool) {
	block, err := aes.NewCipher(s.document)
	if err != nil {
		return key.ContentKey{}, false
	}
	clearText := make([]byte, sealedSize-aes.BlockSize)
	defer clear(clearText)
	cipher.NewCBCDecrypter(block, value[:aes.BlockSize]).CryptBlocks(clearText, value[aes.BlockSize:])
	for _, c := range clearText[aes.BlockSize:] {
		if c != aes.BlockSize { // a whole block of padding follows 16 bytes
			return key.ContentKey{}, false
		}
	}
	k, err := key.ContentKeyFromBytes(clearText[:aes.BlockSize])
	return k, err == nil
}

// recipient opens the document and MAC keys for the first recipient whose
// private key is here.
func (p *parser) recipient(asking *node) (*secrets, error) {
	for _, n := range p.deliveries {
		public := certified(n)
		for _, d := range p.options.Decrypters {
			if mine, ok := d.Public().(*rsa.PublicKey); ok && public != nil && mine.Equal(public) {
				return p.openDelivery(n, d)
			}
		}
	}
	return nil, p.fail(asking, ErrNoRecipient, "%d recipients, %d private keys", len(p.deliveries), len(p.options.Decrypters))
}

// certified is the public key of the first certificate in DeliveryKey that has
// an RSA one, or nil.
func certified(delivery *node) *rsa.PublicKey {
	for _, k := range delivery.all(nsCPIX, "DeliveryKey") {
		for _, data := range k.all(nsDS, "X509Data") {
			for _, c := range data.all(nsDS, "X509Certificate") {
				der, _ := c.base64()
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					continue
				}
				if public, ok := cert.PublicKey.(*rsa.PublicKey); ok {
					return public
				}
			}
		}
	}
	return nil
}

// openDelivery finds what a recipient's key opens, and opens it.
func (p *parser) openDelivery(n *node, d crypto.Decrypter) (*secrets, error) {
	document, err := p.needed(n, nsCPIX, "DocumentKey")
	if err != nil {
		return nil, err
	}
	for _, step := range [][2]string{{nsCPIX, "Data"}, {nsPSKC, "Secret"}, {nsPSKC, "EncryptedValue"}} {
		if document, err = p.needed(document, step[0], step[1]); err != nil {
			return nil, err
		}
	}
	method, err := p.needed(n, nsCPIX, "MACMethod")
	if err != nil {
		return nil, err
	}
	if a, _ := method.attr("Algorithm"); a != algMAC {
		return nil, p.fail(method, ErrUnsupported, "the algorithm is not HMAC-SHA512")
	}
	macKey, err := p.macKey(method)
	if err != nil {
		return nil, err
	}
	s := &secrets{}
	if err := p.openSecrets(s, document, macKey, d); err != nil {
		s.clear()
		return nil, err
	}
	return s, nil
}

func (p *parser) openSecrets(s *secrets, document, macKey *node, d crypto.Decrypter) (err error) {
	if s.document, err = p.unwrap(document, d); err != nil {
		return err
	}
	if len(s.document) != documentKeySize {
		return p.fail(document, ErrMalformed, "a document key of %d bytes, want %d", len(s.document), documentKeySize)
	}
	if s.mac, err = p.unwrap(macKey, d); err != nil {
		return err
	}
	if n := len(s.mac); n < minMACKey || n > maxMACKey {
		return p.fail(macKey, ErrMalformed, "a MAC key of %d bytes, want %d to %d", n, minMACKey, maxMACKey)
	}
	return nil
}

// macKey finds the encrypted MAC key. RFC 6030 §6.1.1 calls it MACKey; senders
// also write Key, with or without an EncryptedValue in it.
func (p *parser) macKey(method *node) (*node, error) {
	for _, name := range [][2]string{{nsPSKC, "MACKey"}, {nsCPIX, "Key"}, {nsPSKC, "Key"}} {
		n, err := p.one(method, name[0], name[1])
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		inner, err := p.one(n, nsPSKC, "EncryptedValue")
		if inner != nil {
			n = inner
		}
		return n, err
	}
	return nil, p.fail(method, ErrMalformed, "no MACKey")
}

// unwrap opens what RSA-OAEP encrypted.
func (p *parser) unwrap(n *node, d crypto.Decrypter) ([]byte, error) {
	o, err := p.oaep(n)
	if err != nil {
		return nil, err
	}
	if (o.Hash == crypto.SHA1 || o.MGFHash == crypto.SHA1) && fips140.Enforced() {
		return nil, p.fail(n, ErrNotFIPS, "wrapped by RSA-OAEP with SHA-1")
	}
	value, err := p.cipherText(n)
	if err != nil {
		return nil, err
	}
	out, err := d.Decrypt(rand.Reader, value, o)
	if err != nil {
		return nil, p.fail(n, ErrDecrypt, "not encrypted to the key of its certificate, or changed")
	}
	return out, nil
}

// oaep reads the parameters of RSA-OAEP (XML Encryption 1.1 §5.5.2). The older
// name fixes MGF1 with SHA-1; SHA-1 is the default of everything.
func (p *parser) oaep(n *node) (*rsa.OAEPOptions, error) {
	m, err := p.needed(n, nsXENC, "EncryptionMethod")
	if err != nil {
		return nil, err
	}
	alg, _ := m.attr("Algorithm")
	if alg != algOAEP && alg != algOAEP11 {
		return nil, p.fail(m, ErrUnsupported, "the algorithm is not RSA-OAEP")
	}
	o := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	digest, err := p.one(m, nsDS, "DigestMethod")
	if err != nil {
		return nil, err
	}
	mgf, err := p.one(m, nsXENC11, "MGF")
	if err != nil {
		return nil, err
	}
	params, err := p.one(m, nsXENC, "OAEPparams")
	if err != nil {
		return nil, err
	}
	if params != nil {
		if raw, ok := params.base64(); !ok || len(raw) > 0 {
			return nil, p.fail(params, ErrUnsupported, "a label")
		}
	}
	if digest != nil {
		if o.Hash = hashOf(digest, algSHA1, algSHA256); o.Hash == 0 {
			return nil, p.fail(digest, ErrUnsupported, "neither SHA-1 nor SHA-256")
		}
	}
	if mgf != nil && alg == algOAEP11 {
		if o.MGFHash = hashOf(mgf, algMGF1, algMGF256); o.MGFHash == 0 {
			return nil, p.fail(mgf, ErrUnsupported, "MGF1 with neither SHA-1 nor SHA-256")
		}
	}
	return o, nil
}

// hashOf is the hash its Algorithm names, 0 for another.
func hashOf(n *node, sha1, sha256 string) crypto.Hash {
	switch a, _ := n.attr("Algorithm"); a {
	case sha1:
		return crypto.SHA1
	case sha256:
		return crypto.SHA256
	}
	return 0
}

// cipherValue is the ciphertext of an xenc:EncryptedDataType by one algorithm.
func (p *parser) cipherValue(n *node, algorithm string) ([]byte, error) {
	m, err := p.needed(n, nsXENC, "EncryptionMethod")
	if err != nil {
		return nil, err
	}
	if a, _ := m.attr("Algorithm"); a != algorithm {
		return nil, p.fail(m, ErrUnsupported, "the algorithm is not AES-256-CBC")
	}
	return p.cipherText(n)
}

func (p *parser) cipherText(n *node) ([]byte, error) {
	data, err := p.needed(n, nsXENC, "CipherData")
	if err != nil {
		return nil, err
	}
	value, err := p.needed(data, nsXENC, "CipherValue")
	if err != nil {
		return nil, err
	}
	b, ok := value.base64()
	if !ok {
		return nil, p.fail(value, ErrMalformed, "not base64")
	}
	return b, nil
}
