package keyring

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-6133abe0/rekey/key"
)

// Entry is one key of an import.
type Entry struct {
	KID key.KID
	Key key.ContentKey
	URI string // the HLS key URI it is known by, or ""
}

// Bounds of an import.
const (
	maxLine   = 64 << 10 // bytes
	maxJWK    = 64 << 20 // bytes
	maxURI    = 8 << 10  // bytes
	maxImport = 4 << 20  // keys
)

var utf8BOM = []byte("\xef\xbb\xbf")

// ParseImport reads keys in one of two forms. Lines:
//
//	# a comment
//	KID:KEY
//	KID:KEY URI
//
// each 32 hex digits in any case, the KID also with dashes; blank lines count
// for nothing. Or, if the first character is '{', a JWK set (RFC 7517 §5) of
// symmetric keys as in W3C EME §9.1: kty "oct", k and kid each 16 bytes in
// base64url without padding; members of other names are ignored, keys of other
// types are not.
//
// The same key twice counts once. One KID with two keys, or one URI with two
// KIDs, is an error. Errors are *Error of class ErrSyntax with the line, and
// quote nothing of what was read, or come from r.
func ParseImport(r io.Reader) ([]Entry, error) {
	br := bufio.NewReaderSize(r, 4<<10)
	if head, err := br.Peek(len(utf8BOM)); err == nil && bytes.Equal(head, utf8BOM) {
		_, _ = br.Discard(len(utf8BOM)) // cannot fail: they are buffered
	}
	line := 1
	for {
		head, err := br.Peek(1)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		switch head[0] {
		case '\n':
			line++
		case ' ', '\t', '\r':
		case '{':
			return parseJWKSet(br, line)
		default:
			return parseLines(br, line)
		}
		_, _ = br.Discard(1) // cannot fail: it is buffered
	}
}

func parseLines(r io.Reader, line int) ([]Entry, error) {
	buf := make([]byte, maxLine)
	defer clear(buf)
	sc := bufio.NewScanner(r)
	sc.Buffer(buf, maxLine)
	var set entries
	// A failed read hands out the beginning of a line first: look for the error
	// before the text.
	for ; sc.Scan() && sc.Err() == nil; line++ {
		text := bytes.TrimSpace(sc.Bytes())
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		e, reason := parseLine(text)
		if reason == "" {
			reason = set.add(e, line)
		}
		if reason != "" {
			return nil, badSyntax(line, reason)
		}
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return nil, badSyntax(line, fmt.Sprintf("longer than %d bytes", maxLine))
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read keys: line %d: %w", line, err)
	}
	return set.list, nil
}

// parseLine reads KID:KEY or KID:KEY URI. It returns a reason instead of an
// error of package key: those quote a KID's text, and a key may be in the wrong
// column.
func parseLine(text []byte) (e Entry, reason string) {
	kid, rest, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return Entry{}, "no colon; want KID:KEY or KID:KEY URI"
	}
	digits, uri := rest, []byte(nil)
	if i := bytes.IndexAny(rest, " \t"); i >= 0 {
		digits, uri = rest[:i], bytes.TrimSpace(rest[i:])
	}
	kid = bytes.ReplaceAll(kid, []byte("-"), nil)
	defer clear(kid)
	var raw [16]byte
	defer clear(raw[:])
	if !decodeHex(&raw, kid) {
		return Entry{}, "KID is not 32 hex digits"
	}
	e.KID = key.KID(raw)
	if !decodeHex(&raw, digits) {
		return Entry{}, "key is not 32 hex digits"
	}
	var err error
	if e.Key, err = key.ContentKeyFromBytes(raw[:]); err != nil {
		return Entry{}, "key is not 16 bytes"
	}
	if bytes.HasPrefix(uri, []byte("#")) {
		return Entry{}, "key URI begins with '#'; a comment takes a line of its own"
	}
	e.URI = string(uri)
	return e, ""
}

func decodeHex(dst *[16]byte, digits []byte) bool {
	if len(digits) != 32 {
		return false
	}
	_, err := hex.Decode(dst[:], digits)
	return err == nil
}

// entries collects what is read, each key once.
type entries struct {
	list  []Entry
	byKID map[key.KID]place
	byURI map[string]place
}

// place is where an entry was read: its number in the list and its line.
type place struct{ index, line int }

// add returns "" or why e may not be added.
func (s *entries) add(e Entry, line int) (reason string) {
	if s.byKID == nil {
		s.byKID, s.byURI = map[key.KID]place{}, map[string]place{}
	}
	if e.KID.IsZero() {
		return "a KID of zeros names no key"
	}
	if err := checkURI(e.URI); err != nil || strings.ContainsAny(e.URI, "\" ") {
		return "key URI is not printable text without spaces and quotes: percent-encode them"
	}
	if at, ok := s.byURI[e.URI]; ok && s.list[at.index].KID != e.KID {
		return fmt.Sprintf("key URI has another KID on line %d", at.line)
	}
	if at, ok := s.byKID[e.KID]; ok {
		switch had := s.list[at.index]; {
		case !had.Key.Equal(e.Key):
			return fmt.Sprintf("KID has another key on line %d", at.line)
		case had.URI != e.URI:
			return fmt.Sprintf("KID has another key URI, or none, on line %d", at.line)
		}
		return ""
	}
	if len(s.list) == maxImport {
		return fmt.Sprintf("more than %d keys", maxImport)
	}
	at := place{len(s.list), line}
	s.list, s.byKID[e.KID] = append(s.list, e), at
	if e.URI != "" {
		s.byURI[e.URI] = at
	}
	return ""
}

// checkURI wants printable text on one line: a URI, or the name of an object,
// which may hold spaces and quotes. It does not quote the URI.
func checkURI(uri string) error {
	if len(uri) > maxURI {
		return fmt.Errorf("%w: key URI longer than %d bytes", ErrSyntax, maxURI)
	}
	if !utf8.ValidString(uri) {
		return fmt.Errorf("%w: key URI is not UTF-8", ErrSyntax)
	}
	for _, c := range uri {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("%w: key URI holds a control character or a blank that is no space", ErrSyntax)
		}
	}
	return nil
}

func badSyntax(line int, reason string) *Error {
	return &Error{Offset: -1, Line: line, Reason: reason, Class: ErrSyntax}
}
