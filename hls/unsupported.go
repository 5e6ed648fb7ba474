package hls

import (
	"fmt"
	"strings"
)

// judgeKey refuses key tags that rekey does not handle. Its reasons never quote
// the URI, which may hold a key.
func (ps *parser) judgeKey(k *KeyTag) {
	if strings.Contains(k.KeyFormat, variableStart) {
		ps.refuse(0, "KEYFORMAT with a variable that only the player knows")
	}
	switch k.Method {
	case MethodNone, MethodSampleAES, MethodSampleAESCTR, MethodSampleAESCENC:
	case MethodAES128:
		switch {
		case k.KeyFormat != FormatIdentity:
			ps.refuse(0, fmt.Sprintf("AES-128 with KEYFORMAT %q: only identity", excerpt(k.KeyFormat)))
		case isDataURI(k.URI):
			ps.refuse(0, "AES-128 key inside the playlist (data: URI)")
		}
	default:
		ps.refuse(0, fmt.Sprintf("METHOD %q", excerpt(k.Method)))
	}
}

// judgeMap refuses init sections whose IV would be that of the next segment: RFC
// 8216 §4.3.2.5 requires the attribute.
func (ps *parser) judgeMap(m *InitSection) {
	if k := tagOf(m.Keys, MethodAES128); k != nil && k.IV == nil {
		ps.refuse(0, fmt.Sprintf("EXT-X-MAP under AES-128 without an IV attribute (EXT-X-KEY of line %d)", k.Line))
	}
}

// judge refuses segments that rekey does not handle.
func (ps *parser) judge(s MediaSegment) {
	if len(s.Keys) == 0 || s.Gap {
		return
	}
	aes := tagOf(s.Keys, MethodAES128)
	switch {
	case aes != nil && len(s.Keys) > 1:
		ps.refuse(0, "keys of several KEYFORMATs under AES-128")
	case aes == nil && s.Map == nil:
		for _, k := range s.Keys {
			if k.Method != MethodSampleAES {
				ps.refuse(0, fmt.Sprintf("METHOD %s without EXT-X-MAP (EXT-X-KEY of line %d): not fMP4", k.Method, k.Line))
			}
		}
	}
}

// judgePart refuses partial segments whose bytes change with the key: they would
// have to be cut out of the segment anew.
func (ps *parser) judgePart(p MediaSegment) {
	if wholeSegment(p.Keys, p.Map) && !p.Gap {
		ps.refuse(0, fmt.Sprintf("EXT-X-PART under METHOD %s (EXT-X-KEY of line %d)", p.Keys[0].Method, p.Keys[0].Line))
	}
}

// judgeTarget refuses a reference that leads where only the player knows.
func (ps *parser) judgeTarget(target string, within int) {
	if path, _, _ := strings.Cut(target, "?"); strings.Contains(path, variableStart) {
		ps.refuse(within, "URI with {$ before its query: a variable that only the player knows")
	}
}

// wholeSegment reports keys that encrypt a media segment as a whole, in what its
// container makes of it: AES-128, and SAMPLE-AES in MPEG-2 TS and packed audio.
// Under Common Encryption each sample stands by itself.
func wholeSegment(keys []*KeyTag, m *InitSection) bool {
	return len(keys) > 0 && (m == nil || tagOf(keys, MethodAES128) != nil)
}
