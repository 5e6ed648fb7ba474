package pkcs11

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/kms"
)

// A wrapped key is: version (1 byte) ‖ IV (12) ‖ ciphertext (16) ‖ tag (16).
const (
	frameVersion = 1
	ivSize       = 12
	keySize      = 16
	tagSize      = 16
	frameSize    = 1 + ivSize + keySize + tagSize
)

// frame is a wrapped key taken apart.
type frame struct {
	iv     []byte // ivSize bytes
	sealed []byte // ciphertext and tag
}

func (f frame) bytes() ([]byte, error) {
	if len(f.iv) != ivSize || len(f.sealed) != keySize+tagSize {
		return nil, fmt.Errorf("%w: token gave an IV of %d bytes and ciphertext of %d, want %d and %d",
			kms.ErrDenied, len(f.iv), len(f.sealed), ivSize, keySize+tagSize)
	}
	b := make([]byte, 0, frameSize)
	b = append(b, frameVersion)
	b = append(b, f.iv...)
	return append(b, f.sealed...), nil
}

// parseFrame wants exactly what bytes spells; anything else is kms.ErrMismatch.
func parseFrame(b []byte) (frame, error) {
	if len(b) != frameSize {
		return frame{}, fmt.Errorf("%w: %d bytes, want %d", kms.ErrMismatch, len(b), frameSize)
	}
	if b[0] != frameVersion {
		return frame{}, fmt.Errorf("%w: format version %d, want %d", kms.ErrMismatch, b[0], frameVersion)
	}
	return frame{iv: b[1 : 1+ivSize], sealed: b[1+ivSize:]}, nil
}
