package backup

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const maxKeyFile = 64 << 10 // bytes

// Fingerprint is SHA-256 of the key's SubjectPublicKeyInfo in hex, as in
//
//	openssl pkey -in key.pem -pubout -outform DER | sha256sum
//
// The key must be on P-256.
func Fingerprint(k *ecdh.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		// Unreachable: it refuses only types and curves that it does not know.
		panic("backup: " + err.Error())
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// ReadPublicKey reads a holder's key from a PEM file; see ParsePublicKey.
func ReadPublicKey(path string) (*ecdh.PublicKey, error) {
	b, err := readFile(path, false)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	k, err := ParsePublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ReadPrivateKey reads a holder's key from a PEM file that only its owner may
// read; see ParsePrivateKey.
func ReadPrivateKey(path string) (*ecdh.PrivateKey, error) {
	b, err := readFile(path, true)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	defer clear(b)
	k, err := ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ParsePublicKey reads one P-256 key in PEM: a SubjectPublicKeyInfo, or a
// certificate, of which nothing but the key counts. Errors are ErrKeyFile.
func ParsePublicKey(text []byte) (*ecdh.PublicKey, error) {
	block, err := onlyBlock(text)
	if err != nil {
		return nil, fmt.Errorf("parse public key: %w: %w", ErrKeyFile, err)
	}
	k, err := publicKey(block)
	if err != nil {
		return nil, fmt.Errorf("parse public key: %w: %w", ErrKeyFile, err)
	}
	return k, nil
}

func publicKey(block *pem.Block) (*ecdh.PublicKey, error) {
	var parsed any
	switch block.Type {
	case "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("not a SubjectPublicKeyInfo of a known kind")
		}
		parsed = k
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("not a certificate")
		}
		parsed = cert.PublicKey
	case "PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("holds a private key; a holder gives away the public one (openssl pkey -pubout)")
	default:
		return nil, errors.New("PEM is neither PUBLIC KEY nor CERTIFICATE")
	}
	k, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("key is not on P-256")
	}
	public, err := k.ECDH()
	if err != nil {
		return nil, errors.New("key is not on P-256")
	}
	return public, checkCurve(public)
}

// ParsePrivateKey reads one P-256 key in PEM: PKCS #8 or SEC 1, as openssl genpkey and
// openssl ecparam write them. Errors are ErrKeyFile and quote nothing.
func ParsePrivateKey(text []byte) (*ecdh.PrivateKey, error) {
	block, err := onlyBlock(text)
	if err != nil {
		return nil, fmt.Errorf("parse private key: %w: %w", ErrKeyFile, err)
	}
	defer clear(block.Bytes)
	k, err := privateKey(block)
	if err != nil {
		return nil, fmt.Errorf("parse private key: %w: %w", ErrKeyFile, err)
	}
	return k, nil
}

func privateKey(block *pem.Block) (*ecdh.PrivateKey, error) {
	var parsed any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("key is under a passphrase; decrypt it first (openssl pkey)")
	case block.Type == "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("PEM is neither PRIVATE KEY nor EC PRIVATE KEY")
	}
	if err != nil {
		return nil, errors.New("not a private key of a known kind")
	}
	k, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("key is not on P-256")
	}
	private, err := k.ECDH()
	if err != nil {
		return nil, errors.New("key is not on P-256")
	}
	return private, checkCurve(private.PublicKey())
}

// onlyBlock is the one PEM block of a file. openssl ecparam writes the name of the
// curve in a block before it.
func onlyBlock(text []byte) (*pem.Block, error) {
	var found *pem.Block
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" {
			continue
		}
		if found != nil {
			return nil, errors.New("more than one PEM block")
		}
		found = block
	}
	if found == nil {
		return nil, errors.New("no PEM block")
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("something follows the PEM block")
	}
	return found, nil
}

// readFile reads a small regular file; private: that only its owner may read.
func readFile(path string, private bool) ([]byte, error) {
	// Stat before Open: opening a FIFO would wait for a writer.
	info, err := os.Stat(path)
	if err == nil {
		err = checkMode(path, info, private)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Again on what was opened: the name may have been changed in between.
	if info, err = f.Stat(); err == nil {
		err = checkMode(path, info, private)
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, maxKeyFile+1)
	n, err := io.ReadFull(f, b)
	switch {
	case err == nil:
		clear(b)
		return nil, fmt.Errorf("%s: %w: longer than %d bytes", path, ErrKeyFile, maxKeyFile)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		clear(b)
		return nil, err
	}
	return b[:n], nil
}

func checkMode(path string, info fs.FileInfo, private bool) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w: not a regular file", path, ErrKeyFile)
	}
	if perm := info.Mode().Perm(); private && perm&0o077 != 0 {
		return fmt.Errorf("%s: %w: mode %04o lets group or others in, want 0600", path, ErrKeyFile, perm)
	}
	return nil
}
