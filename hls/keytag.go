package hls

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// Spellings of PlayReady's KEYFORMAT.
const (
	formatPlayReady     = "com.microsoft.playready"
	formatPlayReadyUUID = "urn:uuid:9a04f079-9840-4286-ab92-e65be0885f95"
)

// KeyTagKIDs lists the KIDs that a Common Encryption key tag names, each once:
// in KEYID, and in a data: URI that holds a pssh box, a PlayReady object or,
// under KEYFORMAT identity, the KID itself, as Shaka Packager writes it. Tags of
// other methods name none.
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
	case dataKID:
		named = []key.KID{key.KID(d.data)}
	case dataOther:
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
// ch change, and whether that is anything else. Tags of other methods, skd://
// and other URIs stay; one that spells out a KID of ch where this package does
// not change it, or that holds the content key itself, gives ErrUnsupported.
func RekeyKeyTag(k *KeyTag, ch key.Changes) (Replacement, bool, error) {
	var r Replacement
	if !isCommonEncryption(k.Method) {
		return r, false, nil
	}
	if k.KeyID != "" {
		kid, err := keyID(k)
		if err != nil {
			return r, false, err
		}
		if c, ok := ch[kid]; ok {
			r.KeyID = spellLike(k.KeyID, c.NewKID)
		}
	}
	uri, err := rekeyURI(k, ch)
	if err != nil {
		return Replacement{}, false, err
	}
	r.URI = uri
	return r, r != Replacement{}, nil
}

// rekeyURI returns the new URI; empty where it stays.
func rekeyURI(k *KeyTag, ch key.Changes) (string, error) {
	d, ok, err := parseDataURI(k)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", refuseNamed(k, ch)
	}
	out, updated := d.data, false
	switch d.kind {
	case dataPSSH:
		out, updated, err = pssh.Rekey(d.data, ch)
	case dataPRO:
		out, updated, err = pssh.RekeyPRO(d.data, ch)
	case dataKID:
		out, updated, err = rekeyKID(k, d.data, ch)
	case dataOther:
	}
	if err != nil {
		return "", tagError(k, err)
	}
	if !updated {
		return "", nil
	}
	return k.URI[:d.payload] + d.encoding.EncodeToString(out), nil
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
			return nil, false, &Error{Line: k.Line, Class: ErrUnsupported, Reason: "the playlist holds the content key itself"}
		}
	}
	return data, false, nil
}

// refuseNamed refuses a URI that spells a KID of ch in hex: it would go on
// naming the old key.
func refuseNamed(k *KeyTag, ch key.Changes) error {
	uri := strings.ToLower(k.URI)
	for kid := range ch {
		if strings.Contains(uri, kid.String()) || strings.Contains(uri, kid.UUID()) {
			return &Error{Line: k.Line, Class: ErrUnsupported, Reason: fmt.Sprintf("key URI spells the KID %s", kid)}
		}
	}
	return nil
}

func isCommonEncryption(method string) bool {
	return method == MethodSampleAES || method == MethodSampleAESCTR || method == MethodSampleAESCENC
}

func keyID(k *KeyTag) (key.KID, error) {
	v, err := key.ParseIV(k.KeyID) // the same hexadecimal-sequence of 16 bytes
	if err != nil {
		return key.KID{}, &Error{Line: k.Line, Class: ErrMalformed, Reason: "KEYID is not 0x and 32 hex digits"}
	}
	return key.KID(v), nil
}

// spellLike writes kid as old is written: prefix and case of the digits.
func spellLike(old string, kid key.KID) string {
	digits := kid.String()
	if old[2:] != strings.ToLower(old[2:]) {
		digits = strings.ToUpper(digits)
	}
	return old[:2] + digits
}

type dataKind int

const (
	dataOther dataKind = iota
	dataPSSH
	dataPRO
	dataKID
)

// dataURI is a data: URI of a key tag (RFC 2397).
type dataURI struct {
	payload  int // index in the URI at which the base64 begins
	encoding *base64.Encoding
	data     []byte
	kind     dataKind
}

// parseDataURI reads the URI; ok is false where it is no base64 data: URI. What
// a known KEYFORMAT holds and cannot be read is malformed: it may name any key.
func parseDataURI(k *KeyTag) (d dataURI, ok bool, err error) {
	if !isDataURI(k.URI) {
		return d, false, nil
	}
	comma := strings.IndexByte(k.URI, ',')
	if comma < 0 || !strings.HasSuffix(strings.ToLower(k.URI[:comma]), ";base64") {
		return d, false, &Error{Line: k.Line, Class: ErrMalformed, Reason: "data: URI is not base64"}
	}
	d.payload = comma + 1
	text, err := url.PathUnescape(k.URI[d.payload:])
	if err != nil {
		return d, false, &Error{Line: k.Line, Class: ErrMalformed, Reason: "data: URI has a bad percent-encoding"}
	}
	d.encoding = base64.StdEncoding
	if strings.HasSuffix(text, "=") || len(text)%4 == 0 {
		d.data, err = base64.StdEncoding.DecodeString(text)
	} else {
		d.encoding = base64.RawStdEncoding
		d.data, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return d, false, &Error{Line: k.Line, Class: ErrMalformed, Reason: "data: URI is not base64"}
	}
	format := strings.ToLower(k.KeyFormat)
	switch {
	case len(d.data) >= 8 && bytes.Equal(d.data[4:8], []byte("pssh")):
		d.kind = dataPSSH
	case format == formatPlayReady || format == formatPlayReadyUUID:
		d.kind = dataPRO
	case format == FormatIdentity && len(d.data) == 16:
		d.kind = dataKID
	}
	return d, true, nil
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
	return &Error{Line: k.Line, Class: class, Reason: "data: URI: " + err.Error()}
}
