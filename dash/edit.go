package dash

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// Edits says how an MPD changes. Zero changes nothing.
type Edits struct {
	// Changes are the keys that change: default_KID, cenc:pssh, mspr:pro and
	// mspr:kid name their new KIDs.
	Changes key.Changes
	// Move returns the new reference of a Representation's init section (init) or
	// of its media segments. ref is the template joined with the BaseURLs,
	// relative to the MPD, with its $…$; so is the reference it returns, which is
	// ref itself for what does not move. nil moves nothing.
	Move func(r *Representation, init bool, ref string) (newRef string, err error)
}

// splice replaces a span of the text.
type splice struct {
	at   span
	text string
}

// move is one template of one Representation and where it goes.
type move struct {
	rep  *Representation
	init bool
	from *templateAttr
	ref  string // relative to the MPD
	text string // of the attribute
}

func (m move) changed() bool { return m.text != m.from.value }

// Edit returns the MPD with e: only the bytes of what changed differ. It has been
// read again and leads each Representation where Move sent it. An MPD that is
// not supported is not edited.
func (m *MPD) Edit(e Edits) ([]byte, error) {
	if err := m.Unsupported(); err != nil && (e.Move != nil || len(e.Changes) > 0) {
		return nil, err
	}
	var splices []splice
	if len(e.Changes) > 0 {
		for _, p := range m.protections {
			s, err := p.rekey(m.source, e.Changes)
			if err != nil {
				return nil, err
			}
			splices = append(splices, s...)
		}
	}
	moves, err := m.moves(e.Move)
	if err != nil {
		return nil, err
	}
	splices = append(splices, m.place(moves)...)
	out := apply(m.raw, splices)
	if len(splices) == 0 {
		return out, nil
	}
	return out, m.confirm(out, moves, e.Changes)
}

func apply(raw []byte, splices []splice) []byte {
	slices.SortFunc(splices, func(a, b splice) int { return a.at.start - b.at.start })
	var b bytes.Buffer
	last := 0
	for _, s := range splices {
		b.Write(raw[last:s.at.start])
		b.WriteString(s.text)
		last = s.at.end
	}
	b.Write(raw[last:])
	return b.Bytes()
}

// moves asks fn about every template in force.
func (m *MPD) moves(fn func(*Representation, bool, string) (string, error)) ([]move, error) {
	if fn == nil {
		return nil, nil
	}
	var out []move
	for _, r := range m.Representations {
		for _, t := range []*templateAttr{r.init, r.media} {
			if t == nil {
				continue
			}
			mv := move{rep: r, init: t == r.init, from: t, text: t.value}
			ref := join(r.Base, t.value)
			var err error
			if mv.ref, err = fn(r, mv.init, ref); err != nil {
				return nil, fmt.Errorf("edit %s: Representation %q: %w", m.object, r.ID, err)
			}
			if mv.ref != ref {
				text, ok := relative(r.Base, mv.ref)
				if !ok {
					return nil, m.fail(ErrUnsupported, r.node.start, "Representation %q: BaseURL %q leaves the MPD's folder, so no template leads back", r.ID, r.Base)
				}
				if strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 || c == 0xfffe || c == 0xffff || c == 0xfffd }) {
					return nil, m.fail(ErrMalformed, r.node.start, "Representation %q: new reference has characters that XML does not take", r.ID)
				}
				mv.text = text
			}
			out = append(out, mv)
		}
	}
	return out, nil
}

// place decides where each new template is written: over the old one where every
// Representation under it agrees, else into each Representation that differs, as
// an attribute that overrides the inherited one (ISO/IEC 23009-1 §5.3.9.1).
func (m *MPD) place(moves []move) []splice {
	agreed := map[*attr]bool{}
	first := map[*attr]move{}
	for _, mv := range moves {
		f, seen := first[mv.from.attr]
		if !seen {
			first[mv.from.attr], agreed[mv.from.attr] = mv, true
		} else if f.text != mv.text {
			agreed[mv.from.attr] = false
		}
	}
	var out []splice
	overrides := map[*Representation][]move{}
	for _, mv := range moves {
		switch {
		case !mv.changed():
		case !agreed[mv.from.attr]:
			overrides[mv.rep] = append(overrides[mv.rep], mv)
		case first[mv.from.attr] == mv:
			out = append(out, splice{mv.from.at, escape(mv.text, mv.from.quote)})
		}
	}
	for _, r := range m.Representations {
		if mv := overrides[r]; len(mv) > 0 {
			out = append(out, m.override(r.node, mv))
		}
	}
	return out
}

// override writes attributes into the Representation's own SegmentTemplate, or
// into a new one at its end, where the schema wants it.
func (m *MPD) override(n *node, moves []move) splice {
	var attrs strings.Builder
	for _, mv := range moves {
		name := "media"
		if mv.init {
			name = "initialization"
		}
		fmt.Fprintf(&attrs, ` %s="%s"`, name, escape(mv.text, '"'))
	}
	if own := n.named("SegmentTemplate"); len(own) > 0 {
		at := own[len(own)-1].nameEnd
		return splice{span{at, at}, attrs.String()}
	}
	prefix := n.prefix
	if prefix != "" {
		prefix += ":"
	}
	element := "<" + prefix + "SegmentTemplate" + attrs.String() + "/>"
	switch {
	case n.selfClosing():
		return splice{span{n.openEnd - len("/>"), n.openEnd}, ">" + element + "</" + prefix + n.local + ">"}
	case len(n.children) > 0:
		last := n.children[len(n.children)-1]
		return splice{span{last.end, last.end}, m.indent(last.start) + element}
	default:
		return splice{span{n.closeStart, n.closeStart}, element}
	}
}

// indent returns the line break and blanks before offset, if that is all there is
// on its line.
func (m *MPD) indent(offset int) string {
	i := offset
	for i > 0 && (m.raw[i-1] == ' ' || m.raw[i-1] == '\t') {
		i--
	}
	if i == 0 || m.raw[i-1] != '\n' {
		return ""
	}
	i--
	if i > 0 && m.raw[i-1] == '\r' {
		i--
	}
	return string(m.raw[i:offset])
}

// escape writes s as the value of an attribute in these quotes (XML 1.0 §2.3).
func escape(s string, quote byte) string {
	r := []string{"&", "&amp;", "<", "&lt;", ">", "&gt;"}
	if quote == '"' {
		r = append(r, `"`, "&quot;")
	} else {
		r = append(r, "'", "&apos;")
	}
	return strings.NewReplacer(r...).Replace(s)
}

// confirm reads the edited MPD again and compares it with what was wanted.
func (m *MPD) confirm(out []byte, moves []move, ch key.Changes) error {
	q, err := Parse(m.object, out)
	if err != nil {
		return fmt.Errorf("read edited MPD: %w", err)
	}
	if len(q.Representations) != len(m.Representations) {
		return m.fail(ErrMalformed, 0, "edited MPD has other Representations")
	}
	want := map[*Representation]*Representation{}
	for _, r := range m.Representations {
		want[r] = &Representation{Init: r.Init, Media: r.Media}
	}
	for _, mv := range moves {
		if !mv.changed() {
			continue
		}
		if err := mv.expand(want[mv.rep]); err != nil {
			return m.fail(ErrMalformed, mv.rep.node.start, "new reference of Representation %q: %v", mv.rep.ID, err)
		}
	}
	for i, r := range m.Representations {
		got, w := q.Representations[i], want[r]
		same := func(a, b string) bool { return clean(a) == clean(b) }
		kids := func(a, b key.KID) bool {
			if c, ok := ch[b]; ok {
				b = c.NewKID
			}
			return a == b
		}
		if !same(got.Init, w.Init) || !slices.EqualFunc(got.Media, w.Media, same) || !slices.EqualFunc(got.DefaultKIDs, r.DefaultKIDs, kids) {
			return m.fail(ErrMalformed, r.node.start, "edited Representation %q does not lead where it was meant to", r.ID)
		}
	}
	return nil
}

// expand writes into r the references that the move wants.
func (mv move) expand(r *Representation) error {
	t, err := parseTemplate(mv.ref)
	if err != nil {
		return err
	}
	if mv.init {
		r.Init = t.expand(mv.rep, segmentID{})
		return nil
	}
	r.Media = make([]string, len(mv.rep.ids))
	for i, id := range mv.rep.ids {
		r.Media[i] = t.expand(mv.rep, id)
	}
	return nil
}

// classOf maps the class of an error about protection data to this package's.
func classOf(err error) error {
	if errors.Is(err, pssh.ErrUnsupported) {
		return ErrUnsupported
	}
	return ErrMalformed
}
