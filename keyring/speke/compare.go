package speke

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

func broken(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrContract, fmt.Sprintf(format, a...))
}

// compare wants of an answer that it is what was asked, and complete.
func compare(asked cpix.Document, got *cpix.Document, encrypted bool) error {
	if got.ContentID != asked.ContentID {
		return broken("another content id")
	}
	if err := compareKeys(asked.Keys, got.Keys, encrypted); err != nil {
		return err
	}
	if err := compareSystems(asked.Systems, got.Systems); err != nil {
		return err
	}
	if len(got.Rules) != len(asked.Rules) {
		return broken("%d usage rules, want %d", len(got.Rules), len(asked.Rules))
	}
	rules := map[key.KID]cpix.Rule{}
	for _, r := range got.Rules {
		rules[r.KID] = r
	}
	for _, want := range asked.Rules {
		if got, ok := rules[want.KID]; !ok || !reflect.DeepEqual(got, want) {
			return broken("no usage rule for KID %s, or it was changed", want.KID)
		}
	}
	return nil
}

func compareKeys(asked, got []cpix.ContentKey, encrypted bool) error {
	want := map[key.KID]cpix.ContentKey{}
	for _, k := range asked {
		want[k.KID] = k
	}
	for i, k := range got {
		w, ok := want[k.KID]
		if !ok {
			return broken("KID %s, which was not asked for or came before", k.KID)
		}
		delete(want, k.KID)
		switch {
		case k.Key.IsZero():
			return broken("no value for KID %s", k.KID)
		case weak(k):
			return broken("a weak key for KID %s: one byte sixteen times, or the KID", k.KID)
		case encrypted && !k.Encrypted:
			return broken("KID %s in the clear, though certificates were sent", k.KID)
		case k.CommonEncryptionScheme != w.CommonEncryptionScheme:
			return broken("another scheme for KID %s", k.KID)
		case w.ExplicitIV != nil && (k.ExplicitIV == nil || *k.ExplicitIV != *w.ExplicitIV):
			return broken("another IV for KID %s", k.KID)
		}
		for _, other := range got[:i] {
			if other.Key.Equal(k.Key) {
				return broken("KIDs %s and %s with one key", other.KID, k.KID)
			}
		}
	}
	for kid := range want {
		return broken("no key for KID %s", kid)
	}
	return nil
}

// weak reports what no random generator gives: a placeholder, or the KID itself.
func weak(k cpix.ContentKey) bool {
	raw := k.Key.RevealSecretBytes()
	defer clear(raw[:])
	return raw == k.KID || bytes.Count(raw[:], raw[:1]) == len(raw)
}

type pair struct {
	system [16]byte
	kid    key.KID
}

func (p pair) String() string {
	return fmt.Sprintf("system %s and KID %s", key.KID(p.system).UUID(), p.kid)
}

func compareSystems(asked, got []cpix.DRMSystem) error {
	want := map[pair]cpix.Signaling{}
	for _, s := range asked {
		want[pair{s.SystemID, s.KID}] = s.Asked
	}
	for _, s := range got {
		at := pair{s.SystemID, s.KID}
		parts, ok := want[at]
		if !ok {
			return broken("%s, which were not asked for", at)
		}
		delete(want, at)
		if missing := parts &^ present(s); missing != 0 {
			return broken("%s without what was asked for (%s)", at, names(missing))
		}
		if err := checkPSSH(s); err != nil {
			return err
		}
	}
	for at := range want {
		return broken("nothing for %s", at)
	}
	return nil
}

func present(s cpix.DRMSystem) cpix.Signaling {
	var p cpix.Signaling
	for _, e := range []struct {
		part cpix.Signaling
		ok   bool
	}{
		{cpix.PSSH, len(s.PSSH) > 0},
		{cpix.ContentProtectionData, s.ContentProtectionData != ""},
		{cpix.HLSMedia, s.HLSMedia != ""},
		{cpix.HLSMaster, s.HLSMaster != ""},
		{cpix.SmoothStreaming, s.SmoothStreaming != ""},
	} {
		if e.ok {
			p |= e.part
		}
	}
	return p
}

func names(p cpix.Signaling) string {
	var out string
	for _, e := range []struct {
		part cpix.Signaling
		name string
	}{
		{cpix.PSSH, "PSSH"}, {cpix.ContentProtectionData, "ContentProtectionData"}, {cpix.HLSMedia, "HLSSignalingData media"},
		{cpix.HLSMaster, "HLSSignalingData master"}, {cpix.SmoothStreaming, "SmoothStreamingProtectionHeaderData"},
	} {
		if p&e.part != 0 {
			out += ", " + e.name
		}
	}
	return out[len(", "):]
}

// checkPSSH wants one whole pssh box of that system (ISO/IEC 23001-7 §8.1): its
// inside is for whoever puts it into media.
func checkPSSH(s cpix.DRMSystem) error {
	b := s.PSSH
	if len(b) == 0 {
		return nil
	}
	const header = 4 + 4 + 4 + 16 + 4 // size, type, version and flags, system, data size
	if len(b) < header || uint64(binary.BigEndian.Uint32(b)) != uint64(len(b)) || string(b[4:8]) != "pssh" {
		return broken("the PSSH of %s is not one pssh box", pair{s.SystemID, s.KID})
	}
	if [16]byte(b[12:28]) != s.SystemID {
		return broken("the PSSH of %s is another system's", pair{s.SystemID, s.KID})
	}
	return nil
}

// comparePushed wants that an answer to a push changes no key and names no other.
func comparePushed(pushed, got *cpix.Document) error {
	if got.ContentID != "" && got.ContentID != pushed.ContentID {
		return broken("another content id")
	}
	keys := map[key.KID]key.ContentKey{}
	for _, k := range pushed.Keys {
		keys[k.KID] = k.Key
	}
	for _, k := range got.Keys {
		had, ok := keys[k.KID]
		if !ok {
			return broken("KID %s, which was not pushed", k.KID)
		}
		if !k.Key.IsZero() && !k.Key.Equal(had) {
			return broken("another key for KID %s", k.KID)
		}
	}
	for _, s := range got.Systems {
		if err := checkPSSH(s); err != nil {
			return err
		}
	}
	return nil
}
