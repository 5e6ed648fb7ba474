//go:build !fipsonly

package main

import (
	"bytes"
	"io"
	"regexp"

	"github.com/seed-6133abe0/rekey/key"
)

// maxMaskedLine bounds a line that is held back until it is whole, in bytes.
const maxMaskedLine = 64 << 10

// masked passes lines on without what could be a content key: 16 bytes or more in
// hex, with or without dashes, or 16 in base64. The KIDs that are known stay.
type masked struct {
	to   io.Writer
	kids map[key.KID]bool
	line []byte
	long bool // of this line the beginning was dropped
}

func (m *masked) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '\n':
			m.flush()
		case len(m.line) == maxMaskedLine:
			clear(m.line)
			m.line, m.long = m.line[:0], true
			m.line = append(m.line, c)
		default:
			m.line = append(m.line, c)
		}
	}
	return len(b), nil
}

// flush passes on what stands, as a line. Where it cannot be written it is lost:
// the command that is listened to must not fail of it.
func (m *masked) flush() {
	if len(m.line) == 0 && !m.long {
		return
	}
	out := m.mask()
	if m.long {
		out = []byte("[a line too long to be passed on]")
	}
	_, _ = m.to.Write(append(out, '\n'))
	clear(m.line)
	m.line, m.long = m.line[:0], false
}

func (m *masked) mask() []byte {
	hex := regexp.MustCompile(`[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12,}`)
	base64 := regexp.MustCompile(`(^|[^0-9A-Za-z+/_-])[0-9A-Za-z+/_-]{22}(==)?($|[^0-9A-Za-z+/_=-])`)
	out := hex.ReplaceAllFunc(m.line, func(b []byte) []byte {
		if kid, err := key.ParseKID(string(b)); err == nil && m.kids[kid] {
			return b
		}
		return []byte("[masked]")
	})
	// Twice: neighbours share the character between them.
	for range 2 {
		out = base64.ReplaceAll(out, []byte("${1}[masked]${3}"))
	}
	return bytes.ToValidUTF8(out, []byte("?"))
}
