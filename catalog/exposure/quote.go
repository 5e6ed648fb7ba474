package exposure

import (
	"errors"
	"strings"
)

var errQuote = errors.New("quotes do not end")

// quoted reads a quoted field at the start of s and returns what follows it.
// Apache escapes as \" \\ \n \t \xhh, nginx as \xhh alone.
func quoted(s string) (field, rest string, err error) {
	if s == "" || s[0] != '"' {
		return "", s, errQuote
	}
	s = s[1:]
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return unescape(s[:i]), s[i+1:], nil
		case '\\':
			i++
		}
	}
	return "", "", errQuote
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'x':
			if b, ok := hexByte(s, i+1); ok {
				out = append(out, b)
				i += 2
				continue
			}
			out = append(out, '\\', c)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// hexByte reads the two hex digits of s at i.
func hexByte(s string, i int) (byte, bool) {
	if i+2 > len(s) {
		return 0, false
	}
	hi, ok1 := nibble(s[i])
	lo, ok2 := nibble(s[i+1])
	return hi<<4 | lo, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unpercent decodes every %hh once; a % that begins none stays.
func unpercent(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if b, ok := hexByte(s, i+1); ok {
				out = append(out, b)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
