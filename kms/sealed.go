package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// The line of a file that is sealed under a passphrase:
//
//	rekey-master-key-v2 local:0123abcd pbkdf2-sha256 <iterations> <salt> <sealed>
//
// salt is 16 bytes and sealed is nonce (12) ‖ ciphertext (32) ‖ tag (16), both in
// lower-case hex: AES-256-GCM under PBKDF2-HMAC-SHA-256 of the passphrase (SP
// 800-132 option 2a), with all before it authenticated.
const (
	sealedHeader = "rekey-master-key-v2"
	sealedKDF    = "pbkdf2-sha256"
	saltSize     = 16 // bytes; SP 800-132 §5.1 wants at least 16
	sealedSize   = 12 + 32 + 16
	// iterations of new files: SP 800-132 §5.2 wants as many as can be borne.
	iterations    = 600_000
	minIterations = 100_000
	maxIterations = 10_000_000
	minPassphrase = 12 // bytes
)

func sealer(pass, salt []byte, n int) (cipher.AEAD, error) {
	k, err := pbkdf2.Key(sha256.New, string(pass), salt, n, 32)
	if err != nil {
		return nil, fmt.Errorf("derive from passphrase: %w", err)
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("derive from passphrase: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func sealedHead(id string, n int, salt []byte) string {
	return fmt.Sprintf("%s %s %s %d %s ", sealedHeader, id, sealedKDF, n, hex.EncodeToString(salt))
}

// sealedLine spells the file under a passphrase.
func (m *master) sealedLine(pass []byte) ([]byte, error) {
	if len(pass) < minPassphrase {
		return nil, fmt.Errorf("%w: passphrase is shorter than %d bytes", ErrMasterFile, minPassphrase)
	}
	id, err := m.id()
	if err != nil {
		return nil, err
	}
	var salt [saltSize]byte
	_, _ = rand.Read(salt[:]) // never fails: it crashes the program instead
	aead, err := sealer(pass, salt[:], iterations)
	if err != nil {
		return nil, err
	}
	head := sealedHead(id, iterations, salt[:])
	b := hex.AppendEncode([]byte(head), aead.Seal(nil, nil, m[:], []byte(head)))
	return append(b, '\n'), nil
}

// parseSealed opens the line's key.
func parseSealed(fields [][]byte, ask func() ([]byte, error)) (*master, error) {
	if len(fields) != 6 || string(fields[2]) != sealedKDF {
		return nil, fmt.Errorf("%w: not one line of header, KEK id, %s, iterations, salt and key", ErrMasterFile, sealedKDF)
	}
	n, err := strconv.Atoi(string(fields[3]))
	if err != nil || n < minIterations || n > maxIterations {
		return nil, fmt.Errorf("%w: iterations are not %d to %d", ErrMasterFile, minIterations, maxIterations)
	}
	var salt [saltSize]byte
	var sealed [sealedSize]byte
	if len(fields[4]) != 2*saltSize || len(fields[5]) != 2*sealedSize {
		return nil, fmt.Errorf("%w: salt is not %d hex digits or key not %d", ErrMasterFile, 2*saltSize, 2*sealedSize)
	}
	if _, err := hex.Decode(salt[:], fields[4]); err != nil {
		return nil, fmt.Errorf("%w: salt is not hex digits", ErrMasterFile)
	}
	if _, err := hex.Decode(sealed[:], fields[5]); err != nil {
		return nil, fmt.Errorf("%w: key is not hex digits", ErrMasterFile)
	}
	pass, err := ask()
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	aead, err := sealer(pass, salt[:], n)
	if err != nil {
		return nil, err
	}
	raw, err := aead.Open(nil, nil, sealed[:], []byte(sealedHead(string(fields[1]), n, salt[:])))
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase does not open it, or the file was changed", ErrMasterFile)
	}
	defer clear(raw)
	var m master
	copy(m[:], raw)
	return &m, nil
}
