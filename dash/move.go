package dash

import (
	"fmt"
	"strings"
)

// slot is one reference of one Representation and where its text stands: an
// attribute, or the text of a BaseURL.
type slot struct {
	rep  *Representation
	init bool
	// index is of Media where segments are listed.
	index int
	kind  slotKind
	attr  *attr // nil for a BaseURL
	// base is what value, the text, is relative to.
	base, value string
}

type slotKind int

const (
	slotTemplate slotKind = iota
	slotListed
	slotFile
)

// at is where the text stands: the same for all Representations that share it.
func (s slot) at() int {
	if s.kind == slotFile {
		return s.rep.url.node.start
	}
	return s.attr.at.start
}

// slots lists the references of r.
func (r *Representation) slots() []slot {
	if r.File != "" {
		return []slot{{rep: r, init: true, kind: slotFile, base: r.url.outer, value: r.url.ref}}
	}
	var out []slot
	for _, t := range []*templateAttr{r.init, r.media} {
		if t != nil {
			out = append(out, slot{rep: r, init: t == r.init, attr: t.attr, base: r.Base, value: t.value})
		}
	}
	if r.listedInit != nil {
		out = append(out, slot{rep: r, init: true, kind: slotListed, attr: r.listedInit, base: r.Base, value: r.listedInit.value})
	}
	for i, a := range r.listed {
		out = append(out, slot{rep: r, index: i, kind: slotListed, attr: a, base: r.Base, value: a.value})
	}
	return out
}

// move is a slot and where what it names goes.
type move struct {
	slot
	ref  string // relative to the MPD
	text string // in place of value
}

func (m move) changed() bool { return m.text != m.value }

// moves asks fn about every reference.
func (m *MPD) moves(fn func(*Representation, bool, string) (string, error)) ([]move, error) {
	if fn == nil {
		return nil, nil
	}
	var out []move
	for _, r := range m.Representations {
		for _, s := range r.slots() {
			mv := move{slot: s, text: s.value}
			ref := join(s.base, s.value)
			var err error
			if mv.ref, err = fn(r, mv.init, ref); err != nil {
				return nil, fmt.Errorf("edit %s: Representation %q: %w", m.object, r.ID, err)
			}
			if mv.ref != ref {
				if mv.text, err = m.spell(r, s.base, mv.ref); err != nil {
					return nil, err
				}
			}
			out = append(out, mv)
		}
	}
	return out, nil
}

// spell writes a reference from the MPD as one from base.
func (m *MPD) spell(r *Representation, base, ref string) (string, error) {
	text, ok := relative(base, ref)
	if !ok {
		return "", m.fail(ErrUnsupported, r.node.start, "Representation %q: BaseURL %q leaves the MPD's folder, so no reference leads back", r.ID, base)
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 || c == 0xfffe || c == 0xffff || c == 0xfffd }) {
		return "", m.fail(ErrMalformed, r.node.start, "Representation %q: new reference has characters that XML does not take", r.ID)
	}
	return text, nil
}

// expand writes into r the references that the move wants.
func (m move) expand(r *Representation) error {
	switch {
	case m.kind == slotFile:
		r.File = m.ref
		return nil
	case m.kind == slotListed && m.init:
		r.Init = m.ref
		return nil
	case m.kind == slotListed:
		r.Media[m.index] = m.ref
		return nil
	}
	t, err := parseTemplate(m.ref)
	if err != nil {
		return err
	}
	if m.init {
		r.Init = t.expand(m.rep, segmentID{})
		return nil
	}
	for i, id := range m.rep.ids {
		r.Media[i] = t.expand(m.rep, id)
	}
	return nil
}
