package cpix

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed-6133abe0/rekey/key"
)

// Parse reads one document; object is its name in errors, which are *Error.
// Where keys are encrypted to nobody in o, that is ErrNoRecipient: there is no
// half a document. A key without value is taken, and is in [Document.Missing].
func Parse(object string, b []byte, o ParseOptions) (*Document, error) {
	root, err := readTree(object, b)
	if err != nil {
		return nil, err
	}
	defer root.wipe()
	if root.space != nsCPIX || root.local != "CPIX" {
		return nil, &Error{Object: object, Line: root.line, Reason: "the document element is not CPIX", Class: ErrMalformed}
	}
	p := &parser{object: object, options: o}
	defer func() { p.secrets.clear() }()
	d := &Document{}
	d.ContentID, _ = root.attr("contentId")
	if v, ok := root.attr("version"); ok && v != "2" && !strings.HasPrefix(v, "2.") {
		return nil, p.fail(root, ErrUnsupported, "version is not 2.x")
	}
	// The order of CPIX 2.3, clause "CPIX Element".
	for _, list := range []struct {
		name, item string
		read       func(*Document, *node) error
	}{
		{"DeliveryDataList", "DeliveryData", p.delivery},
		{"ContentKeyList", "ContentKey", p.contentKey},
		{"DRMSystemList", "DRMSystem", p.drmSystem},
		{"ContentKeyPeriodList", "ContentKeyPeriod", p.period},
		{"ContentKeyUsageRuleList", "ContentKeyUsageRule", p.rule},
	} {
		n, err := p.one(root, nsCPIX, list.name)
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		for _, item := range n.all(nsCPIX, list.item) {
			if err := list.read(d, item); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

type parser struct {
	object     string
	options    ParseOptions
	deliveries []*node
	secrets    *secrets // the recipient's, once a key needed them
	keys       map[key.KID][]int
	systems    map[systemKey]bool
}

type systemKey struct {
	system [16]byte
	kid    key.KID
}

func (p *parser) fail(n *node, class error, format string, a ...any) error {
	return &Error{p.object, n.line, n.path(), fmt.Sprintf(format, a...), class}
}

// one is the child of that name, nil if there is none; two are an error.
func (p *parser) one(n *node, space, local string) (*node, error) {
	all := n.all(space, local)
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return nil, p.fail(all[1], ErrMalformed, "stands twice")
}

// needed is the child of that name, which must be there.
func (p *parser) needed(n *node, space, local string) (*node, error) {
	c, err := p.one(n, space, local)
	if err == nil && c == nil {
		err = p.fail(n, ErrMalformed, "no %s", local)
	}
	return c, err
}

// uuid reads an attribute that holds 16 bytes in hex, dashes allowed.
func (p *parser) uuid(n *node, attr string) ([16]byte, error) {
	s, ok := n.attr(attr)
	if !ok {
		return [16]byte{}, p.fail(n, ErrMalformed, "no attribute %s", attr)
	}
	k, err := key.ParseKID(s)
	if err != nil {
		return [16]byte{}, p.fail(n, ErrMalformed, "%s is not a UUID", attr)
	}
	return k, nil
}

func (p *parser) kid(n *node) (key.KID, error) {
	k, err := p.uuid(n, "kid")
	if err == nil && key.KID(k).IsZero() {
		err = p.fail(n, ErrMalformed, "a kid of zeros names no key")
	}
	return k, err
}

// known is a kid that a ContentKey has, which other elements refer to.
func (p *parser) known(n *node) (key.KID, error) {
	k, err := p.kid(n)
	if err == nil && p.keys[k] == nil {
		err = p.fail(n, ErrMalformed, "no ContentKey has its kid")
	}
	return k, err
}

func (p *parser) contentKey(d *Document, n *node) (err error) {
	var k ContentKey
	if k.KID, err = p.kid(n); err != nil {
		return err
	}
	if text, ok := n.attr("explicitIV"); ok {
		iv, ok := decodeBase64([]byte(text))
		if !ok || len(iv) != len(key.IV{}) {
			return p.fail(n, ErrMalformed, "explicitIV is not the base64 of 16 bytes")
		}
		k.ExplicitIV = new(key.IV(iv))
	}
	if s, ok := n.attr("commonEncryptionScheme"); ok {
		if !isScheme(s) {
			return p.fail(n, ErrMalformed, "commonEncryptionScheme is not cenc, cbc1, cens or cbcs")
		}
		k.CommonEncryptionScheme = s
	}
	if k.Key, k.Encrypted, err = p.value(n); err != nil {
		return err
	}
	for _, i := range p.keys[k.KID] {
		switch had := d.Keys[i]; {
		case !had.Key.Equal(k.Key):
			return p.fail(n, ErrMalformed, "the kid of another ContentKey, with another value or none")
		case had.CommonEncryptionScheme == k.CommonEncryptionScheme:
			return p.fail(n, ErrMalformed, "the kid of another ContentKey, for the same scheme")
		}
	}
	if p.keys == nil {
		p.keys = map[key.KID][]int{}
	}
	p.keys[k.KID] = append(p.keys[k.KID], len(d.Keys))
	d.Keys = append(d.Keys, k)
	return nil
}

func isScheme(s string) bool {
	return s == "cenc" || s == "cbc1" || s == "cens" || s == "cbcs"
}

// value is the key of Data/Secret (RFC 6030 §4.2), zero if there is none.
func (p *parser) value(n *node) (k key.ContentKey, encrypted bool, err error) {
	data, err := p.one(n, nsCPIX, "Data")
	if err != nil || data == nil {
		return k, false, err
	}
	secret, err := p.one(data, nsPSKC, "Secret")
	if err != nil || secret == nil {
		return k, false, err
	}
	plain, err := p.one(secret, nsPSKC, "PlainValue")
	if err != nil {
		return k, false, err
	}
	sealed, err := p.one(secret, nsPSKC, "EncryptedValue")
	switch {
	case err != nil:
		return k, false, err
	case plain != nil && sealed != nil:
		return k, false, p.fail(secret, ErrMalformed, "both PlainValue and EncryptedValue")
	case plain != nil:
		k, err = p.plain(plain)
		return k, false, err
	case sealed != nil:
		k, err = p.sealed(secret, sealed)
		return k, true, err
	}
	return k, false, nil
}

func (p *parser) plain(n *node) (key.ContentKey, error) {
	raw, ok := n.base64()
	defer clear(raw)
	if ok {
		if k, err := key.ContentKeyFromBytes(raw); err == nil {
			return k, nil
		}
	}
	return key.ContentKey{}, p.fail(n, ErrMalformed, "not the base64 of 16 bytes")
}

func (p *parser) drmSystem(d *Document, n *node) (err error) {
	var s DRMSystem
	if s.SystemID, err = p.uuid(n, "systemId"); err != nil {
		return err
	}
	if s.KID, err = p.known(n); err != nil {
		return err
	}
	at := systemKey{s.SystemID, s.KID}
	if p.systems[at] {
		return p.fail(n, ErrMalformed, "a second one for this systemId and kid")
	}
	if p.systems == nil {
		p.systems = map[systemKey]bool{}
	}
	p.systems[at] = true
	s.Name, _ = n.attr("name")
	var pssh string
	for _, e := range []struct {
		name string
		part Signaling
		to   *string
	}{
		{"PSSH", PSSH, &pssh},
		{"ContentProtectionData", ContentProtectionData, &s.ContentProtectionData},
		{"SmoothStreamingProtectionHeaderData", SmoothStreaming, &s.SmoothStreaming},
	} {
		c, err := p.one(n, nsCPIX, e.name)
		if err != nil {
			return err
		}
		if c != nil {
			if err := p.signaling(c, &s, e.part, e.to); err != nil {
				return err
			}
		}
	}
	if pssh != "" {
		s.PSSH = []byte(pssh)
	}
	if err := p.hls(n, &s); err != nil {
		return err
	}
	d.Systems = append(d.Systems, s)
	return nil
}

// hls reads up to two HLSSignalingData; one that does not say for which playlist
// is for the media playlists, and alone (clause "HLSSignalingData Element").
func (p *parser) hls(n *node, s *DRMSystem) error {
	var seen Signaling
	all := n.all(nsCPIX, "HLSSignalingData")
	for _, c := range all {
		playlist, said := c.attr("playlist")
		part, to := HLSMedia, &s.HLSMedia
		switch {
		case playlist == "master":
			part, to = HLSMaster, &s.HLSMaster
		case playlist != "media" && said:
			return p.fail(c, ErrMalformed, "playlist is neither media nor master")
		case !said && len(all) > 1:
			return p.fail(c, ErrMalformed, "no playlist said, and it is not alone")
		}
		if seen&part != 0 {
			return p.fail(c, ErrMalformed, "a second one for the same playlist")
		}
		seen |= part
		if err := p.signaling(c, s, part, to); err != nil {
			return err
		}
	}
	return nil
}

// signaling takes one element's content: base64, and text but for a PSSH;
// SmoothStreamingProtectionHeaderData is text itself.
func (p *parser) signaling(n *node, s *DRMSystem, part Signaling, to *string) error {
	b, ok := n.text, true
	if part != SmoothStreaming {
		b, ok = n.base64()
	}
	if !ok {
		return p.fail(n, ErrMalformed, "not base64")
	}
	if part != PSSH && !utf8.Valid(b) {
		return p.fail(n, ErrMalformed, "not UTF-8")
	}
	if part == ContentProtectionData && !isFragment(b) {
		return p.fail(n, ErrMalformed, "not well-formed XML without a document type")
	}
	if *to = string(b); part == SmoothStreaming {
		*to = strings.TrimSpace(*to)
	}
	if *to == "" {
		s.Asked |= part
	}
	return nil
}
