package hls

import "fmt"

// judgeKey refuses key tags that rekey does not handle. Its reasons never quote
// the URI, which may hold a key.
func (ps *parser) judgeKey(k *KeyTag) {
	switch k.Method {
	case MethodNone, MethodSampleAES, MethodSampleAESCTR, MethodSampleAESCENC:
	case MethodAES128:
		switch {
		case k.KeyFormat != FormatIdentity:
			ps.refuse(k.Line, fmt.Sprintf("AES-128 with KEYFORMAT %q: only identity", k.KeyFormat))
		case isDataURI(k.URI):
			ps.refuse(k.Line, "AES-128 key inside the playlist (data: URI)")
		}
	default:
		ps.refuse(k.Line, fmt.Sprintf("METHOD %q", k.Method))
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
		ps.refuse(s.Line, "keys of several KEYFORMATs under AES-128")
	case aes != nil && s.Range != nil:
		// Each sub-range is a CBC message of its own (RFC 8216 §5.2).
		ps.refuse(ps.rng.line, fmt.Sprintf("EXT-X-BYTERANGE under AES-128 (EXT-X-KEY of line %d)", aes.Line))
	case aes != nil && s.Map != nil:
		ps.refuse(s.Line, fmt.Sprintf("AES-128 over segments with an EXT-X-MAP (line %d)", s.Map.Line))
	case aes == nil && s.Map == nil:
		k := s.Keys[0]
		ps.refuse(k.Line, fmt.Sprintf("METHOD %s without EXT-X-MAP: not fMP4", k.Method))
	}
}
