package endtoend

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// key is the service's key of a KID, the same at every time.
func (s *spekeServer) key(kid string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[kid]
	if !ok {
		_, _ = rand.Read(k[:])
		s.keys[kid] = k
	}
	return k[:]
}

// made are all keys that the service made.
func (s *spekeServer) made() map[string][16]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][16]byte{}
	for kid, k := range s.keys {
		out[kid] = k
	}
	return out
}

// box is a pssh box of the service's own making, of another length than any that
// the fixtures have.
func (s *spekeServer) box(system, kid string) []byte {
	id, _ := hex.DecodeString(kid)
	var data []byte
	if system == widevineID {
		// key_ids, provider, content_id, policy (Widevine's protobuf, fields 2, 3, 4, 6).
		data = append(append(data, 0x12, 16), id...)
		for _, f := range [][2]string{{"\x1a", "the service"}, {"\x22", "content " + kid}, {"\x32", "strict"}} {
			data = append(append(append(data, f[0]...), byte(len(f[1]))), f[1]...)
		}
	} else {
		data = s.playReadyObject(id)
	}
	sys, _ := hex.DecodeString(strings.ReplaceAll(system, "-", ""))
	b := binary.BigEndian.AppendUint32(nil, uint32(32+len(data)))
	b = append(append(b, "pssh\x00\x00\x00\x00"...), sys...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

// playReadyObject is a WRMHEADER 4.0 with a licence URL and a CHECKSUM.
func (s *spekeServer) playReadyObject(id []byte) []byte {
	guid := slices.Clone(id)
	slices.Reverse(guid[:4])
	slices.Reverse(guid[4:6])
	slices.Reverse(guid[6:8])
	block, _ := aes.NewCipher(s.key(hex.EncodeToString(id)))
	sum := make([]byte, 16)
	block.Encrypt(sum, guid)
	header := `<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader" version="4.0.0.0"><DATA><PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>AESCTR</ALGID></PROTECTINFO><KID>` +
		base64.StdEncoding.EncodeToString(guid) + `</KID><CHECKSUM>` + base64.StdEncoding.EncodeToString(sum[:8]) + `</CHECKSUM><LA_URL>https://licence.example/of/the/service</LA_URL></DATA></WRMHEADER>`
	var wide []byte
	for _, u := range utf16.Encode([]rune(header)) {
		wide = binary.LittleEndian.AppendUint16(wide, u)
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(10+len(wide)))
	out = binary.LittleEndian.AppendUint16(out, 1)
	out = binary.LittleEndian.AppendUint16(out, 1)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(wide)))
	return append(out, wide...)
}

// skd names a key to FairPlay, by less than its KID.
func skd(kid string) string { return "skd://service.example/" + kid[:8] }

// document is the right answer to a request: the request with its gaps filled.
func (s *spekeServer) document(x exchange) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0"?><c:CPIX xmlns:c="urn:dashif:org:cpix" xmlns:p="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:d="http://www.w3.org/2000/09/xmldsig#" xmlns:e="http://www.w3.org/2001/04/xmlenc#" contentId=%q version="2.3">`, x.content)
	value := func(k []byte) string {
		return "<p:PlainValue>" + base64.StdEncoding.EncodeToString(k) + "</p:PlainValue>"
	}
	if x.cert != nil {
		var list string
		list, value = encryptTo(x.cert)
		b.WriteString(list)
	}
	b.WriteString("<c:ContentKeyList>")
	for _, k := range x.root.find("ContentKeyList").Children {
		kid := strings.ReplaceAll(k.attr("kid"), "-", "")
		fmt.Fprintf(&b, `<c:ContentKey kid=%q commonEncryptionScheme=%q><c:Data><p:Secret>%s</p:Secret></c:Data></c:ContentKey>`, k.attr("kid"), x.scheme[kid], value(s.key(kid)))
	}
	b.WriteString("</c:ContentKeyList><c:DRMSystemList>")
	for _, d := range x.root.find("DRMSystemList").Children {
		kid := strings.ReplaceAll(d.attr("kid"), "-", "")
		if d.attr("systemId") == fairPlayID {
			tag := `#EXT-X-KEY:METHOD=SAMPLE-AES,URI="` + skd(kid) + `",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"`
			fmt.Fprintf(&b, `<c:DRMSystem kid=%q systemId=%q><c:HLSSignalingData playlist="media">%s</c:HLSSignalingData></c:DRMSystem>`, d.attr("kid"), fairPlayID, base64.StdEncoding.EncodeToString([]byte(tag)))
			continue
		}
		fmt.Fprintf(&b, `<c:DRMSystem kid=%q systemId=%q><c:PSSH>%s</c:PSSH></c:DRMSystem>`, d.attr("kid"), d.attr("systemId"), base64.StdEncoding.EncodeToString(s.box(d.attr("systemId"), kid)))
	}
	b.WriteString("</c:DRMSystemList><c:ContentKeyUsageRuleList>")
	for _, r := range x.root.find("ContentKeyUsageRuleList").Children {
		fmt.Fprintf(&b, `<c:ContentKeyUsageRule kid=%q intendedTrackType=%q>`, r.attr("kid"), r.attr("intendedTrackType"))
		for _, f := range r.Children {
			fmt.Fprintf(&b, "<c:%s/>", f.XMLName.Local)
		}
		b.WriteString("</c:ContentKeyUsageRule>")
	}
	return b.String() + "</c:ContentKeyUsageRuleList></c:CPIX>"
}

// encryptTo does what CPIX says: keys under a document key, which is wrapped for
// the certificate, as is the key of their MACs.
func encryptTo(cert *x509.Certificate) (list string, value func([]byte) string) {
	documentKey, macKey := make([]byte, 32), make([]byte, 64)
	_, _ = rand.Read(documentKey)
	_, _ = rand.Read(macKey)
	wrapped := func(secret []byte) string {
		c, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, cert.PublicKey.(*rsa.PublicKey), secret, nil)
		if err != nil {
			return err.Error()
		}
		return `<e:EncryptionMethod Algorithm="` + oaepSHA1 + `"/><e:CipherData><e:CipherValue>` + base64.StdEncoding.EncodeToString(c) + `</e:CipherValue></e:CipherData>`
	}
	list = `<c:DeliveryDataList><c:DeliveryData><c:DeliveryKey><d:X509Data><d:X509Certificate>` + base64.StdEncoding.EncodeToString(cert.Raw) + `</d:X509Certificate></d:X509Data></c:DeliveryKey>` +
		`<c:DocumentKey Algorithm="` + aes256CBC + `"><c:Data><p:Secret><p:EncryptedValue>` + wrapped(documentKey) + `</p:EncryptedValue></p:Secret></c:Data></c:DocumentKey>` +
		`<c:MACMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"><c:Key>` + wrapped(macKey) + `</c:Key></c:MACMethod></c:DeliveryData></c:DeliveryDataList>`
	return list, func(k []byte) string {
		block, err := aes.NewCipher(documentKey)
		if err != nil {
			return err.Error()
		}
		sealed := make([]byte, 48)
		_, _ = rand.Read(sealed[:16])
		cipher.NewCBCEncrypter(block, sealed[:16]).CryptBlocks(sealed[16:], append(slices.Clone(k), bytes.Repeat([]byte{16}, 16)...))
		mac := hmac.New(sha512.New, macKey)
		mac.Write(sealed)
		return `<p:EncryptedValue><e:EncryptionMethod Algorithm="` + aes256CBC + `"/><e:CipherData><e:CipherValue>` + base64.StdEncoding.EncodeToString(sealed) +
			`</e:CipherValue></e:CipherData></p:EncryptedValue><p:ValueMAC>` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + `</p:ValueMAC>`
	}
}
