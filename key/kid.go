package key

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrSyntax is the class of every error about a KID, key or IV that is not
// spelled as it must be.
var ErrSyntax = errors.New("bad key syntax")

// KID names a content key (ISO/IEC 23001-7 §8.2, default_KID).
type KID [16]byte

// ParseKID reads 32 hex digits in any case, with or without dashes.
func ParseKID(s string) (KID, error) {
	var k KID
	if err := decodeHex(k[:], strings.ReplaceAll(s, "-", "")); err != nil {
		return KID{}, fmt.Errorf("parse KID %q: %w", s, err)
	}
	return k, nil
}

// NewKID returns a random KID shaped as a version 4 UUID (RFC 9562 §5.4).
func NewKID() KID {
	var k KID
	// crypto/rand.Read never returns an error; it crashes the program instead.
	_, _ = rand.Read(k[:])
	k[6] = k[6]&0x0f | 0x40
	k[8] = k[8]&0x3f | 0x80
	return k
}

// KIDFromURI returns the KID under which an HLS key that has no KID of its own
// is known: a version 8 UUID (RFC 9562 §5.8) over the SHA-256 of its URI. It
// depends on the name only, never on the key.
func KIDFromURI(uri string) KID {
	sum := sha256.Sum256([]byte("rekey key uri\n" + uri))
	k := KID(sum[:16])
	k[6] = k[6]&0x0f | 0x80
	k[8] = k[8]&0x3f | 0x80
	return k
}

// KIDFromGUID reads the little-endian GUID order that PlayReady writes.
func KIDFromGUID(g [16]byte) KID { return KID(swapGUID(g)) }

// GUID returns the KID in the little-endian GUID order that PlayReady writes.
func (k KID) GUID() [16]byte { return swapGUID(k) }

func swapGUID(g [16]byte) [16]byte {
	return [16]byte{
		g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6],
		g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15],
	}
}

// String prints 32 lower-case hex digits without dashes.
func (k KID) String() string { return hex.EncodeToString(k[:]) }

// UUID prints the dashed lower-case form that an MPD uses.
func (k KID) UUID() string {
	s := k.String()
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// IsZero reports the all-zero KID, which names no key.
func (k KID) IsZero() bool { return k == KID{} }

// MarshalText implements encoding.TextMarshaler with the String form.
func (k KID) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseKID.
func (k *KID) UnmarshalText(b []byte) error {
	v, err := ParseKID(string(b))
	if err != nil {
		return err
	}
	*k = v
	return nil
}

// decodeHex fills dst from exactly 2*len(dst) hex digits. The text is not in
// its error: it may be a key.
func decodeHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%w: %d hex digits, want %d", ErrSyntax, len(s), 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("%w: not hex", ErrSyntax)
	}
	return nil
}
