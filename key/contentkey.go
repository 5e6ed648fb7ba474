package key

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime"
)

// ErrSecret is returned when a content key would be marshalled.
var ErrSecret = errors.New("content key may not be marshalled")

const redacted = "REDACTED"

// ContentKey is a 16-byte AES content key. Its zero value is no key. It cannot
// be compared with ==; Equal does so in constant time.
//
// The bytes stand behind a function: fmt prints unexported fields, and values
// under a bad verb, without asking their methods, and looks through pointers;
// of a function it shows the address.
type ContentKey struct{ bytes func() *[16]byte }

// hold keeps the bytes in one place, which is overwritten when no ContentKey
// leads there any more and the garbage collector has seen that. Stacks and
// registers that they went through are not within reach.
func hold(b [16]byte) ContentKey {
	held := &b
	runtime.SetFinalizer(held, func(h *[16]byte) { clear(h[:]) })
	return ContentKey{bytes: func() *[16]byte { return held }}
}

// NewContentKey returns a new key from crypto/rand.
func NewContentKey() ContentKey {
	var b [16]byte
	// crypto/rand.Read never returns an error; it crashes the program instead.
	_, _ = rand.Read(b[:])
	return hold(b)
}

// ContentKeyFromBytes takes exactly 16 bytes and copies them.
func ContentKeyFromBytes(b []byte) (ContentKey, error) {
	if len(b) != 16 {
		return ContentKey{}, fmt.Errorf("read content key: %w: %d bytes, want 16", ErrSyntax, len(b))
	}
	return hold([16]byte(b)), nil
}

// ParseContentKey reads exactly 32 hex digits. Its errors never quote the text.
func ParseContentKey(s string) (ContentKey, error) {
	var b [16]byte
	if err := decodeHex(b[:], s); err != nil {
		return ContentKey{}, fmt.Errorf("parse content key: %w", err)
	}
	return hold(b), nil
}

// IsZero reports a ContentKey that was never set.
func (k ContentKey) IsZero() bool { return k.bytes == nil }

// Equal compares in constant time.
func (k ContentKey) Equal(o ContentKey) bool {
	if k.IsZero() || o.IsZero() {
		return k.IsZero() && o.IsZero()
	}
	return subtle.ConstantTimeCompare(k.bytes()[:], o.bytes()[:]) == 1
}

// Block returns AES under this key, which must not be zero. The block holds the
// key schedule, and is overwritten as WipeLater says.
func (k ContentKey) Block() cipher.Block {
	b, err := aes.NewCipher(k.bytes()[:])
	if err != nil {
		// Unreachable: aes.NewCipher only refuses lengths other than 16, 24, 32.
		panic("key: " + err.Error())
	}
	WipeLater(b)
	return b
}

// WipeLater has the struct that v points to overwritten once nothing leads to it
// any more and the garbage collector has seen that. It is for the ciphers of the
// standard library, which copy the key schedule into themselves and have no other
// way to be wiped. v is a pointer that new or a composite literal made, or a
// struct around one, as some of them are; of anything else nothing is wiped.
func WipeLater(v any) {
	p := reflect.ValueOf(v)
	if p.Kind() == reflect.Struct && p.NumField() == 1 && p.Field(0).CanInterface() {
		p = p.Field(0)
	}
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return
	}
	runtime.SetFinalizer(p.Interface(), func(gone any) { reflect.ValueOf(gone).Elem().SetZero() })
}

// RevealSecretBytes returns a copy of the raw key, which must not be zero.
// Whoever calls it answers for where the bytes go: they must reach no log,
// error, argument list, queue, temporary file, URL or object metadata.
func (k ContentKey) RevealSecretBytes() [16]byte { return *k.bytes() }

// String prints REDACTED.
func (k ContentKey) String() string { return redacted }

// GoString prints REDACTED.
func (k ContentKey) GoString() string { return redacted }

// Format prints REDACTED for every verb.
func (k ContentKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue makes slog print REDACTED.
func (k ContentKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails with ErrSecret, which also stops encoding/json.
func (k ContentKey) MarshalText() ([]byte, error) { return nil, ErrSecret }

// GobEncode always fails with ErrSecret.
func (k ContentKey) GobEncode() ([]byte, error) { return nil, ErrSecret }
