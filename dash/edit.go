package dash

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

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
	// ref itself for what does not move. Without a template ($ means itself) it is
	// asked for r.Init and for each of r.Media, or once for r.File, with init.
	// nil moves nothing.
	Move func(r *Representation, init bool, ref string) (newRef string, err error)
}

// splice replaces a span of the text.
type splice struct {
	at   span
	text string
}

// Edit returns the MPD with e: only the bytes of what changed differ. It has been
// read again and leads each Representation where Move sent it. An MPD that is
// not supported is not edited.
func (m *MPD) Edit(e Edits) ([]byte, error) {
	if err := m.Unsupported(); err != nil && (e.Move != nil || len(e.Changes) > 0) {
		return nil, err
	}
	if err := m.spelledOut(e.Changes); err != nil {
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
	placed, err := m.place(moves)
	if err != nil {
		return nil, err
	}
	splices = append(splices, placed...)
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
		want[r] = &Representation{Init: r.Init, Media: slices.Clone(r.Media), File: r.File}
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
		whole := w.File
		if whole == "" { // a sidecar, or what nothing but the segments leads to
			whole = r.url.target()
		}
		if !same(got.url.target(), whole) || !same(got.File, w.File) || !same(got.Init, w.Init) || !slices.EqualFunc(got.Media, w.Media, same) || !slices.EqualFunc(got.DefaultKIDs, r.DefaultKIDs, kids) {
			return m.fail(ErrMalformed, r.node.start, "edited Representation %q does not lead where it was meant to", r.ID)
		}
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
