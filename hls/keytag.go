package hls

import (
	"errors"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// KeyTagKIDs lists the KIDs that a Common Encryption key tag names, each once:
// in KEYID, and in a data: URI that holds a pssh box, a PlayReady object or the
// KID itself. Hex digits in another URI are not listed, since they may be any id;
// [RekeyKeyTag] knows the KIDs to look for. Tags of other methods name none.
func KeyTagKIDs(k *KeyTag) ([]key.KID, error) {
	if !isCommonEncryption(k.Method) {
		return nil, nil
	}
	var kids []key.KID
	if k.KeyID != "" {
		kid, err := keyID(k)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	d, ok, err := parseDataURI(k)
	if err != nil || !ok {
		return kids, err
	}
	var named []key.KID
	switch d.kind {
	case dataPSSH:
		named, err = pssh.KIDs(d.data)
	case dataPRO:
		named, err = pssh.PROKIDs(d.data)
	case dataHeader:
		var pro []byte
		if pro, err = playReadyObject(d.data); err == nil {
			named, err = pssh.PROKIDs(pro)
		}
	case dataKID:
		named = []key.KID{key.KID(d.data)}
	case dataClearKey, dataOther:
	}
	if err != nil {
		return nil, tagError(k, err)
	}
	for _, kid := range named {
		if !slices.Contains(kids, kid) {
			kids = append(kids, kid)
		}
	}
	return kids, nil
}

// RekeyKeyTag returns what a Common Encryption key tag becomes when the keys of
// ch change, and whether that is anything else. The KID is replaced in KEYID, in
// a data: URI, and where another URI, skd:// among them, spells it in hex: 32
// digits or the dashed form. What names no KID of ch stays, and so do tags of
// other methods. Where the change brings new DRM data (key.Change.PSSH) of the
// system whose pssh box or PlayReady object a data: URI holds, that stands there
// instead; [OldDRMData] tells where it does not.
//
// ErrReplacement: that new data can't be used. ErrUnsupported: the tag names a KID of ch where this function does not change
// it, or holds the content key itself, or leads to it ([KeyTag.LeadsToKey]) by a
// URI that would lead to the old key still. Who gives that key a new URI takes
// the new KEYID from [RekeyKeyID].
func RekeyKeyTag(k *KeyTag, ch key.Changes) (Replacement, bool, error) {
	var r Replacement
	if !isCommonEncryption(k.Method) {
		return r, false, nil
	}
	id, err := RekeyKeyID(k, ch)
	if err != nil {
		return r, false, err
	}
	uri, err := rekeyURI(k, ch)
	if err != nil {
		return r, false, err
	}
	r = Replacement{URI: uri, KeyID: id}
	return r, r != Replacement{}, nil
}

// CheckKeyTag returns the error that [RekeyKeyTag] will give when any of these
// KIDs changes; nil where there is none. A content key that a data: URI holds is
// not seen: the key would have to be known.
func CheckKeyTag(k *KeyTag, kids []key.KID) error {
	// Any new key and KID will do: the error does not depend on them.
	trial, err := key.ContentKeyFromBytes(make([]byte, 16))
	if err != nil {
		return err
	}
	for _, kid := range kids {
		ch := key.Changes{kid: {New: trial, NewKID: key.KID{0xff}}}
		if _, _, err := RekeyKeyTag(k, ch); err != nil {
			return err
		}
	}
	return nil
}

// RekeyKeyID returns the new KEYID attribute; empty where it stays.
func RekeyKeyID(k *KeyTag, ch key.Changes) (string, error) {
	if k.KeyID == "" || !isCommonEncryption(k.Method) {
		return "", nil
	}
	kid, err := keyID(k)
	if err != nil {
		return "", err
	}
	if c, ok := ch[kid]; ok {
		return k.KeyID[:2] + key.SpellLike(k.KeyID[2:], c.NewKID), nil
	}
	return "", nil
}

// rekeyURI returns the new URI; empty where it stays.
func rekeyURI(k *KeyTag, ch key.Changes) (string, error) {
	d, ok, err := parseDataURI(k)
	if err != nil {
		return "", err
	}
	if !ok {
		return rekeySpelled(k, ch)
	}
	out, _, err := replaceData(k, d, ch)
	if err != nil {
		return "", tagError(k, err)
	}
	updated := out != nil
	if !updated {
		if out, updated, err = rekeyData(k, d, ch); err != nil {
			return "", tagError(k, err)
		}
	}
	if !updated {
		return "", nil
	}
	return k.URI[:d.payload] + d.encoding.EncodeToString(out), nil
}

// rekeyData replaces the KIDs in what a data: URI holds.
func rekeyData(k *KeyTag, d dataURI, ch key.Changes) ([]byte, bool, error) {
	switch d.kind {
	case dataPSSH:
		return pssh.Rekey(d.data, ch)
	case dataPRO:
		return pssh.RekeyPRO(d.data, ch)
	case dataHeader:
		return rekeyHeader(d.data, ch)
	case dataKID:
		return rekeyKID(k, d.data, ch)
	case dataClearKey:
		return nil, false, refuseClearKey(k, d.data, ch)
	default:
		return d.data, false, nil
	}
}

func rekeyHeader(header []byte, ch key.Changes) ([]byte, bool, error) {
	pro, err := playReadyObject(header)
	if err != nil {
		return nil, false, err
	}
	out, updated, err := pssh.RekeyPRO(pro, ch)
	if err != nil {
		return nil, false, err
	}
	return out[objectStart:], updated, nil // the same length always
}

func rekeyKID(k *KeyTag, data []byte, ch key.Changes) ([]byte, bool, error) {
	if c, ok := ch[key.KID(data)]; ok {
		return c.NewKID[:], true, nil
	}
	held, err := key.ContentKeyFromBytes(data)
	if err != nil {
		return nil, false, err
	}
	for _, c := range ch {
		if held.Equal(c.Old) {
			return nil, false, &Error{Line: k.Line, Column: k.Column, Class: ErrUnsupported, Reason: "the playlist holds the content key itself"}
		}
	}
	return data, false, nil
}

func isCommonEncryption(method string) bool {
	return method == MethodSampleAES || method == MethodSampleAESCTR || method == MethodSampleAESCENC
}

func keyID(k *KeyTag) (key.KID, error) {
	v, err := key.ParseIV(k.KeyID) // the same hexadecimal-sequence of 16 bytes
	if err != nil {
		return key.KID{}, &Error{Line: k.Line, Column: k.Column, Class: ErrMalformed, Reason: "KEYID is not 0x and 32 hex digits"}
	}
	return key.KID(v), nil
}

// tagError puts the tag's line to an error about its data.
func tagError(k *KeyTag, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	class := ErrMalformed
	if errors.Is(err, pssh.ErrUnsupported) {
		class = ErrUnsupported
	}
	if errors.Is(err, ErrReplacement) {
		class = ErrReplacement
	}
	return &Error{Line: k.Line, Column: k.Column, Class: class, Reason: "data: URI: " + err.Error()}
}
