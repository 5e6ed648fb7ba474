package hls

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// base64KID is how long a KID is in base64 without padding.
const base64KID = 22

// rekeySpelled returns the URI with every KID of ch that it spells in hex
// replaced by the new one; empty where it stays.
func rekeySpelled(k *KeyTag, ch key.Changes) (string, error) {
	var out, rest strings.Builder
	changed := false
	for i := 0; i < len(k.URI); {
		kid, n := key.SpelledAt(k.URI, i)
		now, ok := newName(kid, ch)
		if n == 0 || !ok {
			n = max(n, 1)
			out.WriteString(k.URI[i : i+n])
			rest.WriteString(k.URI[i : i+n])
		} else {
			changed = true
			out.WriteString(key.SpellLike(k.URI[i:i+n], now))
			rest.WriteByte('|') // no digit: what stood around it stays apart
		}
		i += n
	}
	if err := refuseNamed(k, rest.String(), ch); err != nil {
		return "", err
	}
	if err := judgeKeyURI(k, ch, changed); err != nil {
		return "", err
	}
	if !changed {
		return "", nil
	}
	return out.String(), nil
}

// newName is what becomes of a KID that a URI spells, in its own order of bytes or
// in that of PlayReady.
func newName(kid key.KID, ch key.Changes) (key.KID, bool) {
	if c, ok := ch[kid]; ok {
		return c.NewKID, true
	}
	if c, ok := ch[key.KID(kid.GUID())]; ok {
		return key.KID(c.NewKID.GUID()), true
	}
	return key.KID{}, false
}

// judgeKeyURI refuses a tag whose URI leads to a content key, where the new one
// would lead to the old key still or, within the media, to nothing.
func judgeKeyURI(k *KeyTag, ch key.Changes, changed bool) error {
	if !k.LeadsToKey() || len(ch) == 0 {
		return nil
	}
	refuse := func(reason string) error {
		return &Error{Line: k.Line, Column: k.Column, Class: ErrUnsupported, Reason: fmt.Sprintf("METHOD %s with a key object %s", k.Method, reason)}
	}
	if changed {
		if isAbsolute(k.URI) {
			return nil
		}
		return refuse("named by the KID: it has to move first")
	}
	if k.KeyID == "" {
		return refuse("and no KID: it may be any key")
	}
	kid, err := keyID(k)
	if err != nil {
		return err
	}
	if _, ok := ch[kid]; ok {
		return refuse("that has to move first: its URI would go on leading to the old key")
	}
	return nil
}

// refuseNamed refuses text that names a KID of ch in a way that is not changed:
// among other digits, in base64, or behind percent signs. It would go on naming
// the old key.
func refuseNamed(k *KeyTag, text string, ch key.Changes) error {
	texts := []string{text}
	if plain, err := url.PathUnescape(text); err == nil && plain != text {
		texts = append(texts, plain)
	}
	for kid := range ch {
		swapped := key.KID(kid.GUID())
		for _, t := range texts {
			low := strings.ToLower(t)
			for _, s := range []string{kid.String(), kid.UUID(), swapped.String(), swapped.UUID()} {
				if strings.Contains(low, s) {
					return &Error{Line: k.Line, Column: k.Column, Class: ErrUnsupported, Reason: fmt.Sprintf("key URI names the KID %s in a spelling that is not changed", kid)}
				}
			}
			if inBase64(t, kid) || inBase64(t, swapped) {
				return &Error{Line: k.Line, Column: k.Column, Class: ErrUnsupported, Reason: fmt.Sprintf("key URI names the KID %s in base64", kid)}
			}
		}
	}
	return nil
}

func inBase64(text string, kid key.KID) bool {
	return strings.Contains(text, base64.RawStdEncoding.EncodeToString(kid[:])) ||
		strings.Contains(text, base64.RawURLEncoding.EncodeToString(kid[:]))
}

// refuseClearKey refuses a ClearKey document that names a KID of ch or holds its
// key (W3C Encrypted Media Extensions §9.1.3, §9.1.4: base64url, no padding).
func refuseClearKey(k *KeyTag, doc []byte, ch key.Changes) error {
	for _, word := range bytes.FieldsFunc(doc, func(r rune) bool { return !isBase64URL(r) }) {
		if len(word) != base64KID {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(string(word))
		if err != nil {
			continue
		}
		if _, ok := ch[key.KID(b)]; ok {
			return &Error{Line: k.Line, Column: k.Column, Class: ErrUnsupported, Reason: fmt.Sprintf("ClearKey document names the KID %s", key.KID(b))}
		}
		if _, _, err := rekeyKID(k, b, ch); err != nil {
			return err
		}
	}
	return nil
}

func isBase64URL(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_'
}

// isAbsolute reports a URI that no playlist's place changes: with a scheme, or a
// network-path reference (RFC 3986 §4.2).
func isAbsolute(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme != "" || u.Host != "")
}
