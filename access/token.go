package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const (
	tokenPrefix = "rekey_"
	secretSize  = 32
	secretChars = (secretSize*8 + 5) / 6 // in base64url without padding
	redacted    = "REDACTED"

	idBytes = 8
	idChars = 2 * idBytes
)

// Token is what somebody shows to be who they are: rekey_<id>_<secret>. It prints
// as REDACTED.
//
// The text stands behind a function: fmt prints unexported fields without asking
// their methods; of a function it shows the address.
type Token struct{ text func() string }

// RevealSecretText is the token itself. Whoever calls it answers for where it
// goes: to the person it was made for, once, and to no log, error or URL.
func (t Token) RevealSecretText() string {
	if t.text == nil {
		return ""
	}
	return t.text()
}

// IsZero reports a Token that is none.
func (t Token) IsZero() bool { return t.text == nil }

// String prints REDACTED.
func (t Token) String() string { return redacted }

// GoString prints REDACTED.
func (t Token) GoString() string { return redacted }

// Format prints REDACTED for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue makes slog print REDACTED.
func (t Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText prints REDACTED.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// newToken makes a token of an identity, and what is kept of it.
func newToken(id string) (Token, string) {
	var secret [secretSize]byte
	_, _ = rand.Read(secret[:]) // never fails: it crashes the program instead
	text := tokenPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	clear(secret[:])
	return Token{text: func() string { return text }}, digest(text)
}

// digest is what is kept of a token. A fast hash is right for it: the secret is
// 256 random bits, which cannot be guessed at any speed. A slow one would only
// make every request dear, and is for passwords, which can be.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// tokenID is the id in what is spelled as a token.
func tokenID(token string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(rest) != idChars+1+secretChars || rest[idChars] != '_' || !isID(rest[:idChars]) {
		return "", false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(rest[idChars+1:])
	return rest[:idChars], err == nil && !strings.ContainsAny(rest, "\r\n") // which base64 skips
}

func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func isID(s string) bool { return isHex(s, idChars) }

// isHex reports n lower-case hex digits.
func isHex(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" }
