package hls

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// Replacement is the new text of a reference. A zero field leaves the old one.
type Replacement struct {
	// URI is written as it is. A variable reference may stand in its query: one
	// that the old URI has there too, or one that only the player knows.
	URI string
	// KeyID replaces a KEYID attribute; the tag must have one.
	KeyID string
	// Range replaces the sub-range of a Segment, Map or Part; the reference must
	// have one. Whether it is written with its offset stays.
	Range *ByteRange
}

// Edit asks fn for the replacement of each reference, in order, and returns the
// playlist with them: only the bytes of what changed differ. What it returns has
// been parsed again and says what fn wanted. So fn must also give the ranges that
// follow from one it changes: a range written without an offset goes on from the
// one before.
func (p *Playlist) Edit(fn func(Ref) (Replacement, error)) ([]byte, error) {
	want := make([]Replacement, len(p.Refs))
	var es []edit
	for i, r := range p.Refs {
		n, err := fn(r)
		if err != nil {
			return nil, fmt.Errorf("edit %s line %d: %w", p.object, r.Line, err)
		}
		if err := p.check(r, p.spots[i], n); err != nil {
			return nil, err
		}
		want[i] = n
		es = p.spots[i].edits(es, r, n)
	}
	// Not in the order of the references: a key tag may stand between an
	// EXT-X-BYTERANGE and its URI.
	slices.SortFunc(es, func(a, b edit) int { return cmp.Compare(a.at.start, b.at.start) })
	out := make([]byte, 0, len(p.text)+len(p.text)/8)
	last := 0
	for _, e := range es {
		out = append(out, p.text[last:e.at.start]...)
		out = append(out, e.text...)
		last = e.at.end
	}
	out = append(out, p.text[last:]...)
	return out, p.confirm(out, want)
}

type edit struct {
	at   span
	text string
}

// edits adds the changes of one reference.
func (s spot) edits(es []edit, r Ref, n Replacement) []edit {
	if n.URI != "" && n.URI != r.URI {
		es = append(es, edit{s.uri, n.URI})
	}
	if n.KeyID != "" && n.KeyID != r.Key.KeyID {
		es = append(es, edit{s.keyID, n.KeyID})
	}
	if n.Range == nil || *n.Range == *r.Range || !s.offset && n.Range.Length == r.Range.Length {
		return es
	}
	text := strconv.FormatInt(n.Range.Length, 10)
	if s.offset {
		text += "@" + strconv.FormatInt(n.Range.Offset, 10)
	}
	return append(es, edit{s.rng, text})
}

// check refuses text that would not be read back as what it is.
func (p *Playlist) check(r Ref, s spot, n Replacement) error {
	bad := func(reason string) error {
		return p.errorAt(r, s, reason)
	}
	switch {
	case !plainText(n.URI):
		return bad("new URI has control characters or is not UTF-8")
	case s.quoted && strings.Contains(n.URI, `"`):
		return bad("new URI has a quotation mark")
	case !s.quoted && n.URI != "" && (n.URI[0] == '#' || n.URI != strings.Trim(n.URI, " \t")):
		return bad("new URI begins with # or has blanks around it")
	case n.URI != r.URI && !p.literal(n.URI, r.URI):
		return bad("new URI would be read with a variable in it")
	case n.KeyID != "" && s.keyID == span{}:
		return bad("new KEYID for a tag that has none")
	case n.Range != nil && r.Range == nil:
		return bad("new byte range for a reference that has none")
	case n.Range != nil && (n.Range.Offset < 0 || n.Range.Length <= 0 || n.Range.Offset > math.MaxInt64-n.Range.Length):
		return bad("new byte range is empty, negative or overflows")
	}
	if n.KeyID != "" {
		if _, err := key.ParseIV(n.KeyID); err != nil {
			return bad("new KEYID is not 0x and 32 hex digits")
		}
	}
	return nil
}

func (p *Playlist) errorAt(r Ref, s spot, reason string) *Error {
	start := 1 + strings.LastIndexByte(p.text[:s.uri.start], '\n')
	return &Error{Object: p.object, Line: r.Line, Column: 1 + s.uri.start - start, Offset: int64(s.uri.start), Class: ErrMalformed, Reason: reason}
}

// literal reports a new URI whose variables are those that its query shall have:
// the old query as it was written, or values that only the player knows.
func (p *Playlist) literal(uri, old string) bool {
	path, query, _ := strings.Cut(uri, "?")
	_, kept, _ := strings.Cut(old, "?")
	if strings.Contains(path, variableStart) {
		return false
	}
	filled, undefined := p.variables.fill(query, maxFilledBytes)
	return query == kept || undefined == nil && filled == query
}

// confirm reads the edited playlist again and compares it with what was wanted.
func (p *Playlist) confirm(out []byte, want []Replacement) error {
	q, err := ParseWith(p.object, out, p.context)
	if err != nil {
		return fmt.Errorf("read edited playlist: %w", err)
	}
	if len(q.Refs) != len(p.Refs) || len(q.Segments) != len(p.Segments) || len(q.Parts) != len(p.Parts) {
		return &Error{Object: p.object, Line: 1, Class: ErrMalformed, Reason: "edited playlist has other references"}
	}
	for i, r := range p.Refs {
		if reason := differs(p.after(r, want[i]), q.Refs[i]); reason != "" {
			return p.errorAt(r, p.spots[i], "edited playlist "+reason)
		}
	}
	return nil
}

// after is what a reference shall be.
func (p *Playlist) after(r Ref, n Replacement) Ref {
	if n.URI != "" && n.URI != r.URI {
		r.URI = n.URI
		r.Target, _ = p.variables.fill(n.URI, maxFilledBytes)
	}
	if r.Key != nil {
		k := *r.Key
		k.URI = r.Target
		k.KeyID = cmp.Or(n.KeyID, k.KeyID)
		r.Key = &k
	}
	if n.Range != nil {
		r.Range = n.Range
	}
	return r
}

// differs says how a reference is not what was wanted; nothing where it is.
func differs(want, got Ref) string {
	switch {
	case got.URI != want.URI || got.Target != want.Target || got.Role != want.Role || got.Line != want.Line:
		return "does not say what was wanted"
	case (got.Range == nil) != (want.Range == nil) || got.Range != nil && *got.Range != *want.Range:
		return "has another byte range"
	case got.Key != nil && !got.Key.same(want.Key):
		return "has another key tag"
	}
	return ""
}

// same compares all that a tag says.
func (k *KeyTag) same(o *KeyTag) bool {
	if (k.IV == nil) != (o.IV == nil) || k.IV != nil && *k.IV != *o.IV {
		return false
	}
	a, b := *k, *o
	a.IV, b.IV, a.Column, b.Column = nil, nil, 0, 0
	return a == b
}
