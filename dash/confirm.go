package dash

import (
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// confirm reads the edited MPD again and compares it with what was wanted.
func (m *MPD) confirm(out []byte, moves []move, ch key.Changes) error {
	q, err := Parse(m.object, out)
	if err != nil {
		return fmt.Errorf("read edited MPD: %w", err)
	}
	if len(q.Representations) != len(m.Representations) {
		return m.fail(ErrMalformed, 0, "edited MPD has other Representations")
	}
	if err := q.Unsupported(); err != nil {
		return fmt.Errorf("read edited MPD: %w", err)
	}
	if len(q.protections) != len(m.protections) {
		return m.fail(ErrMalformed, 0, "edited MPD has other ContentProtections")
	}
	for i, r := range m.Representations {
		n := len(m.allSlots(r))
		var own []move
		if len(moves) > 0 {
			own, moves = moves[:n], moves[n:]
		}
		if err := q.confirmOne(q.Representations[i], r, own, ch); err != nil {
			return m.fail(ErrMalformed, r.node.start, "edited Representation %q does not lead where it was meant to: %v", r.ID, err)
		}
	}
	for i, p := range m.protections {
		want, err := p.namesAfter(ch)
		if err != nil {
			return m.fail(classOf(err), p.node.start, "%v", err)
		}
		if !slices.Equal(q.protections[i].names(), want) {
			return m.fail(ErrMalformed, p.node.start, "edited ContentProtection names other KIDs than it was meant to")
		}
	}
	return nil
}

// namesAfter lists the KIDs that a ContentProtection names after the changes.
func (p *protection) namesAfter(ch key.Changes) ([]key.KID, error) {
	after := *p
	after.data = nil
	applies := p.applies()
	for _, d := range p.data {
		fresh, _, err := d.replacement(ch, applies)
		if err != nil {
			return nil, err
		}
		for _, f := range fresh {
			after.data = append(after.data, protectionData{kind: d.kind, node: d.node, data: f})
		}
		if len(fresh) == 0 {
			after.data = append(after.data, d)
		}
	}
	kids := after.names()
	for i := range kids {
		kids[i] = renamed(kids[i], ch)
	}
	return kids, nil
}

// confirmOne compares one Representation with what was wanted of it.
func (m *MPD) confirmOne(got, was *Representation, moves []move, ch key.Changes) error {
	now, before := m.allSlots(got), m.allSlots(was)
	switch {
	case len(got.chains) != len(was.chains) || len(now) != len(before):
		return fmt.Errorf("it has other references")
	case got.File == "" != (was.File == ""), got.Init == "" != (was.Init == ""), !slices.Equal(got.ids, was.ids):
		return fmt.Errorf("it is addressed otherwise")
	case !slices.EqualFunc(got.DefaultKIDs, was.DefaultKIDs, func(now, old key.KID) bool { return now == renamed(old, ch) }):
		return fmt.Errorf("it names other KIDs")
	}
	for i, s := range before {
		to := join(s.base, s.value)
		if len(moves) > 0 {
			to = moves[i].ref
		}
		if got := join(now[i].base, now[i].value); now[i].role != s.role || clean(got) != clean(to) {
			return fmt.Errorf("%q", got)
		}
	}
	for i, c := range was.chains {
		// Of a sidecar, or of what nothing but the segments leads to.
		if url := got.chains[i].url.target(); was.byURL == roleNone && clean(url) != clean(c.url.target()) {
			return fmt.Errorf("BaseURL %q", url)
		}
	}
	return nil
}

func renamed(kid key.KID, ch key.Changes) key.KID {
	if c, ok := ch[kid]; ok {
		return c.NewKID
	}
	return kid
}
