package hls

import (
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
)

// tag handles one tag line; value is the index at which its value begins.
// Unknown tags are kept and say nothing.
func (ps *parser) tag(name string, value int) error {
	switch name {
	case "#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-MEDIA", "#EXT-X-SESSION-KEY",
		"#EXT-X-SESSION-DATA", "#EXT-X-CONTENT-STEERING", "#EXT-X-IMAGE-STREAM-INF":
		ps.p.Multivariant = true
		return ps.multivariantTag(name, value)
	case "#EXT-X-DATERANGE":
		ps.mediaTag()
		return ps.refs(value, "X-ASSET-URI", "X-ASSET-LIST")
	case "#EXT-X-DEFINE":
		return ps.define(value)
	case "#EXT-X-PART", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT", "#EXT-X-SKIP",
		"#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL":
		ps.mediaTag()
		return ps.lowLatencyTag(name, value)
	case "#EXTINF", "#EXT-X-BYTERANGE", "#EXT-X-GAP", "#EXT-X-KEY", "#EXT-X-MAP", "#EXT-X-MEDIA-SEQUENCE",
		"#EXT-X-ENDLIST", "#EXT-X-I-FRAMES-ONLY", "#EXT-X-TARGETDURATION", "#EXT-X-PLAYLIST-TYPE",
		"#EXT-X-DISCONTINUITY", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-BITRATE":
		ps.mediaTag()
		return ps.mediaPlaylistTag(name, value)
	default:
		return nil
	}
}

func (ps *parser) mediaTag() {
	if ps.mediaTagLine == 0 {
		ps.mediaTagLine = ps.lineNumber
	}
}

func (ps *parser) multivariantTag(name string, value int) error {
	switch name {
	case "#EXT-X-STREAM-INF":
		if ps.variantLine > 0 {
			return ps.malformed(0, fmt.Sprintf("EXT-X-STREAM-INF of line %d has no URI", ps.variantLine))
		}
		ps.variantLine = ps.lineNumber
		_, err := ps.list(value)
		return err
	case "#EXT-X-I-FRAME-STREAM-INF":
		return ps.ref(IFrame, value)
	case "#EXT-X-IMAGE-STREAM-INF":
		return ps.ref(Image, value)
	case "#EXT-X-MEDIA":
		return ps.media(value)
	case "#EXT-X-SESSION-KEY":
		return ps.keyTag(SessionKey, value)
	case "#EXT-X-CONTENT-STEERING":
		return ps.refs(value, "SERVER-URI")
	default:
		return ps.refs(value, "URI")
	}
}

func (ps *parser) mediaPlaylistTag(name string, value int) error {
	text := ps.line()[value:]
	switch name {
	case "#EXTINF":
		ps.infLine = ps.lineNumber
	case "#EXT-X-BYTERANGE":
		return ps.rangeTag(value)
	case "#EXT-X-GAP":
		ps.gap = true
	case "#EXT-X-KEY":
		return ps.keyTag(Key, value)
	case "#EXT-X-MAP":
		return ps.mapTag(value)
	case "#EXT-X-MEDIA-SEQUENCE":
		n, ok := parseDecimal(text)
		switch {
		case !ok:
			return ps.malformed(value, "EXT-X-MEDIA-SEQUENCE is not a decimal-integer")
		case len(ps.p.Segments) > 0 || ps.sequenceSet:
			// RFC 8216 §4.3.3.2: before the first segment. Implicit IVs hang on it.
			return ps.malformed(0, "EXT-X-MEDIA-SEQUENCE appears twice or after the first segment")
		}
		ps.sequence, ps.sequenceSet = n, true
	case "#EXT-X-ENDLIST":
		ps.p.EndList = true
	case "#EXT-X-I-FRAMES-ONLY":
		ps.p.IFramesOnly = true
	}
	return nil
}

// ref takes the URI attribute that a tag must have.
func (ps *parser) ref(role Role, value int) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	uri, ok := as.find("URI")
	if !ok {
		return ps.malformed(0, "required attribute URI is missing")
	}
	return ps.attributeRef(Ref{Role: role}, uri, spot{})
}

// media handles EXT-X-MEDIA (RFC 8216 §4.3.4.1). Closed captions are inside the
// video; other renditions without a URI are inside the variant stream.
func (ps *parser) media(value int) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	uri, ok := as.find("URI")
	switch kind := as.value("TYPE"); {
	case kind == "CLOSED-CAPTIONS" && ok:
		return ps.malformed(uri.at.start, "EXT-X-MEDIA of TYPE=CLOSED-CAPTIONS has a URI")
	case kind == "SUBTITLES" && !ok:
		return ps.malformed(0, "EXT-X-MEDIA of TYPE=SUBTITLES has no URI")
	case !ok:
		return nil
	}
	return ps.attributeRef(Ref{Role: Rendition}, uri, spot{})
}

// refs takes attributes that hold references of no further role.
func (ps *parser) refs(value int, names ...string) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	for _, name := range names {
		if a, ok := as.find(name); ok {
			if err := ps.attributeRef(Ref{Role: Other}, a, spot{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// attributeRef adds the reference of attribute a; s says what else of the line
// may change.
func (ps *parser) attributeRef(r Ref, a attribute, s spot) error {
	if !a.quoted || a.value == "" {
		return ps.malformed(a.at.start, shown(a.name)+" is not a quoted-string or is empty")
	}
	r.URI, r.Target = ps.line()[a.at.start:a.at.end], a.value
	s.uri, s.quoted = ps.absolute(a.at), true
	ps.addRef(r, s)
	return nil
}

// mapTag handles EXT-X-MAP (RFC 8216 §4.3.2.5).
func (ps *parser) mapTag(value int) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	uri, ok := as.find("URI")
	if !ok {
		return ps.malformed(0, "EXT-X-MAP has no URI")
	}
	m := &InitSection{URI: uri.value, Line: ps.lineNumber, Keys: ps.keys}
	var s spot
	if a, ok := as.find("BYTERANGE"); ok {
		if m.Range, s.offset, err = ps.mapRange(a, uri.value); err != nil {
			return err
		}
		s.rng = ps.absolute(a.at)
	}
	ps.initS = m
	ps.judgeMap(m)
	return ps.attributeRef(Ref{Role: Map, Range: m.Range}, uri, s)
}

// keyTag handles EXT-X-KEY (RFC 8216 §4.3.2.4) and EXT-X-SESSION-KEY (§4.3.4.5).
func (ps *parser) keyTag(role Role, value int) error {
	as, err := ps.list(value)
	if err != nil {
		return err
	}
	k := &KeyTag{
		Line: ps.lineNumber, Column: ps.column(0), Method: as.value("METHOD"), URI: as.value("URI"),
		KeyFormat: as.value("KEYFORMAT"), KeyFormatVersions: as.value("KEYFORMATVERSIONS"), KeyID: as.value("KEYID"),
	}
	if k.KeyFormat == "" {
		k.KeyFormat = FormatIdentity
	}
	if k.Method == "" {
		return ps.malformed(0, "key tag has no METHOD")
	}
	if a, ok := as.find("IV"); ok {
		iv, err := key.ParseIV(a.value)
		if err != nil {
			return ps.malformed(a.at.start, "IV is not 0x and 32 hex digits")
		}
		k.IV = &iv
	}
	ps.tags = append(ps.tags, k)
	uri, hasURI := as.find("URI")
	if k.Method != MethodNone && !hasURI {
		return ps.malformed(0, "key tag has no URI")
	}
	if role == SessionKey && k.Method == MethodNone {
		return ps.malformed(0, "EXT-X-SESSION-KEY has METHOD=NONE")
	}
	ps.judgeKey(k)
	if role == Key {
		ps.force(k)
		if len(ps.keys) > maxKeyFormats {
			return ps.fail(ErrLimit, 0, fmt.Sprintf("more than %d KEYFORMATs in force at once", maxKeyFormats))
		}
	}
	if !hasURI {
		return nil
	}
	var s spot
	if id, ok := as.find("KEYID"); ok {
		s.keyID = ps.absolute(id.at)
	}
	return ps.attributeRef(Ref{Role: role, Key: k}, uri, s)
}

// maxKeyFormats bounds the key tags in force at once; three systems are usual.
const maxKeyFormats = 32

// force puts k in force in place of the tag with the same KEYFORMAT; METHOD=NONE
// ends all of them.
func (ps *parser) force(k *KeyTag) {
	if k.Method == MethodNone {
		ps.keys = nil
		return
	}
	keys := slices.DeleteFunc(slices.Clone(ps.keys), func(o *KeyTag) bool { return o.KeyFormat == k.KeyFormat })
	ps.keys = append(keys, k)
}

func tagOf(keys []*KeyTag, method string) *KeyTag {
	for _, k := range keys {
		if k.Method == method {
			return k
		}
	}
	return nil
}
