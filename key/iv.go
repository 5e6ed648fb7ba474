package key

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// IV is a 16-byte AES initialisation vector.
type IV [16]byte

// ParseIV reads the hexadecimal-sequence of RFC 8216 §4.3.2.4: 0x or 0X and 32
// hex digits.
func ParseIV(s string) (IV, error) {
	var iv IV
	digits, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if !ok {
		return IV{}, fmt.Errorf("parse IV %q: %w: no 0x prefix", s, ErrSyntax)
	}
	if err := decodeHex(iv[:], digits); err != nil {
		return IV{}, fmt.Errorf("parse IV %q: %w", s, err)
	}
	return iv, nil
}

// SequenceIV is the implicit IV of RFC 8216 §5.2: the media sequence number,
// big-endian, in 16 bytes.
func SequenceIV(sequence uint64) IV {
	var iv IV
	binary.BigEndian.PutUint64(iv[8:], sequence)
	return iv
}

// String prints 0x and 32 lower-case hex digits.
func (v IV) String() string { return "0x" + hex.EncodeToString(v[:]) }

// MarshalText implements encoding.TextMarshaler with the String form.
func (v IV) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseIV.
func (v *IV) UnmarshalText(b []byte) error {
	iv, err := ParseIV(string(b))
	if err != nil {
		return err
	}
	*v = iv
	return nil
}
