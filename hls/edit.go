package hls

import (
	"fmt"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// Replacement is the new text of a reference. An empty field leaves the old one.
type Replacement struct {
	URI string
	// KeyID replaces a KEYID attribute; the tag must have one.
	KeyID string
}

// Edit asks fn for the replacement of each reference, in order, and returns the
// playlist with them: only the bytes of what changed differ. What it returns has
// been parsed again and says what fn wanted.
func (p *Playlist) Edit(fn func(Ref) (Replacement, error)) ([]byte, error) {
	out := make([]byte, 0, len(p.raw)+len(p.raw)/8)
	want := make([]Replacement, len(p.Refs))
	last := 0
	put := func(at span, text string) {
		out = append(out, p.raw[last:at.start]...)
		out = append(out, text...)
		last = at.end
	}
	for i, r := range p.Refs {
		n, err := fn(r)
		if err != nil {
			return nil, fmt.Errorf("edit %s line %d: %w", p.object, r.Line, err)
		}
		if err := p.check(r, p.spots[i], n); err != nil {
			return nil, err
		}
		want[i] = n
		for _, e := range edits(p.spots[i], n) {
			put(e.at, e.text)
		}
	}
	out = append(out, p.raw[last:]...)
	return out, p.confirm(out, want)
}

type edit struct {
	at   span
	text string
}

// edits are the changes of one reference, in the order in which they stand.
func edits(s spot, n Replacement) []edit {
	var es []edit
	if n.URI != "" {
		es = append(es, edit{s.uri, n.URI})
	}
	if n.KeyID != "" {
		es = append(es, edit{s.keyID, n.KeyID})
	}
	if len(es) == 2 && s.keyID.start < s.uri.start {
		es[0], es[1] = es[1], es[0]
	}
	return es
}

// check refuses text that would not be read back as what it is.
func (p *Playlist) check(r Ref, s spot, n Replacement) error {
	bad := func(reason string) error {
		return &Error{Object: p.object, Line: r.Line, Offset: int64(s.uri.start), Class: ErrMalformed, Reason: reason}
	}
	switch {
	case !plainText(n.URI):
		return bad("new URI has control characters or is not UTF-8")
	case s.quoted && strings.Contains(n.URI, `"`):
		return bad("new URI has a quotation mark")
	case !s.quoted && n.URI != "" && (n.URI[0] == '#' || n.URI != strings.Trim(n.URI, " \t")):
		return bad("new URI begins with # or has blanks around it")
	case n.KeyID != "" && s.keyID == span{}:
		return bad("new KEYID for a tag that has none")
	}
	if n.KeyID != "" {
		if _, err := key.ParseIV(n.KeyID); err != nil {
			return bad("new KEYID is not 0x and 32 hex digits")
		}
	}
	return nil
}

// confirm reads the edited playlist again and compares it with what was wanted.
func (p *Playlist) confirm(out []byte, want []Replacement) error {
	q, err := Parse(p.object, out)
	if err != nil {
		return fmt.Errorf("read edited playlist: %w", err)
	}
	if len(q.Refs) != len(p.Refs) {
		return &Error{Object: p.object, Line: 1, Class: ErrMalformed, Reason: "edited playlist has other references"}
	}
	for i, r := range p.Refs {
		uri, id := r.URI, ""
		if r.Key != nil {
			id = r.Key.KeyID
		}
		if want[i].URI != "" {
			uri = want[i].URI
		}
		if want[i].KeyID != "" {
			id = want[i].KeyID
		}
		got := q.Refs[i]
		if got.URI != uri || got.Role != r.Role || (r.Key != nil && got.Key.KeyID != id) {
			return &Error{Object: p.object, Line: r.Line, Class: ErrMalformed, Reason: "edited playlist does not say what was wanted"}
		}
	}
	return p.confirmRanges(q)
}

// confirmRanges compares the byte ranges: one without an offset hangs on the URI
// of the segment before it.
func (p *Playlist) confirmRanges(q *Playlist) error {
	if len(q.Segments) != len(p.Segments) {
		return &Error{Object: p.object, Line: 1, Class: ErrMalformed, Reason: "edited playlist has other segments"}
	}
	for i, s := range p.Segments {
		if !sameRange(q.Segments[i].Range, s.Range) {
			return &Error{Object: p.object, Line: s.Line, Class: ErrMalformed, Reason: "edited playlist has another byte range"}
		}
	}
	return nil
}
