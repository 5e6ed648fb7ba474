package dash

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// protection is one ContentProtection (ISO/IEC 23009-1 §5.8.4.1, ISO/IEC 23001-7
// §11.2).
type protection struct {
	node       *node
	defaultKID *attr // nil: none
	kids       []key.KID
	data       []protectionData
}

type dataKind int

const (
	dataPSSH dataKind = iota // cenc:pssh
	dataPRO                  // mspr:pro
	dataGUID                 // mspr:kid
)

// protectionData is an element of ContentProtection that names keys, in base64.
type protectionData struct {
	kind     dataKind
	node     *node
	encoding *base64.Encoding
	data     []byte
}

// kindOf tells the elements that name keys. Their namespaces are spelled in
// several ways, so the local name decides.
func kindOf(n *node) (dataKind, bool) {
	switch n.local {
	case "pssh":
		return dataPSSH, true
	case "pro":
		return dataPRO, true
	case "kid":
		return dataGUID, true
	default:
		return 0, false
	}
}

func isDefaultKID(a attr) bool { return strings.EqualFold(a.local, "default_KID") }

// readProtections reads every ContentProtection, wherever it stands.
func (r *reader) readProtections() error {
	var err error
	r.root.walk(func(n *node) {
		if err == nil && n.local == "ContentProtection" && n.space == r.root.space {
			err = r.protection(n)
		}
	})
	return err
}

func (r *reader) protection(n *node) error {
	p := &protection{node: n}
	for i, a := range n.attrs {
		if !isDefaultKID(a) {
			continue
		}
		if p.defaultKID != nil {
			return r.fail(ErrMalformed, a.at.start, "two default_KID attributes")
		}
		p.defaultKID = &n.attrs[i]
		// A list of KIDs (ISO/IEC 23001-7 §11.2).
		for _, f := range strings.Fields(a.value) {
			kid, err := key.ParseKID(f)
			if err != nil {
				return r.fail(ErrMalformed, a.at.start, "default_KID: %v", err)
			}
			p.kids = append(p.kids, kid)
		}
	}
	for _, c := range n.children {
		kind, ok := kindOf(c)
		if !ok || len(c.text) == 0 {
			continue
		}
		d, ok := decode(kind, c)
		if !ok {
			return r.fail(ErrMalformed, c.start, "%s is not base64", c.local)
		}
		if kind == dataGUID && len(d.data) != 16 {
			return r.fail(ErrMalformed, c.start, "kid has %d bytes, want 16", len(d.data))
		}
		p.data = append(p.data, d)
	}
	r.protections = append(r.protections, p)
	r.byParent[n.parent] = append(r.byParent[n.parent], p)
	return nil
}

func decode(kind dataKind, n *node) (protectionData, bool) {
	text := strings.Join(strings.Fields(string(n.text)), "")
	d := protectionData{kind: kind, node: n, encoding: base64.StdEncoding}
	if len(text)%4 != 0 {
		d.encoding = base64.RawStdEncoding
	}
	var err error
	d.data, err = d.encoding.DecodeString(text)
	return d, err == nil
}

// protect sets what the ContentProtections in force say.
func (r *Representation) protect(ps []*protection) {
	var level *node
	for _, p := range slices.Backward(ps) {
		if len(p.kids) == 0 || level != nil && level != p.node.parent {
			continue
		}
		level = p.node.parent
		for _, kid := range p.kids {
			if !slices.Contains(r.DefaultKIDs, kid) {
				r.DefaultKIDs = append(r.DefaultKIDs, kid)
			}
		}
	}
	for _, p := range ps {
		for _, d := range p.data {
			switch d.kind {
			case dataPSSH:
				r.PSSH = append(r.PSSH, d.data)
			case dataPRO:
				r.PRO = append(r.PRO, d.data)
			case dataGUID:
			}
		}
	}
}

// named lists the KIDs that an element of a ContentProtection names.
func (d protectionData) named() []key.KID {
	var kids []key.KID
	switch d.kind {
	case dataPSSH:
		kids, _ = pssh.KIDs(d.data)
	case dataPRO:
		kids, _ = pssh.PROKIDs(d.data)
	case dataGUID:
		kids = []key.KID{key.KIDFromGUID([16]byte(d.data))}
	}
	return kids
}

// refuseSpelledKIDs refuses a KID of the MPD that is spelled out inside a
// ContentProtection where it is not changed, as in a licence URL: it would go on
// naming the old key.
func (r *reader) refuseSpelledKIDs() {
	spellings := map[string]bool{}
	for _, p := range r.protections {
		kids := slices.Clone(p.kids)
		for _, d := range p.data {
			kids = append(kids, d.named()...)
		}
		for _, kid := range kids {
			if !kid.IsZero() {
				spellings[kid.String()], spellings[kid.UUID()] = true, true
			}
		}
	}
	for _, p := range r.protections {
		p.spelled(spellings, r.refuse)
	}
}

// spelledOut refuses to change a KID that is spelled out where it would stay. An
// MPD whose key rotates names no KID itself, so only now is it known which.
func (m *MPD) spelledOut(ch key.Changes) error {
	spellings := map[string]bool{}
	for kid := range ch {
		if !kid.IsZero() {
			spellings[kid.String()], spellings[kid.UUID()] = true, true
		}
	}
	if len(spellings) == 0 {
		return nil
	}
	var err error
	for _, p := range m.protections {
		p.spelled(spellings, func(at int, format string, args ...any) {
			if err == nil {
				err = m.fail(ErrUnsupported, at, format, args...)
			}
		})
	}
	return err
}

// spelled calls refuse for what spells a KID and is not changed with it.
func (p *protection) spelled(spellings map[string]bool, refuse func(at int, format string, args ...any)) {
	p.node.walk(func(n *node) {
		for _, a := range n.attrs {
			if !isDefaultKID(a) && spells(a.value, spellings) {
				refuse(a.at.start, "%s of %s spells a KID", a.local, n.local)
			}
		}
		if _, known := kindOf(n); !known && spells(string(n.text), spellings) {
			refuse(n.start, "%s spells a KID", n.local)
		}
	})
}

// spells reports whether text has one of the spellings, in any case.
func spells(text string, spellings map[string]bool) bool {
	run := 0 // of hex digits and dashes up to here
	for i := 0; i < len(text); i++ {
		c := text[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && text[i] != '-' {
			run = 0
			continue
		}
		run++
		for _, n := range [...]int{32, 36} {
			if run >= n && spellings[strings.ToLower(text[i+1-n:i+1])] {
				return true
			}
		}
	}
	return false
}

// rekey adds the splices that changes make to a ContentProtection.
func (p *protection) rekey(src source, ch key.Changes) ([]splice, error) {
	var out []splice
	if a := p.defaultKID; a != nil {
		if text := respell(a.value, ch); text != a.value {
			out = append(out, splice{a.at, escape(text, a.quote)})
		}
	}
	for _, d := range p.data {
		data, updated, err := d.rekey(ch)
		if err != nil {
			return nil, src.fail(classOf(err), d.node.start, "%s: %v", d.node.local, err)
		}
		if !updated {
			continue
		}
		s, ok := d.overwrite(src.raw, data)
		if !ok {
			return nil, src.fail(ErrUnsupported, d.node.start, "%s has entities or changes its length", d.node.local)
		}
		out = append(out, s...)
	}
	return out, nil
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
	text := d.encoding.EncodeToString(data)
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
				token = spellLike(token, c.NewKID)
			}
		}
		b.WriteString(token)
	}
	return b.String()
}

func blank(c rune) bool    { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
func notBlank(c rune) bool { return !blank(c) }

func spellLike(old string, kid key.KID) string {
	digits := kid.String()
	if old != strings.ToLower(old) {
		digits = strings.ToUpper(digits)
	}
	b := []byte(old)
	for i, c := range b {
		if c != '-' {
			b[i], digits = digits[0], digits[1:]
		}
	}
	return string(b)
}
