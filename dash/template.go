package dash

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// identifier is what a $…$ of a template stands for (ISO/IEC 23009-1 §5.3.9.4.4).
type identifier int

const (
	literal identifier = iota
	representationID
	number
	bandwidth
	timeID
	subNumber
)

// maxWidth bounds the width of a format tag: more zeros only make long names.
const maxWidth = 32

// part is a piece of a template.
type part struct {
	id    identifier
	text  string // of a literal
	width int
}

type template []part

var errTemplate = errors.New("bad template")

// parseTemplate reads a URL template.
func parseTemplate(s string) (template, error) {
	var t template
	for {
		before, rest, found := strings.Cut(s, "$")
		if before != "" {
			t = append(t, part{text: before})
		}
		if !found {
			return t, nil
		}
		token, after, closed := strings.Cut(rest, "$")
		if !closed {
			return nil, fmt.Errorf("%w: $ without an end", errTemplate)
		}
		p, err := parseToken(token)
		if err != nil {
			return nil, err
		}
		t = append(t, p)
		s = after
	}
}

func parseToken(token string) (part, error) {
	name, format, hasFormat := strings.Cut(token, "%")
	var p part
	switch name {
	case "":
		p = part{text: "$"}
	case "RepresentationID":
		p.id = representationID
	case "Number":
		p.id = number
	case "Bandwidth":
		p.id = bandwidth
	case "Time":
		p.id = timeID
	case "SubNumber":
		p.id = subNumber
	default:
		return p, fmt.Errorf("%w: unknown identifier $%s$", errTemplate, name)
	}
	if !hasFormat {
		return p, nil
	}
	if p.id == literal || p.id == representationID {
		return p, fmt.Errorf("%w: $%s$ has a format tag", errTemplate, token)
	}
	// §5.3.9.4.4: %0[width]d. A bare %d is written too.
	digits, ok := strings.CutSuffix(format, "d")
	if !ok {
		return p, fmt.Errorf("%w: format tag of $%s$ is not %%0[width]d", errTemplate, token)
	}
	if digits == "" {
		return p, nil
	}
	w, err := strconv.ParseUint(digits, 10, 8)
	if err != nil || digits[0] != '0' || w > maxWidth {
		return p, fmt.Errorf("%w: format tag of $%s$ is not %%0[width]d of at most %d", errTemplate, token, maxWidth)
	}
	p.width = int(w)
	return p, nil
}

func (t template) has(id identifier) bool {
	for _, p := range t {
		if p.id == id {
			return true
		}
	}
	return false
}

// segmentID is what distinguishes the segments of one Representation.
type segmentID struct{ number, time uint64 }

// expand fills the template in.
func (t template) expand(r *Representation, s segmentID) string {
	return string(t.append(make([]byte, 0, 64), r, s))
}

func (t template) append(b []byte, r *Representation, s segmentID) []byte {
	for _, p := range t {
		switch p.id {
		case literal:
			b = append(b, p.text...)
		case representationID:
			b = append(b, r.ID...)
		case number:
			b = appendPadded(b, s.number, p.width)
		case timeID:
			b = appendPadded(b, s.time, p.width)
		case bandwidth:
			b = appendPadded(b, r.bandwidth, p.width)
		case subNumber:
		}
	}
	return b
}

func appendPadded(b []byte, n uint64, width int) []byte {
	var digits [20]byte // of 2^64
	d := strconv.AppendUint(digits[:0], n, 10)
	for range width - len(d) {
		b = append(b, '0')
	}
	return append(b, d...)
}
