package dash

import (
	"fmt"
	"strings"
)

// slot is one reference of one Representation, under one chain of BaseURLs, and
// where its text stands: an attribute, or the text of a BaseURL.
type slot struct {
	rep   *Representation
	chain int
	role  role
	// index is of Media where segments are listed.
	index int
	kind  slotKind
	attr  *attr // nil for a BaseURL
	url   baseURL
	// base is what value, the text, is relative to.
	base, value string
}

type slotKind int

const (
	slotTemplate slotKind = iota
	slotListed
	slotURL
	slotSet // of an InitializationSet
)

// at is where the text stands: the same for all Representations that share it.
func (s slot) at() int {
	if s.kind == slotURL {
		return s.url.node.start
	}
	return s.attr.at.start
}

// init is what Edits.Move is told.
func (s slot) init() bool { return s.role == roleInit || s.role == roleFile }

// allSlots lists the references of r.
func (m *MPD) allSlots(r *Representation) []slot {
	var out []slot
	for i := range r.chains {
		out = append(out, r.slots(i)...)
	}
	for _, a := range r.sets {
		out = append(out, slot{rep: r, role: roleInit, kind: slotSet, attr: a, base: m.bases[0].base, value: a.value})
	}
	return out
}

// slots lists those under one of its chains: a BaseURL that names something comes
// first, since others are relative to it.
func (r *Representation) slots(i int) []slot {
	c := r.chains[i]
	var out []slot
	if r.byURL != roleNone {
		out = append(out, slot{rep: r, chain: i, role: r.byURL, kind: slotURL, url: c.url, base: c.url.outer, value: c.url.ref})
	}
	for _, t := range []*templateAttr{r.init, r.media} {
		if t == nil {
			continue
		}
		s := slot{rep: r, chain: i, role: roleMedia, attr: t.attr, base: c.base, value: t.value}
		if t == r.init {
			s.role = roleInit
		}
		out = append(out, s)
	}
	for _, l := range r.listed {
		out = append(out, slot{rep: r, chain: i, role: l.role, index: l.index, kind: slotListed, attr: l.attr, base: c.base, value: l.value})
	}
	return out
}

// move is a slot and where what it names goes.
type move struct {
	slot
	ref  string // relative to the MPD, or absolute
	text string // in place of value
}

func (m move) changed() bool { return m.text != m.value }

type mover func(r *Representation, init bool, ref string) (string, error)

// moves asks fn about every reference.
func (m *MPD) moves(fn mover) ([]move, error) {
	if fn == nil {
		return nil, nil
	}
	var out []move
	for _, r := range m.Representations {
		var base string // where the BaseURL leads to
		for _, s := range m.allSlots(r) {
			to := s.base
			if s.kind == slotListed && r.byURL != roleNone {
				to = base
			}
			mv, err := m.move(s, to, fn)
			if err != nil {
				return nil, err
			}
			if s.kind == slotURL {
				base = joinBase(s.base, mv.text)
			}
			out = append(out, mv)
		}
	}
	return out, nil
}

// move asks fn about one reference, whose new text is relative to the folder base.
func (m *MPD) move(s slot, base string, fn mover) (move, error) {
	ref := join(s.base, s.value)
	mv := move{slot: s, ref: ref, text: s.value}
	if s.role != roleKept {
		to, err := fn(s.rep, s.init(), ref)
		if err != nil {
			return mv, fmt.Errorf("edit %s: Representation %q: %w", m.object, s.rep.ID, err)
		}
		mv.ref = to
	}
	if mv.ref == ref && (base == s.base || clean(join(base, s.value)) == clean(ref)) {
		return mv, nil
	}
	var err error
	mv.text, err = m.spell(s.rep, s.value, base, mv.ref)
	return mv, err
}

// spell writes a reference from the MPD as one from base, in the manner of old.
func (m *MPD) spell(r *Representation, old, base, ref string) (string, error) {
	text, ok := spellAs(old, base, ref)
	if !ok {
		return "", m.fail(ErrUnsupported, r.node.start, "Representation %q: BaseURL %q leaves the MPD's folder, so no reference leads back", r.ID, base)
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 || c == 0xfffe || c == 0xffff || c == 0xfffd }) {
		return "", m.fail(ErrMalformed, r.node.start, "Representation %q: new reference has characters that XML does not take", r.ID)
	}
	return text, nil
}
