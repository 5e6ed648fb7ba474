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
	first, agreed := m.agree(moves)
	var out []splice
	overrides := map[*Representation][]move{}
	for i, mv := range moves {
		var err error
		var s []splice
		switch at := mv.at(); {
		case !mv.changed():
		case agreed[at] && first[at] != i: // written already
		case agreed[at] && mv.kind == slotFile:
			s, err = m.rewriteText(mv.rep.url.node, mv.text)
		case agreed[at]:
			s = []splice{{mv.attr.at, escape(mv.text, mv.attr.quote)}}
		case mv.kind == slotListed:
			err = m.fail(ErrUnsupported, at, "%s is shared by Representations that do not move alike", mv.attr.local)
		case mv.kind == slotFile:
			s, err = m.ownBaseURL(mv)
		default:
			overrides[mv.rep] = append(overrides[mv.rep], mv)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s...)
	}
	for _, r := range m.Representations {
		if mv := overrides[r]; len(mv) > 0 {
			out = append(out, m.override(r.node, mv))
		}
	}
	return out, nil
}

// agree finds the first move of each text, and the texts that all who read them
// want to read the same. A BaseURL is read by every Representation under it, and
// must name the file of each.
func (m *MPD) agree(moves []move) (first map[int]int, agreed map[int]bool) {
	first, agreed = map[int]int{}, map[int]bool{}
	readers := map[*node]int{} // under each element
	for _, r := range m.Representations {
		for n := r.node; n != nil; n = n.parent {
			readers[n]++
		}
	}
	files := map[*node]int{} // that each BaseURL names
	for i, mv := range moves {
		at := mv.at()
		if f, seen := first[at]; !seen {
			first[at], agreed[at] = i, true
		} else if moves[f].text != mv.text {
			agreed[at] = false
		}
		if mv.kind == slotFile {
			files[mv.rep.url.node]++
		}
	}
	for url, n := range files {
		if n != readers[url.parent] {
			agreed[url.start] = false
		}
	}
	return first, agreed
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
func (m *MPD) ownBaseURL(mv move) ([]splice, error) {
	n := mv.rep.node
	if own := n.named("BaseURL"); len(own) > 0 {
		return nil, m.fail(ErrUnsupported, own[0].start, "empty BaseURL under one that Representations share and that do not move alike")
	}
	text, err := m.spell(mv.rep, mv.rep.Base, mv.ref)
	if err != nil {
		return nil, err
	}
	name := n.qualify("BaseURL")
	element := "<" + name + ">" + escape(text, 0) + "</" + name + ">"
	return []splice{m.insert(n, element, "ExtendedBandwidth", "SubRepresentation", "SegmentBase", "SegmentList", "SegmentTemplate")}, nil
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
