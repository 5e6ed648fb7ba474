package key

import "strings"

// How long a KID is in hex: 32 digits, and with the four dashes of a UUID.
const (
	hexKID  = 32
	uuidKID = 36
)

// SpelledAt reads a KID in hex that begins at i and is no part of a longer run of
// digits; its length is 0 where there is none.
func SpelledAt(s string, i int) (KID, int) {
	if !isHex(s[i]) || i > 0 && isHex(s[i-1]) {
		return KID{}, 0
	}
	for _, n := range []int{hexKID, uuidKID} {
		if len(s)-i < n || len(s)-i > n && isHex(s[i+n]) || !shaped(s[i:i+n]) {
			continue
		}
		if kid, err := ParseKID(s[i : i+n]); err == nil {
			return kid, n
		}
	}
	return KID{}, 0
}

// shaped reports hex digits alone, or in a UUID's length with its dashes (RFC
// 9562 §4).
func shaped(s string) bool {
	for i := range len(s) {
		if len(s) == uuidKID && (i == 8 || i == 13 || i == 18 || i == 23) {
			if s[i] != '-' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// SpellLike writes kid as old, a KID in hex, is written: dashes and case of the
// digits.
func SpellLike(old string, kid KID) string {
	digits := kid.String()
	if old != strings.ToLower(old) {
		digits = strings.ToUpper(digits)
	}
	b := []byte(old)
	for i, c := range b {
		if c != '-' && digits != "" {
			b[i], digits = digits[0], digits[1:]
		}
	}
	return string(b)
}
