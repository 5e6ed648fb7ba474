package pssh

import (
	"encoding/base64"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// text is a run of characters of a WRMHEADER: its place in the PlayReady object
// (UTF-16LE, two bytes each) and how many.
type text struct{ at, chars int }

func (t text) set() bool { return t.chars > 0 }

// write puts s, ASCII of the same length, where the text stands.
func (t text) write(pro []byte, s string) {
	for i := range t.chars {
		pro[t.at+2*i], pro[t.at+2*i+1] = s[i], 0
	}
}

// header reads a WRMHEADER. ascii mirrors its characters one for one, so that a
// place in ascii is a place in the object; what is not ASCII becomes 0x7f, and
// nothing that matters here is.
type header struct {
	place string
	start int
	ascii string

	version   string
	algorithm string // 4.0: the ALGID element
	kids      []proKID
	checksum  text // 4.0: the CHECKSUM element
}

// parseWRMHeader finds the KIDs of the WRMHEADER at pro[start:]: the KID element
// of 4.0 with its sibling CHECKSUM, the KID attributes of 4.1 to 4.3 (§3.1).
func parseWRMHeader(place string, pro []byte, start int) ([]proKID, error) {
	raw := pro[start:]
	if len(raw)%2 != 0 {
		return nil, malformed(place, start, "%d bytes are not UTF-16", len(raw))
	}
	chars := make([]byte, len(raw)/2)
	for i := range chars {
		chars[i] = 0x7f
		if raw[2*i+1] == 0 && raw[2*i] < 0x7f {
			chars[i] = raw[2*i]
		}
	}
	h := &header{place: place, start: start, ascii: string(chars)}
	if err := h.scan(); err != nil {
		return nil, err
	}
	switch h.version {
	case "4.0.0.0", "4.1.0.0", "4.2.0.0", "4.3.0.0":
	default:
		return nil, unsupported(place, start, "WRMHEADER version %q", h.version)
	}
	return h.resolve()
}

// scan walks the tags. It needs no tree: KID, ALGID and CHECKSUM mean one thing
// wherever they stand, save inside CUSTOMATTRIBUTES, which it skips.
func (h *header) scan() error {
	for i := 0; i < len(h.ascii); {
		open := strings.IndexByte(h.ascii[i:], '<')
		if open < 0 {
			return nil
		}
		open += i
		if strings.HasPrefix(h.ascii[open:], "<!--") {
			end := strings.Index(h.ascii[open:], "-->")
			if end < 0 {
				return h.malformed(open, "comment does not end")
			}
			i = open + end + 3
			continue
		}
		end := tagEnd(h.ascii, open)
		if end < 0 {
			return h.malformed(open, "tag does not end")
		}
		next, err := h.tag(open+1, end)
		if err != nil {
			return err
		}
		i = next
	}
	return nil
}

// tag takes the tag whose inside is ascii[from:end] and returns where to go on.
func (h *header) tag(from, end int) (int, error) {
	inside := h.ascii[from:end]
	name := inside
	if i := strings.IndexAny(inside, " \t\r\n/"); i > 0 {
		name = inside[:i]
	}
	empty := strings.HasSuffix(inside, "/")
	switch {
	case name == "WRMHEADER":
		v, _ := h.attribute(from, end, "version")
		h.version = h.string(v)
	case name == "CUSTOMATTRIBUTES" && !empty:
		skip := strings.Index(h.ascii[end:], "</CUSTOMATTRIBUTES>")
		if skip < 0 {
			return 0, h.malformed(from, "CUSTOMATTRIBUTES does not end")
		}
		return end + skip, nil
	case name == "ALGID" && !empty:
		h.algorithm = h.string(h.content(end))
	case name == "CHECKSUM" && !empty:
		h.checksum = h.content(end)
	case name == "KID":
		e := proKID{place: h.place}
		if value, ok := h.attribute(from, end, "VALUE"); ok {
			e.value = value
			e.checksum, _ = h.attribute(from, end, "CHECKSUM")
			alg, _ := h.attribute(from, end, "ALGID")
			e.aes = isAES(h.string(alg))
		} else if !empty {
			e.value = h.content(end)
		}
		h.kids = append(h.kids, e)
	}
	return end + 1, nil
}

// resolve decodes the base64 values and gives 4.0's CHECKSUM to its KID.
func (h *header) resolve() ([]proKID, error) {
	if h.version == "4.0.0.0" && len(h.kids) == 1 {
		h.kids[0].checksum, h.kids[0].aes = h.checksum, isAES(h.algorithm)
	}
	for i := range h.kids {
		e := &h.kids[i]
		guid, err := base64.StdEncoding.DecodeString(h.string(e.value))
		if err != nil || len(guid) != 16 || e.value.chars != 24 {
			return nil, malformed(h.place, e.value.at, "KID is not the base64 of 16 bytes")
		}
		e.kid = key.KIDFromGUID([16]byte(guid))
		if !e.checksum.set() || !e.aes {
			continue
		}
		e.sum, err = base64.StdEncoding.DecodeString(h.string(e.checksum))
		if err != nil || len(e.sum) != checksumSize || e.checksum.chars != 12 {
			return nil, malformed(h.place, e.checksum.at, "CHECKSUM is not the base64 of %d bytes", checksumSize)
		}
	}
	return h.kids, nil
}

// content is the text from the tag end to the next tag, without white space.
func (h *header) content(end int) text {
	from := end + 1
	to := len(h.ascii)
	if i := strings.IndexByte(h.ascii[from:], '<'); i >= 0 {
		to = from + i
	}
	return h.trim(from, to)
}

// attribute is the value of the named attribute of the tag ascii[from:end].
func (h *header) attribute(from, end int, name string) (text, bool) {
	for i := from; i < end; {
		eq := strings.IndexByte(h.ascii[i:end], '=')
		if eq < 0 {
			return text{}, false
		}
		eq += i
		words := strings.Fields(h.ascii[i:eq])
		open := eq + 1
		for open < end && strings.IndexByte(" \t\r\n", h.ascii[open]) >= 0 {
			open++
		}
		if open >= end || h.ascii[open] != '"' && h.ascii[open] != '\'' {
			return text{}, false
		}
		size := strings.IndexByte(h.ascii[open+1:end], h.ascii[open])
		if size < 0 {
			return text{}, false
		}
		if len(words) > 0 && words[len(words)-1] == name {
			return h.trim(open+1, open+1+size), true
		}
		i = open + 1 + size + 1
	}
	return text{}, false
}

func (h *header) trim(from, to int) text {
	s := h.ascii[from:to]
	left := len(s) - len(strings.TrimLeft(s, " \t\r\n"))
	return text{at: h.start + 2*(from+left), chars: len(strings.TrimSpace(s))}
}

func (h *header) string(t text) string {
	from := (t.at - h.start) / 2
	if !t.set() {
		return ""
	}
	return h.ascii[from : from+t.chars]
}

func (h *header) malformed(at int, reason string) error {
	return malformed(h.place, h.start+2*at, "%s", reason)
}

// tagEnd is the place of the '>' that ends the tag at open, or -1; a '>' in
// quotes does not count.
func tagEnd(s string, open int) int {
	quote := byte(0)
	for i := open; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i
		}
	}
	return -1
}

func isAES(algorithm string) bool { return algorithm == "AESCTR" || algorithm == "AESCBC" }
