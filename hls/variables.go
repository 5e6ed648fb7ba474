package hls

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
)

// Limits on variables: a variable may be made of others, twice over in each
// line.
const (
	maxVariables     = 1024
	maxVariableBytes = 64 << 10
)

// variableStart begins a variable reference, {$name} (rfc8216bis §4.3).
const variableStart = "{$"

// Variables are the values of EXT-X-DEFINE by name (rfc8216bis §4.4.2.3). One
// that holds a variable reference stands for a value that only the player knows.
type Variables map[string]string

// Context is what a playlist takes from the place that leads to it.
type Context struct {
	// Imported are the variables of the multivariant playlist, for
	// EXT-X-DEFINE:IMPORT.
	Imported Variables
	// Query is the query of the playlist's own URI, percent-encoded and without
	// its question mark, for EXT-X-DEFINE:QUERYPARAM.
	Query string
	// AnyQuery: the player makes the query, as it may that of an entry manifest.
	// A parameter that Query lacks then stays a variable.
	AnyQuery bool
}

// Variables returns what the playlist defines, for its children to import.
func (p *Playlist) Variables() Variables { return maps.Clone(p.variables) }

// Contextual reports a playlist that takes something from its [Context].
func (p *Playlist) Contextual() bool { return p.contextual }

// define handles EXT-X-DEFINE (rfc8216bis §4.4.2.3).
func (ps *parser) define(value int) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	var by attribute
	for _, a := range as {
		if a.name != "NAME" && a.name != "IMPORT" && a.name != "QUERYPARAM" {
			continue
		}
		if by.name != "" {
			return ps.malformed(a.at.start, fmt.Sprintf("EXT-X-DEFINE has %s and %s", by.name, a.name))
		}
		by = a
	}
	switch _, twice := ps.p.variables[by.value]; {
	case by.name == "":
		return ps.malformed(0, "EXT-X-DEFINE has no NAME, IMPORT or QUERYPARAM")
	case !by.quoted || !isVariableName(by.value):
		return ps.malformed(by.at.start, fmt.Sprintf("attribute %s is not a quoted variable name", by.name))
	case twice:
		return ps.malformed(by.at.start, fmt.Sprintf("variable %s is defined twice", excerpt(by.value)))
	}
	v, err := ps.variable(by, as)
	switch {
	case err != nil:
		return err
	case len(ps.p.variables) == maxVariables:
		return ps.fail(ErrLimit, by.at.start, fmt.Sprintf("more than %d variables", maxVariables))
	case len(v) > maxVariableBytes:
		return ps.fail(ErrLimit, by.at.start, fmt.Sprintf("variable %s is longer than %d bytes", excerpt(by.value), maxVariableBytes))
	}
	if ps.p.variables == nil {
		ps.p.variables = Variables{}
	}
	ps.p.variables[by.value] = v
	return nil
}

// variable is the value that the attribute by defines.
func (ps *parser) variable(by attribute, as attributes) (string, error) {
	switch by.name {
	case "NAME":
		v, ok := as.find("VALUE")
		if !ok || !v.quoted {
			return "", ps.malformed(by.at.start, "EXT-X-DEFINE has a NAME and no quoted VALUE")
		}
		return v.value, nil
	case "IMPORT":
		ps.p.contextual = true
		ps.importLine = ps.lineNumber
		v, ok := ps.p.context.Imported[by.value]
		if !ok {
			return "", ps.malformed(by.at.start, fmt.Sprintf("no multivariant playlist defines the variable %s", excerpt(by.value)))
		}
		return closed(by.value, v), nil
	default:
		ps.p.contextual = true
		return ps.queryVariable(by)
	}
}

// queryVariable takes the value of a query parameter, percent-decoded.
func (ps *parser) queryVariable(by attribute) (string, error) {
	values := queryValues(ps.p.context.Query, by.value)
	switch {
	case len(values) == 0 && ps.p.context.AnyQuery:
		return variableStart + by.value + "}", nil
	case len(values) == 0:
		return "", ps.malformed(by.at.start, fmt.Sprintf("the URI of the playlist has no query parameter %s", excerpt(by.value)))
	case len(values) > 1:
		ps.refuse(by.at.start, fmt.Sprintf("the URI of the playlist has %d query parameters %s", len(values), excerpt(by.value)))
	case strings.Contains(values[0], "+"):
		// A plus sign to RFC 3986, a blank to HTML forms: players differ.
		ps.refuse(by.at.start, fmt.Sprintf("the query parameter %s has a plus sign", excerpt(by.value)))
	}
	v, err := url.PathUnescape(values[0])
	if err != nil || v == "" || !plainText(v) {
		return "", ps.malformed(by.at.start, fmt.Sprintf("the query parameter %s has no value that is text", excerpt(by.value)))
	}
	return closed(by.value, v), nil
}

// closed keeps a value that only the player knows under the variable's own name,
// since this playlist may not know the names in it.
func closed(name, v string) string {
	if strings.Contains(v, variableStart) {
		return variableStart + name + "}"
	}
	return v
}

// queryValues lists the values of a parameter, still percent-encoded.
func queryValues(query, name string) (values []string) {
	for pair := range strings.SplitSeq(query, "&") {
		n, v, _ := strings.Cut(pair, "=")
		if plain, err := url.PathUnescape(n); err == nil && plain == name {
			values = append(values, v)
		}
	}
	return values
}

// substitute fills in the variables of a text that stands at this index of the
// line. What it puts in is not looked at again.
func (ps *parser) substitute(s string, at int) (string, error) {
	if !strings.Contains(s, variableStart) {
		return s, nil
	}
	out, undefined := ps.p.variables.fill(s, maxFilledBytes-ps.filled)
	switch {
	case undefined != nil:
		return "", ps.malformed(at+undefined.start, fmt.Sprintf("variable %s is not defined before this line", excerpt(s[undefined.start:undefined.end])))
	case len(out) > maxFilledBytes-ps.filled:
		return "", ps.fail(ErrLimit, at, fmt.Sprintf("values with variables have more than %d bytes", maxFilledBytes))
	}
	ps.filled += len(out)
	return out, nil
}

// maxFilledBytes bounds all text that variables were filled into.
const maxFilledBytes = MaxPlaylistBytes

// fill replaces each variable reference by its value. It stops at one that is not
// defined, and soon after the result is longer than limit.
func (v Variables) fill(s string, limit int) (out string, undefined *span) {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() <= limit; {
		n := strings.Index(s[i:], variableStart)
		if n < 0 {
			b.WriteString(s[i:])
			break
		}
		b.WriteString(s[i : i+n])
		i += n
		end := i + len(variableStart)
		for end < len(s) && isVariableByte(s[end]) {
			end++
		}
		if end == len(s) || s[end] != '}' || end == i+len(variableStart) {
			b.WriteString(s[i:end]) // not a reference
			i = end
			continue
		}
		value, ok := v[s[i+len(variableStart):end]]
		if !ok {
			return "", &span{i, end + 1}
		}
		b.WriteString(value)
		i = end + 1
	}
	return b.String(), nil
}

func isVariableName(s string) bool {
	for i := range len(s) {
		if !isVariableByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isVariableByte reports a-z, A-Z, 0-9, '-' and '_' (rfc8216bis §4.3).
func isVariableByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
