package hls

import (
	"fmt"
	"unicode/utf8"
)

// attribute is one AttributeName=AttributeValue of an attribute list (RFC 8216
// §4.2). The value's span leaves the quotes out.
type attribute struct {
	name   string
	value  string // with its variables filled in, once parser.list has done so
	at     span
	quoted bool
}

type attributes []attribute

// maxAttributes bounds one list; the longest in use has a dozen.
const maxAttributes = 256

// find returns the attribute of that name.
func (as attributes) find(name string) (attribute, bool) {
	for _, a := range as {
		if a.name == name {
			return a, true
		}
	}
	return attribute{}, false
}

func (as attributes) value(name string) string {
	a, _ := as.find(name)
	return a.value
}

// listError is an attribute list that cannot be read: at is an index into the
// text.
type listError struct {
	at     int
	reason string
}

func (e *listError) Error() string { return e.reason }

// parseAttributes reads s[from:] as an attribute list; spans count from the
// start of s. White space around names and values, which RFC 8216 §4.2 does not
// allow and packagers write, is tolerated.
func parseAttributes(s string, from int) (attributes, error) {
	var list attributes
	i := skipBlank(s, from)
	for i < len(s) {
		a, next, err := parseAttribute(s, i)
		if err != nil {
			return nil, err
		}
		if _, twice := list.find(a.name); twice {
			// RFC 8216 §4.2: a name must not appear twice. Two answers are none.
			return nil, &listError{i, shown(a.name) + " appears twice"}
		}
		if len(list) == maxAttributes {
			return nil, &listError{i, fmt.Sprintf("more than %d attributes", maxAttributes)}
		}
		list = append(list, a)
		i = skipBlank(s, next)
		if i == len(s) {
			break
		}
		if s[i] != ',' {
			return nil, &listError{i, "no comma after " + shown(a.name)}
		}
		i = skipBlank(s, i+1)
	}
	return list, nil
}

func parseAttribute(s string, i int) (attribute, int, error) {
	start := i
	for i < len(s) && nameByte(s[i]) {
		i++
	}
	a := attribute{name: s[start:i]}
	if i == start {
		return a, i, &listError{i, "attribute name expected"}
	}
	i = skipBlank(s, i)
	if i == len(s) || s[i] != '=' {
		return a, i, &listError{i, "no value after " + shown(a.name)}
	}
	i = skipBlank(s, i+1)
	start = i
	if i < len(s) && s[i] == '"' {
		a.quoted = true
		start = i + 1
		for i = start; i < len(s) && s[i] != '"'; i++ {
		}
		if i == len(s) {
			return a, i, &listError{start - 1, "no end of the quoted-string of " + shown(a.name)}
		}
	} else {
		for i < len(s) && s[i] != ',' && s[i] != '"' && s[i] != ' ' && s[i] != '\t' {
			i++
		}
	}
	a.at = span{start, i}
	a.value = s[start:i]
	if a.quoted {
		i++
	}
	if !plainText(a.value) {
		return a, i, &listError{start, shown(a.name) + " has control characters or is not UTF-8"}
	}
	return a, i, nil
}

// nameByte reports A-Z, 0-9 and '-' (RFC 8216 §4.2), and what vendors' attributes
// have besides. Names are compared as they stand.
func nameByte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' ||
		c >= 'a' && c <= 'z' || c == '_' || c == '.'
}

// shown is an attribute's name for an error. One that is not known may be a piece
// of a data: URI whose quotation marks are lost, and so of a key.
func shown(name string) string {
	switch name {
	case "METHOD", "URI", "IV", "KEYFORMAT", "KEYFORMATVERSIONS", "KEYID", "BYTERANGE", "TYPE", "GROUP-ID",
		"NAME", "VALUE", "IMPORT", "QUERYPARAM", "LANGUAGE", "BANDWIDTH", "CODECS", "RESOLUTION", "DURATION",
		"ID", "CLASS", "START-DATE", "X-ASSET-URI", "X-ASSET-LIST", "SERVER-URI":
		return "attribute " + name
	}
	return "an attribute"
}

// excerpt bounds what an error quotes.
func excerpt(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func skipBlank(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i
}

// plainText reports UTF-8 without control characters (RFC 8216 §4.1).
func plainText(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
