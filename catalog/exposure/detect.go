package exposure

import (
	"bytes"
	"encoding/json"
	"strings"
)

// kind is what a line turned out to be.
type kind int

const (
	nothing kind = iota // a comment, a blank line
	other               // a record of something that hands out no key
	fetch               // a request for what may be a key; its status says how it went
)

// parser reads the lines of one format, in their order. Its errors are the reason
// why a line is not of the format, and quote nothing of it.
type parser interface {
	parse(line string) (Fetch, kind, error)
}

// parserFunc is a parser that remembers nothing from line to line.
type parserFunc func(line string) (Fetch, kind, error)

func (f parserFunc) parse(line string) (Fetch, kind, error) { return f(line) }

// parserOf returns nil for a format that there is not.
func parserOf(f Format) parser {
	switch f {
	case Combined:
		return parserFunc(parseCombined)
	case CloudFront:
		return &w3c{}
	case CloudFrontJSON:
		return parserFunc(parseCloudFrontJSON)
	case CloudTrail:
		return parserFunc(parseCloudTrail)
	case S3:
		return parserFunc(parseS3)
	case JSON:
		return parserFunc(parseJSON)
	case Audit:
		return parserFunc(parseAudit)
	}
	return nil
}

// detect tells a format by the first line of head that is of any.
func detect(head []byte) (Format, bool) {
	if hasRecords(head) {
		return CloudTrail, true
	}
	for line := range bytes.Lines(head) {
		text := strings.TrimSpace(string(line))
		switch {
		case text == "":
		case strings.HasPrefix(text, "#Version:"), strings.HasPrefix(text, "#Fields:"):
			return CloudFront, true
		case text[0] == '{':
			if f, ok := detectJSON(text); ok {
				return f, true
			}
		default:
			for _, f := range []Format{S3, Combined} {
				if _, k, err := parserOf(f).parse(text); err == nil && k != nothing {
					return f, true
				}
			}
		}
	}
	return "", false
}

// detectJSON tells a format by the members that only its lines have.
func detectJSON(line string) (Format, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(line), &members) != nil {
		return "", false
	}
	for _, f := range []struct {
		format Format
		names  []string
	}{
		{CloudTrail, []string{"eventSource", "eventName"}},
		{Audit, []string{"actor", "action", "outcome"}},
		{CloudFrontJSON, []string{"cs-uri-stem"}},
		{JSON, []string{"client", "status"}},
	} {
		if hasAll(members, f.names) {
			return f.format, true
		}
	}
	return "", false
}

func hasAll(members map[string]json.RawMessage, names []string) bool {
	for _, n := range names {
		if _, ok := members[n]; !ok {
			return false
		}
	}
	return true
}

// hasRecords reports a CloudTrail file: an object whose first member is Records.
func hasRecords(head []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(`"Records"`))
}
