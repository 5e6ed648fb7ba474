package cpix

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed-6133abe0/rekey/key"
)

// check refuses what Parse would refuse, so that nobody is sent it.
func check(d Document) error {
	keys, err := checkKeys(d.Keys)
	if err != nil {
		return err
	}
	if err := checkSystems(d.Systems, keys); err != nil {
		return err
	}
	texts := []string{d.ContentID}
	for i, r := range d.Rules {
		path := fmt.Sprintf("CPIX/ContentKeyUsageRuleList/ContentKeyUsageRule[%d]", i+1)
		if keys[r.KID] == nil {
			return unwritable(path, ErrMalformed, "no key has its KID")
		}
		if r.Unusable {
			return unwritable(path, ErrMalformed, "it had a filter that is not known")
		}
		texts = append(append(append(texts, r.IntendedTrackType), r.Periods...), r.Labels...)
	}
	for _, s := range d.Systems {
		texts = append(texts, s.Name, s.SmoothStreaming)
	}
	for _, p := range d.Periods {
		texts = append(texts, p.ID, p.Index, p.Start, p.End)
	}
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, notXML) {
			return unwritable("", ErrMalformed, "text that XML cannot hold")
		}
	}
	return nil
}

func checkKeys(all []ContentKey) (map[key.KID][]ContentKey, error) {
	keys := map[key.KID][]ContentKey{}
	for i, k := range all {
		path := fmt.Sprintf("CPIX/ContentKeyList/ContentKey[%d]", i+1)
		if k.KID.IsZero() {
			return nil, unwritable(path, ErrMalformed, "a KID of zeros names no key")
		}
		if k.CommonEncryptionScheme != "" && !isScheme(k.CommonEncryptionScheme) {
			return nil, unwritable(path, ErrMalformed, "its scheme is not cenc, cbc1, cens or cbcs")
		}
		for _, had := range keys[k.KID] {
			if !had.Key.Equal(k.Key) || had.CommonEncryptionScheme == k.CommonEncryptionScheme {
				return nil, unwritable(path, ErrMalformed, "the KID of another key")
			}
		}
		keys[k.KID] = append(keys[k.KID], k)
	}
	return keys, nil
}

func checkSystems(all []DRMSystem, keys map[key.KID][]ContentKey) error {
	seen := map[systemKey]bool{}
	for i, s := range all {
		path := fmt.Sprintf("CPIX/DRMSystemList/DRMSystem[%d]", i+1)
		at := systemKey{s.SystemID, s.KID}
		switch {
		case keys[s.KID] == nil:
			return unwritable(path, ErrMalformed, "no key has its KID")
		case seen[at]:
			return unwritable(path, ErrMalformed, "a second one for this system and KID")
		case !isFragment([]byte(s.ContentProtectionData)):
			return unwritable(path, ErrMalformed, "ContentProtectionData is not well-formed XML without a document type")
		case !utf8.ValidString(s.HLSMedia + s.HLSMaster + s.ContentProtectionData):
			return unwritable(path, ErrMalformed, "not UTF-8")
		}
		seen[at] = true
	}
	return nil
}

// notXML are the characters that XML 1.0 §2.2 leaves out.
func notXML(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}
