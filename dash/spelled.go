package dash

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// How long a KID is in text: 32 hex digits, with the four dashes of a UUID, and
// base64 without padding.
const (
	hexKID    = 32
	uuidKID   = 36
	base64KID = 22
)

// A ContentProtection also names keys where a system has no element for it: in
// Marlin's content ids, in licence URLs. Spelled in hex, they change with the key
// that they name. Any other spelling is refused: it would go on naming the old
// key.

// spelledTexts calls fn for each text of a ContentProtection that is not
// protection data or default_KID: where its characters stand, and what they say.
func (p *protection) spelledTexts(fn func(name string, at int, runs []span, text string)) {
	p.node.walk(func(n *node) {
		for _, a := range n.attrs {
			if !isDefaultKID(a) {
				fn(a.local+" of "+n.local, a.at.start, []span{a.at}, a.value)
			}
		}
		if _, known := kindOf(p.node, n); !known && len(n.text) > 0 {
			fn(n.local, n.start, n.runs, string(n.text))
		}
	})
}

// rekeySpelled changes the KIDs that are spelled in hex.
func (p *protection) rekeySpelled(src source, ch key.Changes) (out []splice, err error) {
	index := spellings{}
	for kid := range ch {
		index.add(kid)
	}
	change := func(kid key.KID) (key.KID, bool) {
		c, ok := ch[kid]
		return c.NewKID, ok && !kid.IsZero()
	}
	p.spelledTexts(func(name string, at int, runs []span, text string) {
		_, rest, want := respellText(text, change)
		got := 0
		for _, run := range runs {
			raw := string(src.raw[run.start:run.end])
			now, _, n := respellText(raw, change)
			if n > 0 {
				got += n
				out = append(out, splice{run, now})
			}
		}
		if err == nil && (got != want || index.in(rest)) {
			err = src.fail(ErrUnsupported, at, "%s spells a KID in a way that is not changed", name)
		}
	})
	return out, err
}

// refuseSpelledKIDs refuses a KID of the MPD in a spelling that is not changed.
// Which others may change is only known then.
func (r *reader) refuseSpelledKIDs() {
	index, named := spellings{}, map[key.KID]bool{}
	for _, kid := range r.KIDs() {
		index.add(kid)
		named[kid] = !kid.IsZero()
	}
	same := func(kid key.KID) (key.KID, bool) { return kid, named[kid] }
	for _, p := range r.protections {
		p.spelledTexts(func(name string, at int, _ []span, text string) {
			if _, rest, _ := respellText(text, same); index.in(rest) {
				r.refuse(at, "%s spells a KID in a way that is not changed", name)
			}
		})
	}
}

// marlin lists the KIDs of Marlin content ids (urn:marlin:kid:…).
func (p *protection) marlin() (kids []key.KID) {
	p.node.walk(func(n *node) {
		if !strings.Contains(string(n.text), "urn:marlin:kid:") {
			return
		}
		_, _, _ = respellText(string(n.text), func(kid key.KID) (key.KID, bool) {
			kids = append(kids, kid)
			return kid, true
		})
	})
	return kids
}

// respellText replaces the KIDs that text spells in hex and that change knows.
// rest is what is left without them.
func respellText(text string, change func(key.KID) (key.KID, bool)) (out, rest string, n int) {
	if len(text) < hexKID {
		return text, text, 0
	}
	var to, left strings.Builder
	for i := 0; i < len(text); {
		kid, length := key.SpelledAt(text, i)
		now, ok := key.KID{}, false
		if length > 0 {
			now, ok = change(kid)
		}
		if !ok {
			length = max(length, 1)
			to.WriteString(text[i : i+length])
			left.WriteString(text[i : i+length])
		} else {
			n++
			to.WriteString(key.SpellLike(text[i:i+length], now))
			left.WriteByte('|') // no digit: what stood around it stays apart
		}
		i += length
	}
	return to.String(), left.String(), n
}

// spellings are the texts that name KIDs: in hex and base64, as they are and in
// PlayReady's byte order.
type spellings map[string]bool

func (s spellings) add(kid key.KID) {
	if kid.IsZero() {
		return
	}
	for _, k := range []key.KID{kid, key.KID(kid.GUID())} {
		s[k.String()], s[k.UUID()] = true, true
		s[base64.RawStdEncoding.EncodeToString(k[:])] = true
	}
}

// in reports whether text has one of the spellings, behind percent signs or in a
// data: URL too.
func (s spellings) in(text string) bool {
	if len(s) == 0 || len(text) < base64KID {
		return false
	}
	texts := []string{text}
	if plain, err := url.PathUnescape(text); err == nil && plain != text {
		texts = append(texts, plain)
	}
	if _, data, ok := strings.Cut(texts[len(texts)-1], ";base64,"); ok {
		words := strings.FieldsFunc(data, func(c rune) bool { return c < 0x80 && !isBase64(byte(c)) })
		if b, err := base64.RawStdEncoding.DecodeString(standard(strings.Join(words, ""))); err == nil {
			texts = append(texts, string(b))
		}
	}
	for _, t := range texts {
		if s.within(standard(t)) {
			return true
		}
	}
	return false
}

// within looks at every window of the length of a spelling.
func (s spellings) within(text string) bool {
	low := []byte(text)
	for i, c := range low {
		if c >= 'A' && c <= 'Z' {
			low[i] = c | 0x20
		}
	}
	run, hexRun := 0, 0 // of base64, and of hex digits and dashes, up to here
	for i := range len(text) {
		run, hexRun = run+1, hexRun+1
		if !isBase64(text[i]) {
			run = 0
		}
		if !isHex(text[i]) && text[i] != '+' {
			hexRun = 0
		}
		switch {
		case run >= base64KID && s[text[i+1-base64KID:i+1]],
			hexRun >= hexKID && s[string(low[i+1-hexKID:i+1])],
			hexRun >= uuidKID && s[strings.ReplaceAll(string(low[i+1-uuidKID:i+1]), "+", "-")]:
			return true
		}
	}
	return false
}

// standard spells base64url as base64 (RFC 4648 §5).
func standard(s string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(s) }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func isBase64(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '+' || c == '/' || c == '-' || c == '_'
}
