package dash

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// place decides where each new reference is written: over the old text where
// every Representation that reads it agrees, else into each Representation that
// differs: as an attribute that overrides the inherited template (ISO/IEC 23009-1
// §5.3.9.1), or as a BaseURL of its own (§5.6).
func (m *MPD) place(moves []move) ([]splice, error) {
	agreed := m.agree(moves)
	var out []splice
	written := map[int]string{} // in place
	overrides := map[*Representation][]move{}
	for _, mv := range moves {
		at := mv.at()
		if !mv.changed() && agreed[at] {
			continue
		}
		if !agreed[at] {
			overrides[mv.rep] = append(overrides[mv.rep], mv)
			continue
		}
		if _, done := written[at]; done {
			continue
		}
		written[at] = mv.text
		if mv.kind != slotURL {
			out = append(out, splice{mv.attr.at, escape(mv.text, mv.attr.quote)})
			continue
		}
		s, err := m.rewriteText(mv.url.node, mv.text)
		if err != nil {
			return nil, err
		}
		out = append(out, s...)
	}
	for _, r := range m.Representations {
		s, err := m.override(r, overrides[r])
		if err != nil {
			return nil, err
		}
		out = append(out, s...)
	}
	return out, nil
}

// agree finds the texts that all who read them want to read the same. A BaseURL is
// read by every Representation under it, and must name the file of each.
func (m *MPD) agree(moves []move) map[int]bool {
	texts, agreed := map[int]string{}, map[int]bool{}
	readers := map[*node]int{} // under each element
	for _, r := range m.Representations {
		for n := r.node; n != nil; n = n.parent {
			readers[n]++
		}
	}
	type use struct {
		url *node
		rep *Representation
	}
	seen := map[use]bool{}
	files := map[*node]int{} // that each BaseURL names
	for _, mv := range moves {
		at := mv.at()
		if text, known := texts[at]; !known {
			texts[at], agreed[at] = mv.text, true
		} else if text != mv.text {
			agreed[at] = false
		}
		if mv.kind == slotURL && !seen[use{mv.url.node, mv.rep}] {
			seen[use{mv.url.node, mv.rep}] = true
			files[mv.url.node]++
		}
	}
	for url, n := range files {
		if n != readers[url.parent] {
			agreed[url.start] = false
		}
	}
	m.agreeAll(moves, agreed)
	return agreed
}

// agreeAll takes back what BaseURLs agree on where another BaseURL of the same
// Representation does not: the Representation gets one of its own for all.
func (m *MPD) agreeAll(moves []move, agreed map[int]bool) {
	for again := true; again; {
		again = false
		apart := map[*Representation]bool{}
		for _, mv := range moves {
			if mv.kind == slotURL && !agreed[mv.at()] {
				apart[mv.rep] = true
			}
		}
		for _, mv := range moves {
			if mv.kind == slotURL && apart[mv.rep] && agreed[mv.at()] {
				agreed[mv.at()], again = false, true
			}
		}
	}
}

// override writes what a Representation does not share with others, into the
// Representation itself.
func (m *MPD) override(r *Representation, moves []move) ([]splice, error) {
	if !slices.ContainsFunc(moves, move.changed) {
		return nil, nil
	}
	type name struct {
		kind slotKind
		role role
	}
	texts := map[name]string{}
	var templates []move
	url := ""
	for _, mv := range moves {
		text := mv.text
		switch mv.kind {
		case slotTemplate:
		case slotURL:
			var err error
			if text, err = m.spell(r, "", r.chains[mv.chain].base, mv.ref); err != nil {
				return nil, err
			}
			url = text
		default:
			if !mv.changed() {
				continue
			}
			return nil, m.fail(ErrUnsupported, mv.at(), "%s is shared by Representations that do not move alike", mv.attr.local)
		}
		n := name{mv.kind, mv.role}
		if was, known := texts[n]; known && was != text {
			return nil, m.fail(ErrUnsupported, mv.at(), "BaseURLs of Representation %q have no text in common that leads where it moves", r.ID)
		} else if !known && mv.kind == slotTemplate && mv.changed() {
			templates = append(templates, mv)
		}
		texts[n] = text
	}
	var out []splice
	if url != "" {
		s, err := m.ownBaseURL(r, url)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(templates) > 0 {
		out = append(out, m.ownTemplate(r.node, templates))
	}
	return out, nil
}

// rewriteText replaces the text of an element: blanks around it, comments and
// marks of CDATA stay.
func (m *MPD) rewriteText(n *node, text string) ([]splice, error) {
	var out []splice
	for _, run := range n.runs {
		b := m.raw[run.start:run.end]
		start := run.start + len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
		end := run.start + len(bytes.TrimRight(b, " \t\r\n"))
		if start >= end {
			continue
		}
		s := splice{at: span{start, end}, text: escape(text, 0)}
		if bytes.HasSuffix(m.raw[:run.start], []byte("<![CDATA[")) {
			s.text = text
			if strings.Contains(text, "]]>") {
				return nil, m.fail(ErrUnsupported, n.start, "%s in CDATA cannot have a reference with ]]>", n.local)
			}
		}
		out = append(out, s)
		text = "" // what follows a comment or CDATA goes
	}
	return out, nil
}

// ownBaseURL gives a Representation a BaseURL, relative to the one it shares,
// where the schema wants it.
func (m *MPD) ownBaseURL(r *Representation, text string) (splice, error) {
	if own := r.node.named("BaseURL"); len(own) > 0 {
		return splice{}, m.fail(ErrUnsupported, own[0].start, "empty BaseURL under one that Representations share and that do not move alike")
	}
	name := r.node.qualify("BaseURL")
	element := "<" + name + ">" + escape(text, 0) + "</" + name + ">"
	return m.insert(r.node, element, "ExtendedBandwidth", "SubRepresentation", "SegmentBase", "SegmentList", "SegmentTemplate"), nil
}

// ownTemplate writes attributes into the Representation's own SegmentTemplate, or
// into a new one at its end, where the schema wants it.
func (m *MPD) ownTemplate(n *node, moves []move) splice {
	var attrs strings.Builder
	for _, mv := range moves {
		name := "media"
		if mv.role == roleInit {
			name = "initialization"
		}
		fmt.Fprintf(&attrs, ` %s="%s"`, name, escape(mv.text, '"'))
	}
	if own := n.named("SegmentTemplate"); len(own) > 0 {
		at := own[len(own)-1].nameEnd
		return splice{span{at, at}, attrs.String()}
	}
	return m.insert(n, "<"+n.qualify("SegmentTemplate")+attrs.String()+"/>")
}

// insert puts an element into n: before the first child of one of these names,
// else at the end.
func (m *MPD) insert(n *node, element string, before ...string) splice {
	for _, c := range n.children {
		if c.space == n.space && slices.Contains(before, c.local) {
			return splice{span{c.start, c.start}, element + m.indent(c.start)}
		}
	}
	switch {
	case n.selfClosing():
		return splice{span{n.openEnd - len("/>"), n.openEnd}, ">" + element + "</" + n.qualify(n.local) + ">"}
	case len(n.children) > 0:
		last := n.children[len(n.children)-1]
		return splice{span{last.end, last.end}, m.indent(last.start) + element}
	default:
		return splice{span{n.closeStart, n.closeStart}, element}
	}
}

// qualify gives a name the prefix of n.
func (n *node) qualify(local string) string {
	if n.prefix == "" {
		return local
	}
	return n.prefix + ":" + local
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

// escape writes s as text, or as the value of an attribute in these quotes (XML
// 1.0 §2.3, §2.4).
func escape(s string, quote byte) string {
	r := []string{"&", "&amp;", "<", "&lt;", ">", "&gt;"}
	switch quote {
	case '"':
		r = append(r, `"`, "&quot;")
	case '\'':
		r = append(r, "'", "&apos;")
	}
	return strings.NewReplacer(r...).Replace(s)
}
