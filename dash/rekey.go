package dash

import (
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// rekey adds the splices that changes make to a ContentProtection.
func (p *protection) rekey(src source, ch key.Changes) ([]splice, error) {
	var out []splice
	if a := p.defaultKID; a != nil {
		if text := respell(a.value, ch); text != a.value {
			out = append(out, splice{a.at, escape(text, a.quote)})
		}
	}
	applies := p.applies()
	for _, d := range p.data {
		s, err := d.edit(src, ch, applies)
		if err != nil {
			return nil, err
		}
		out = append(out, s...)
	}
	spelled, err := p.rekeySpelled(src, ch)
	return append(out, spelled...), err
}

// edit is what changes of one piece of data.
func (d protectionData) edit(src source, ch key.Changes, applies []key.KID) ([]splice, error) {
	fresh, _, err := d.replacement(ch, applies)
	if err != nil {
		return nil, src.fail(classOf(err), d.node.start, "%s: %v", d.node.local, err)
	}
	if len(fresh) > 0 {
		return d.replace(src.raw, fresh), nil
	}
	data, updated, err := d.rekey(ch)
	if err != nil {
		return nil, src.fail(classOf(err), d.node.start, "%s: %v", d.node.local, err)
	}
	if !updated {
		return nil, nil
	}
	s, ok := d.overwrite(src.raw, data)
	if !ok {
		return nil, src.fail(ErrUnsupported, d.node.start, "%s has entities or changes its length", d.node.local)
	}
	return s, nil
}

func (d protectionData) rekey(ch key.Changes) (data []byte, updated bool, err error) {
	switch d.kind {
	case dataPSSH:
		return pssh.Rekey(d.data, ch)
	case dataPRO:
		return pssh.RekeyPRO(d.data, ch)
	default:
		c, ok := ch[key.KIDFromGUID([16]byte(d.data))]
		guid := c.NewKID.GUID()
		return guid[:], ok, nil
	}
}

// overwrite puts new base64 over the old, character by character: line breaks
// and blanks in it stay.
func (d protectionData) overwrite(raw, data []byte) ([]splice, bool) {
	return d.overtype(raw, d.encoding.EncodeToString(data))
}

func (d protectionData) overtype(raw []byte, text string) ([]splice, bool) {
	var out []splice
	for _, run := range d.node.runs {
		b := append([]byte(nil), raw[run.start:run.end]...)
		for i, c := range b {
			switch {
			case isBlank(c):
			case c == '&' || text == "":
				return nil, false
			default:
				b[i], text = text[0], text[1:]
			}
		}
		out = append(out, splice{run, string(b)})
	}
	return out, text == ""
}

// respell replaces the KIDs of a default_KID, each in the spelling it has: with
// or without dashes, in either case.
func respell(list string, ch key.Changes) string {
	var b strings.Builder
	for list != "" {
		start := strings.IndexFunc(list, notBlank)
		if start < 0 {
			start = len(list)
		}
		b.WriteString(list[:start])
		list = list[start:]
		end := strings.IndexFunc(list, blank)
		if end < 0 {
			end = len(list)
		}
		token := list[:end]
		list = list[end:]
		if kid, err := key.ParseKID(token); err == nil {
			if c, ok := ch[kid]; ok {
				token = key.SpellLike(token, c.NewKID)
			}
		}
		b.WriteString(token)
	}
	return b.String()
}

func blank(c rune) bool    { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
func notBlank(c rune) bool { return !blank(c) }
