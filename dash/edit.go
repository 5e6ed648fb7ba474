package dash

import (
	"bytes"
	"errors"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// Edits says how an MPD changes. Zero changes nothing.
type Edits struct {
	// Changes are the keys that change: default_KID, cenc:pssh, mspr:pro and
	// mspr:kid name their new KIDs, and so does what spells a KID in hex in a
	// ContentProtection, such as a Marlin content id or a licence URL. New DRM data
	// that they bring (key.Change.PSSH) stands in cenc:pssh and mspr:pro instead of
	// the old, of any length; [MPD.OldDRMData] tells where it does not.
	Changes key.Changes
	// Move returns the new reference of a Representation's init section (init) or
	// of its media segments. ref is the template joined with the BaseURLs,
	// relative to the MPD, with its $…$; so is the reference it returns, which is
	// ref itself for what does not move. Without a template ($ means itself) it is
	// asked for r.Init and for each of r.Media, or for r.File, with init. It is
	// asked for each text, again under each of r.OtherBases and for an
	// InitializationSet: texts that BaseURLs share must lead to all its answers.
	// Under an absolute BaseURL, references are absolute. nil moves nothing.
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
	out, err := m.apply(splices)
	if len(splices) == 0 || err != nil {
		return out, err
	}
	return out, m.confirm(out, moves, e.Changes)
}

func (m *MPD) apply(splices []splice) ([]byte, error) {
	slices.SortStableFunc(splices, func(a, b splice) int { return a.at.start - b.at.start })
	var b bytes.Buffer
	last := 0
	for _, s := range splices {
		if s.at.start < last {
			return nil, m.fail(ErrUnsupported, s.at.start, "two changes of the same text")
		}
		b.Write(m.raw[last:s.at.start])
		b.WriteString(s.text)
		last = s.at.end
	}
	b.Write(m.raw[last:])
	return b.Bytes(), nil
}

// classOf maps the class of an error about protection data to this package's.
func classOf(err error) error {
	if errors.Is(err, pssh.ErrUnsupported) {
		return ErrUnsupported
	}
	if errors.Is(err, ErrReplacement) {
		return ErrReplacement
	}
	return ErrMalformed
}
