package dash

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// OldDRMData says where [MPD.Edit] keeps protection data, with the new KIDs in it,
// although ch brings new data of its system: by line, with the reason. Errors are
// those of Edit.
func (m *MPD) OldDRMData(ch key.Changes) (reasons []string, err error) {
	for _, p := range m.protections {
		applies := p.applies()
		for _, d := range p.data {
			_, why, err := d.replacement(ch, applies)
			if err != nil {
				return nil, m.fail(classOf(err), d.node.start, "%s: %v", d.node.local, err)
			}
			if why != "" {
				line := 1 + bytes.Count(m.raw[:d.node.start], []byte{'\n'})
				reasons = append(reasons, fmt.Sprintf("line %d: %s: %s", line, d.node.local, why))
			}
		}
	}
	return reasons, nil
}

// replacement is the new data that stands in the place of d, in an element each;
// nil where there is none, or where it can't stand there, for the reason given.
// Elements of cenc:pssh may be several (ISO/IEC 23009-1 §5.8.4.1 lets any stand
// there); readers of mspr:pro look at one.
func (d protectionData) replacement(ch key.Changes, applies []key.KID) (fresh [][]byte, why string, err error) {
	switch d.kind {
	case dataPSSH:
		fresh, err = pssh.Replace(d.data, ch, applies)
	case dataPRO:
		if fresh, err = pssh.ReplacePRO(d.data, ch, applies); len(fresh) > 1 {
			return nil, fmt.Sprintf("%d new PlayReady objects would stand in the place of one", len(fresh)), nil
		}
	case dataGUID:
	}
	return fresh, "", err
}

// applies are the KIDs of the element that p protects: its own, or those of the
// ContentProtections beside it. Data that names no KID is for them.
func (p *protection) applies() []key.KID {
	if kids := p.allKIDs(); len(kids) > 0 {
		return kids
	}
	var kids []key.KID
	for _, o := range p.beside {
		kids = append(kids, o.allKIDs()...)
	}
	return kids
}

// replace puts the new base64 where the old stood. Of several pieces, each further
// one gets an element like it, behind it and after the same blanks.
func (d protectionData) replace(raw []byte, fresh [][]byte) []splice {
	out := d.rewrite(raw, d.encoding.EncodeToString(fresh[0]))
	if len(fresh) == 1 {
		return out
	}
	n := d.node
	indent := n.start
	for indent > 0 && isBlank(raw[indent-1]) {
		indent--
	}
	var more strings.Builder
	for _, f := range fresh[1:] {
		more.Write(raw[indent:n.openEnd])
		more.WriteString(d.encoding.EncodeToString(f))
		more.Write(raw[n.closeStart:n.end])
	}
	return append(out, splice{span{n.end, n.end}, more.String()})
}

// rewrite puts text, of any length, in the place of the characters of the element:
// blanks around them stay. Of the same length it is put over them one by one.
func (d protectionData) rewrite(raw []byte, text string) []splice {
	if s, ok := d.overtype(raw, text); ok {
		return s
	}
	var out []splice
	for _, run := range d.node.runs {
		at := run
		for at.start < at.end && isBlank(raw[at.start]) {
			at.start++
		}
		for at.start < at.end && isBlank(raw[at.end-1]) {
			at.end--
		}
		if at.start < at.end {
			out = append(out, splice{at, text})
			text = ""
		}
	}
	return out
}
