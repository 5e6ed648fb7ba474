package cpix

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/beevik/etree"

	"github.com/seed-6133abe0/rekey/key"
)

// Emit writes the document as CPIX 2.3. Errors are *Error: ErrMalformed where d
// is not what a document may say, or a certificate cannot be encrypted to.
//
// Parse of what Emit wrote gives d again, but for Encrypted and what a caller
// may not set.
func Emit(d Document, o EmitOptions) ([]byte, error) {
	if err := check(d); err != nil {
		return nil, err
	}
	e := &emitter{options: o}
	for _, k := range d.Keys {
		if !k.Key.IsZero() && len(o.Recipients) > 0 && e.secrets == nil {
			e.secrets = newSecrets()
			defer e.secrets.clear()
		}
	}
	doc := etree.NewDocument()
	doc.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	root := doc.CreateElement("cpix:CPIX")
	for _, ns := range [][2]string{{"cpix", nsCPIX}, {"pskc", nsPSKC}, {"ds", nsDS}, {"enc", nsXENC}, {"enc11", nsXENC11}} {
		root.CreateAttr("xmlns:"+ns[0], ns[1])
	}
	optional(root, "contentId", d.ContentID)
	root.CreateAttr("version", "2.3")
	if err := e.recipients(root); err != nil {
		return nil, err
	}
	if err := e.keys(root, d.Keys); err != nil {
		return nil, err
	}
	emitSystems(root, d.Systems)
	emitPeriods(root, d.Periods)
	emitRules(root, d.Rules)
	doc.Indent(2)
	var out bytes.Buffer
	if _, err := doc.WriteTo(&out); err != nil {
		return nil, unwritable("", ErrMalformed, err.Error())
	}
	return out.Bytes(), nil
}

func unwritable(path string, class error, reason string) error {
	return &Error{Object: "a CPIX document", Path: path, Reason: reason, Class: class}
}

type emitter struct {
	options EmitOptions
	secrets *secrets // nil: nothing is to be encrypted
}

// recipients writes one DeliveryData for each certificate, without keys where
// the receiver is to make them.
func (e *emitter) recipients(root *etree.Element) error {
	if len(e.options.Recipients) == 0 {
		return nil
	}
	list := root.CreateElement("cpix:DeliveryDataList")
	for i, c := range e.options.Recipients {
		path := fmt.Sprintf("CPIX/DeliveryDataList/DeliveryData[%d]", i+1)
		public, err := recipientKey(c)
		if err != nil {
			return unwritable(path, ErrMalformed, err.Error())
		}
		data := list.CreateElement("cpix:DeliveryData")
		setBase64(descend(data, "cpix:DeliveryKey", "ds:X509Data", "ds:X509Certificate"), c.Raw)
		if e.secrets == nil {
			continue
		}
		document := data.CreateElement("cpix:DocumentKey")
		document.CreateAttr("Algorithm", algAES256)
		sealed := descend(document, "cpix:Data", "pskc:Secret", "pskc:EncryptedValue")
		method := data.CreateElement("cpix:MACMethod")
		method.CreateAttr("Algorithm", algMAC)
		if err := e.wrapped(sealed, public, e.secrets.document); err != nil {
			return classed(path, err)
		}
		mac := method.CreateElement("pskc:MACKey")
		if err := e.wrapped(mac, public, e.secrets.mac); err != nil {
			return classed(path, err)
		}
		// RFC 6030 §6.1.1 wants MACKey and lets elements of other namespaces
		// follow; most CPIX readers know it by this name only.
		second := mac.Copy()
		second.Space, second.Tag = "cpix", "Key"
		method.AddChild(second)
	}
	return nil
}

func classed(path string, err error) error {
	if errors.Is(err, ErrNotFIPS) {
		return unwritable(path, ErrNotFIPS, "RSA-OAEP with SHA-1 is what CPIX says; SHA-256 can be asked for")
	}
	return unwritable(path, ErrMalformed, err.Error())
}

// wrapped writes an xenc:EncryptedDataType by RSA-OAEP.
func (e *emitter) wrapped(to *etree.Element, public *rsa.PublicKey, secret []byte) error {
	value, err := wrap(public, secret, e.options.SHA256)
	if err != nil {
		return err
	}
	method := to.CreateElement("enc:EncryptionMethod")
	if e.options.SHA256 {
		method.CreateAttr("Algorithm", algOAEP11)
		method.CreateElement("ds:DigestMethod").CreateAttr("Algorithm", algSHA256)
		method.CreateElement("enc11:MGF").CreateAttr("Algorithm", algMGF256)
	} else {
		method.CreateAttr("Algorithm", algOAEP)
	}
	setBase64(descend(to, "enc:CipherData", "enc:CipherValue"), value)
	return nil
}

func (e *emitter) keys(root *etree.Element, keys []ContentKey) error {
	if len(keys) == 0 {
		return nil
	}
	list := root.CreateElement("cpix:ContentKeyList")
	for _, k := range keys {
		n := list.CreateElement("cpix:ContentKey")
		n.CreateAttr("kid", k.KID.UUID())
		if k.ExplicitIV != nil {
			n.CreateAttr("explicitIV", base64.StdEncoding.EncodeToString(k.ExplicitIV[:]))
		}
		optional(n, "commonEncryptionScheme", k.CommonEncryptionScheme)
		if k.Key.IsZero() {
			continue
		}
		secret := descend(n, "cpix:Data", "pskc:Secret")
		if e.secrets == nil {
			raw := k.Key.RevealSecretBytes()
			setBase64(secret.CreateElement("pskc:PlainValue"), raw[:])
			clear(raw[:])
			continue
		}
		value, tag, err := e.secrets.seal(k.Key)
		if err != nil {
			return unwritable("CPIX/ContentKeyList", ErrMalformed, err.Error())
		}
		sealed := secret.CreateElement("pskc:EncryptedValue")
		sealed.CreateElement("enc:EncryptionMethod").CreateAttr("Algorithm", algAES256)
		setBase64(descend(sealed, "enc:CipherData", "enc:CipherValue"), value)
		setBase64(secret.CreateElement("pskc:ValueMAC"), tag)
	}
	return nil
}

func emitSystems(root *etree.Element, systems []DRMSystem) {
	if len(systems) == 0 {
		return
	}
	list := root.CreateElement("cpix:DRMSystemList")
	for _, s := range systems {
		n := list.CreateElement("cpix:DRMSystem")
		n.CreateAttr("systemId", key.KID(s.SystemID).UUID())
		n.CreateAttr("kid", s.KID.UUID())
		optional(n, "name", s.Name)
		for _, e := range []struct {
			tag, playlist string
			part          Signaling
			data          string
		}{
			{"PSSH", "", PSSH, string(s.PSSH)},
			{"ContentProtectionData", "", ContentProtectionData, s.ContentProtectionData},
			{"HLSSignalingData", "media", HLSMedia, s.HLSMedia},
			{"HLSSignalingData", "master", HLSMaster, s.HLSMaster},
			{"SmoothStreamingProtectionHeaderData", "", SmoothStreaming, s.SmoothStreaming},
		} {
			if e.data == "" && s.Asked&e.part == 0 {
				continue
			}
			c := n.CreateElement("cpix:" + e.tag)
			optional(c, "playlist", e.playlist)
			switch {
			case e.data == "":
			case e.part == SmoothStreaming:
				c.SetText(e.data)
			default:
				setBase64(c, []byte(e.data))
			}
		}
	}
}

// descend makes a chain of elements and returns the last.
func descend(n *etree.Element, tags ...string) *etree.Element {
	for _, tag := range tags {
		n = n.CreateElement(tag)
	}
	return n
}

func setBase64(n *etree.Element, b []byte) { n.SetText(base64.StdEncoding.EncodeToString(b)) }

func optional(n *etree.Element, name, value string) {
	if value != "" {
		n.CreateAttr(name, value)
	}
}
