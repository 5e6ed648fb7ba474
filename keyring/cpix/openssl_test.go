package cpix_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

// openssl runs the command, which does all cryptography on the other side.
func openssl(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", args[0], err, &stderr)
	}
	return out
}

// opensslRecipient makes a key and a certificate, and returns their files.
func opensslRecipient(t testing.TB) (keyFile, certFile string) {
	t.Helper()
	dir := t.TempDir()
	keyFile, certFile = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	openssl(t, nil, "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=peer", "-keyout", keyFile, "-out", certFile)
	return keyFile, certFile
}

func readPEM(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("no PEM in %s", file)
	}
	return block.Bytes
}

var oaepSHA1 = []string{"-pkeyopt", "rsa_padding_mode:oaep"}
var oaepSHA256 = append(oaepSHA1[:2:2], "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256")
var oaepMixed = append(oaepSHA1[:2:2], "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha1")

// peer is a recipient whose key openssl made, and the secrets of one document to
// it; everything encrypted is openssl's work, and the XML is written by hand.
type peer struct {
	private                         crypto.Decrypter
	cert, certFile                  string
	documentKey, macKey, padded, iv []byte
	oaep                            []string
	method, macOpen, macClose       string
}

const oaepMGF1P = `<x:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/>`

func newPeer(t testing.TB) peer {
	t.Helper()
	keyFile, certFile := opensslRecipient(t)
	private, err := x509.ParsePKCS8PrivateKey(readPEM(t, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	return peer{
		private: private.(crypto.Decrypter), cert: base64.StdEncoding.EncodeToString(readPEM(t, certFile)), certFile: certFile,
		documentKey: openssl(t, nil, "rand", "32"), macKey: openssl(t, nil, "rand", "64"), iv: openssl(t, nil, "rand", "16"),
		padded: append(openssl(t, nil, "rand", "16"), bytes.Repeat([]byte{16}, 16)...),
		oaep:   oaepSHA1, method: oaepMGF1P, macOpen: "<k:MACKey>", macClose: "</k:MACKey>",
	}
}

func (p peer) wrap(t testing.TB, secret []byte) string {
	t.Helper()
	args := append([]string{"pkeyutl", "-encrypt", "-certin", "-inkey", p.certFile}, p.oaep...)
	return base64.StdEncoding.EncodeToString(openssl(t, secret, args...))
}

func (p peer) document(t testing.TB) string {
	t.Helper()
	cipher := fmt.Sprintf("-aes-%d-cbc", 8*len(p.documentKey))
	sealed := append(p.iv[:16:16], openssl(t, p.padded, "enc", cipher, "-nopad", "-K", hex.EncodeToString(p.documentKey), "-iv", hex.EncodeToString(p.iv))...)
	tag := openssl(t, sealed, "dgst", "-sha512", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(p.macKey), "-binary")
	return fmt.Sprintf(`<?xml version="1.0"?>
<CPIX xmlns="urn:dashif:org:cpix" xmlns:k="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:x="http://www.w3.org/2001/04/xmlenc#" xmlns:d="http://www.w3.org/2000/09/xmldsig#">
 <DeliveryDataList><DeliveryData>
  <DeliveryKey><d:X509Data><d:X509Certificate>%s</d:X509Certificate></d:X509Data></DeliveryKey>
  <DocumentKey Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"><Data><k:Secret><k:EncryptedValue>%s<x:CipherData><x:CipherValue>%s</x:CipherValue></x:CipherData></k:EncryptedValue></k:Secret></Data></DocumentKey>
  <MACMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#hmac-sha512">%s%s<x:CipherData><x:CipherValue>%s</x:CipherValue></x:CipherData>%s</MACMethod>
 </DeliveryData></DeliveryDataList>
 <ContentKeyList><ContentKey kid="%s"><Data><k:Secret>
  <k:EncryptedValue><x:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/><x:CipherData><x:CipherValue>%s</x:CipherValue></x:CipherData></k:EncryptedValue>
  <k:ValueMAC>%s</k:ValueMAC>
 </k:Secret></Data></ContentKey></ContentKeyList>
</CPIX>`, p.cert, p.method, p.wrap(t, p.documentKey), p.macOpen, p.method, p.wrap(t, p.macKey), p.macClose,
		kidA, base64.StdEncoding.EncodeToString(sealed), base64.StdEncoding.EncodeToString(tag))
}

func TestOpensslSeals(t *testing.T) {
	p := newPeer(t)
	sha256 := `<x:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#rsa-oaep"><d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><MGF xmlns="http://www.w3.org/2009/xmlenc11#" Algorithm="http://www.w3.org/2009/xmlenc11#mgf1sha256"/></x:EncryptionMethod>`
	mixed := strings.Replace(oaepMGF1P, "/>", `><d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/></x:EncryptionMethod>`, 1)
	for name, change := range map[string]func(*peer){
		"MACKey":                    func(*peer) {},
		"Key":                       func(p *peer) { p.macOpen, p.macClose = "<Key>", "</Key>" },
		"Key with EncryptedValue":   func(p *peer) { p.macOpen, p.macClose = "<Key><k:EncryptedValue>", "</k:EncryptedValue></Key>" },
		"SHA-256":                   func(p *peer) { p.method, p.oaep = sha256, oaepSHA256 },
		"SHA-256 and MGF1 of SHA-1": func(p *peer) { p.method, p.oaep = mixed, oaepMixed },
		"the newer name, all SHA-1": func(p *peer) {
			p.method = strings.Replace(oaepMGF1P, "2001/04/xmlenc#rsa-oaep-mgf1p", "2009/xmlenc11#rsa-oaep", 1)
		},
		"the shortest key for a MAC": func(p *peer) { p.macKey = p.macKey[:16] },
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			change(&p)
			got, err := cpix.Parse("x", []byte(p.document(t)), cpix.ParseOptions{Decrypters: []crypto.Decrypter{bob().key, p.private}})
			if err != nil {
				t.Fatal(err)
			}
			if k := got.Keys[0].Key.RevealSecretBytes(); len(got.Keys) != 1 || !bytes.Equal(k[:], p.padded[:16]) {
				t.Error("another key")
			}
		})
	}
}

// Who has the MAC key may still write what is no key.
func TestOpensslSealsWrong(t *testing.T) {
	p := newPeer(t)
	for name, c := range map[string]struct {
		change func(*peer)
		class  error
	}{
		"padding of another value": {func(p *peer) { p.padded = append(p.padded[:16:16], bytes.Repeat([]byte{15}, 16)...) }, cpix.ErrDecrypt},
		"padding that varies":      {func(p *peer) { p.padded = append(append(p.padded[:16:16], make([]byte, 15)...), 16) }, cpix.ErrDecrypt},
		"a key of 31 bytes":        {func(p *peer) { p.padded = append(p.padded[:31:31], 1) }, cpix.ErrDecrypt},
		"a document key of 16":     {func(p *peer) { p.documentKey = p.documentKey[:16] }, cpix.ErrMalformed},
		"a MAC key of 15":          {func(p *peer) { p.macKey = p.macKey[:15] }, cpix.ErrMalformed},
		"a label": {func(p *peer) {
			p.method = strings.Replace(oaepMGF1P, "/>", "><x:OAEPparams>AAAA</x:OAEPparams></x:EncryptionMethod>", 1)
		}, cpix.ErrUnsupported},
		"another digest": {func(p *peer) {
			p.method = strings.Replace(oaepMGF1P, "/>", `><d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"/></x:EncryptionMethod>`, 1)
		}, cpix.ErrUnsupported},
		"the other digest": {func(p *peer) { p.oaep = oaepSHA256 }, cpix.ErrDecrypt},
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			c.change(&p)
			d, err := cpix.Parse("x", []byte(p.document(t)), cpix.ParseOptions{Decrypters: []crypto.Decrypter{p.private}})
			wantRefusal(t, d, err, c.class)
		})
	}
}

// emitted is a document as its reader sees it that knows nothing of this package.
type emitted struct {
	XMLName  xml.Name `xml:"urn:dashif:org:cpix CPIX"`
	Version  string   `xml:"version,attr"`
	Delivery []struct {
		Cert     []byte `xml:"DeliveryKey>X509Data>X509Certificate"`
		Document struct {
			Algorithm string    `xml:"Algorithm,attr"`
			Value     encrypted `xml:"Data>Secret>EncryptedValue"`
		} `xml:"urn:dashif:org:cpix DocumentKey"`
		MAC struct {
			Algorithm string    `xml:"Algorithm,attr"`
			Key       encrypted `xml:"urn:ietf:params:xml:ns:keyprov:pskc MACKey"`
			Second    encrypted `xml:"urn:dashif:org:cpix Key"`
		} `xml:"urn:dashif:org:cpix MACMethod"`
	} `xml:"DeliveryDataList>DeliveryData"`
	Keys []struct {
		KID  string `xml:"kid,attr"`
		Data struct {
			Secret struct {
				Value encrypted `xml:"urn:ietf:params:xml:ns:keyprov:pskc EncryptedValue"`
				MAC   string    `xml:"urn:ietf:params:xml:ns:keyprov:pskc ValueMAC"`
			} `xml:"urn:ietf:params:xml:ns:keyprov:pskc Secret"`
		} `xml:"urn:dashif:org:cpix Data"`
	} `xml:"ContentKeyList>ContentKey"`
}

type encrypted struct {
	Method struct {
		Algorithm string `xml:"Algorithm,attr"`
		Digest    struct {
			Algorithm string `xml:"Algorithm,attr"`
		} `xml:"http://www.w3.org/2000/09/xmldsig# DigestMethod"`
		MGF struct {
			Algorithm string `xml:"Algorithm,attr"`
		} `xml:"http://www.w3.org/2009/xmlenc11# MGF"`
	} `xml:"http://www.w3.org/2001/04/xmlenc# EncryptionMethod"`
	Data struct {
		Value string `xml:"http://www.w3.org/2001/04/xmlenc# CipherValue"`
	} `xml:"http://www.w3.org/2001/04/xmlenc# CipherData"`
}

func TestOpensslOpens(t *testing.T) {
	keyFile, certFile := opensslRecipient(t)
	cert, err := x509.ParseCertificate(readPEM(t, certFile))
	if err != nil {
		t.Fatal(err)
	}
	k := key.NewContentKey()
	want := k.RevealSecretBytes()
	for name, c := range map[string]struct {
		sha256              bool
		oaep                []string
		method, digest, mgf string
	}{
		"SHA-1":   {false, oaepSHA1, "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "", ""},
		"SHA-256": {true, oaepSHA256, "http://www.w3.org/2009/xmlenc11#rsa-oaep", "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2009/xmlenc11#mgf1sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := cpix.Emit(cpix.Document{Keys: []cpix.ContentKey{{KID: mustKID(t, kidA), Key: k}}},
				cpix.EmitOptions{Recipients: []*x509.Certificate{bob().cert, cert}, SHA256: c.sha256})
			if err != nil {
				t.Fatal(err)
			}
			var d emitted
			if err := xml.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			if d.Version != "2.3" || len(d.Delivery) != 2 || len(d.Keys) != 1 || d.Keys[0].KID != kidA {
				t.Fatalf("%s", b)
			}
			to := d.Delivery[1]
			if raw := decode(t, string(to.Cert)); !bytes.Equal(raw, cert.Raw) {
				t.Error("another certificate")
			}
			if m := to.Document.Value.Method; m.Algorithm != c.method || m.Digest.Algorithm != c.digest || m.MGF.Algorithm != c.mgf {
				t.Errorf("method %+v", m)
			}
			if to.MAC.Algorithm != "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512" || to.Document.Algorithm != "http://www.w3.org/2001/04/xmlenc#aes256-cbc" {
				t.Errorf("algorithms %q, %q", to.MAC.Algorithm, to.Document.Algorithm)
			}
			if to.MAC.Key.Data.Value == "" || to.MAC.Key != to.MAC.Second {
				t.Error("the MAC key does not stand under both its names")
			}
			unwrap := func(v encrypted) []byte {
				return openssl(t, decode(t, v.Data.Value), append([]string{"pkeyutl", "-decrypt", "-inkey", keyFile}, c.oaep...)...)
			}
			documentKey, macKey := unwrap(to.Document.Value), unwrap(to.MAC.Key)
			secret := d.Keys[0].Data.Secret
			sealed := decode(t, secret.Value.Data.Value)
			tag := openssl(t, sealed, "dgst", "-sha512", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(macKey), "-binary")
			if !bytes.Equal(tag, decode(t, secret.MAC)) {
				t.Error("another MAC")
			}
			got := openssl(t, sealed[16:], "enc", "-d", "-aes-256-cbc", "-K", hex.EncodeToString(documentKey), "-iv", hex.EncodeToString(sealed[:16]))
			if !bytes.Equal(got, want[:]) {
				t.Error("another key")
			}
		})
	}
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
