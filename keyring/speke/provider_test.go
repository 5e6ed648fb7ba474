package speke_test

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
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring/speke"
)

// document is a request as a provider reads it that shares no code with the
// client: every element by its namespace.
type document struct {
	XMLName   xml.Name `xml:"urn:dashif:org:cpix CPIX"`
	ContentID string   `xml:"contentId,attr"`
	Version   string   `xml:"version,attr"`
	Delivery  *struct {
		Data []struct {
			Key      delivered `xml:"urn:dashif:org:cpix DeliveryKey"`
			Document *struct{} `xml:"urn:dashif:org:cpix DocumentKey"`
		} `xml:"urn:dashif:org:cpix DeliveryData"`
	} `xml:"urn:dashif:org:cpix DeliveryDataList"`
	Keys struct {
		Key []contentKey `xml:"urn:dashif:org:cpix ContentKey"`
	} `xml:"urn:dashif:org:cpix ContentKeyList"`
	Systems struct {
		System []drmSystem `xml:"urn:dashif:org:cpix DRMSystem"`
	} `xml:"urn:dashif:org:cpix DRMSystemList"`
	Periods *struct{} `xml:"urn:dashif:org:cpix ContentKeyPeriodList"`
	Rules   struct {
		Rule []usageRule `xml:"urn:dashif:org:cpix ContentKeyUsageRule"`
	} `xml:"urn:dashif:org:cpix ContentKeyUsageRuleList"`
}

type delivered struct {
	X509 struct {
		Cert string `xml:"http://www.w3.org/2000/09/xmldsig# X509Certificate"`
	} `xml:"http://www.w3.org/2000/09/xmldsig# X509Data"`
}

type contentKey struct {
	KID    string `xml:"kid,attr"`
	IV     string `xml:"explicitIV,attr"`
	Scheme string `xml:"commonEncryptionScheme,attr"`
	Data   *struct {
		Secret struct {
			Plain string `xml:"urn:ietf:params:xml:ns:keyprov:pskc PlainValue"`
		} `xml:"urn:ietf:params:xml:ns:keyprov:pskc Secret"`
	} `xml:"urn:dashif:org:cpix Data"`
}

type drmSystem struct {
	ID   string  `xml:"systemId,attr"`
	KID  string  `xml:"kid,attr"`
	PSSH *string `xml:"urn:dashif:org:cpix PSSH"`
	MPD  *string `xml:"urn:dashif:org:cpix ContentProtectionData"`
	HLS  []struct {
		Playlist string `xml:"playlist,attr"`
		Text     string `xml:",chardata"`
	} `xml:"urn:dashif:org:cpix HLSSignalingData"`
}

type usageRule struct {
	KID   string     `xml:"kid,attr"`
	Type  string     `xml:"intendedTrackType,attr"`
	Video []struct{} `xml:"urn:dashif:org:cpix VideoFilter"`
	Audio []struct {
		Max string `xml:"maxChannels,attr"`
	} `xml:"urn:dashif:org:cpix AudioFilter"`
}

// provider is a key provider: it checks each request, and answers as one would.
type provider struct {
	*httptest.Server
	calls  atomic.Int32
	mu     sync.Mutex
	last   document // what was asked last
	header http.Header
	faults []string // what was wrong with requests

	key    func(kid string) string // the key of a KID in base64
	answer func(w http.ResponseWriter, r *http.Request, d document)
}

func newProvider(t *testing.T) *provider {
	p := &provider{key: keyOf}
	p.answer = func(w http.ResponseWriter, _ *http.Request, d document) { p.reply(w, p.respond(d)) }
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake that fails is a test
	p.StartTLS()
	t.Cleanup(func() {
		p.Close()
		for _, f := range p.faults {
			t.Error("the provider says: " + f)
		}
	})
	return p
}

func (p *provider) client() *speke.Client {
	return &speke.Client{Endpoint: p.URL + "/speke/v2.0/copyProtection", HTTP: p.Client(), Backoff: 1}
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var d document
	if err == nil {
		err = xml.Unmarshal(body, &d)
	}
	p.calls.Add(1)
	p.mu.Lock()
	p.last, p.header = d, r.Header.Clone()
	p.header.Set("Host", r.Host)
	p.faults = append(p.faults, p.examine(r, d, string(body), err)...)
	p.mu.Unlock()
	p.answer(w, r, d)
}

// examine says what SPEKE v2 forbids.
func (p *provider) examine(r *http.Request, d document, body string, err error) (faults []string) {
	want := func(ok bool, what string) {
		if !ok {
			faults = append(faults, what+":\n"+body)
		}
	}
	want(err == nil, fmt.Sprint("not the document: ", err))
	want(r.Method == http.MethodPost && r.URL.Path == "/speke/v2.0/copyProtection", r.Method+" "+r.URL.Path)
	want(r.Header.Get("Content-Type") == "application/xml", "Content-Type")
	want(r.Header.Get("X-Speke-Version") == "2.0", "X-Speke-Version")
	want(r.Header.Get("X-Speke-User-Agent") != "", "X-Speke-User-Agent")
	want(strings.Contains(body, `xmlns:cpix="urn:dashif:org:cpix"`) && strings.Contains(body, `xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc"`), "namespaces")
	want(d.Version == "2.3" && d.ContentID != "", "version or contentId")
	want(len(d.Keys.Key) > 0 && len(d.Systems.System) > 0 && len(d.Rules.Rule) == len(d.Keys.Key), "a list is missing")
	want(d.Periods == nil, "key periods, which are for live")
	for i, k := range d.Keys.Key {
		want(len(k.KID) == 36 && strings.Count(k.KID, "-") == 4, "kid")
		want(strings.Contains("cenc cens cbc1 cbcs", k.Scheme) && len(k.Scheme) == 4, "scheme")
		want(d.Rules.Rule[i].KID == k.KID && d.Rules.Rule[i].Type != "", "usage rule")
		want(len(d.Rules.Rule[i].Video)+len(d.Rules.Rule[i].Audio) > 0, "no filter")
	}
	return faults
}

// keyOf is another key for every KID: its digits turned round.
func keyOf(kid string) string {
	raw, _ := hex.DecodeString(strings.ReplaceAll(kid, "-", ""))
	for i := range raw {
		raw[i] ^= 0xa5
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func psshBox(system, kid string) []byte {
	id, _ := hex.DecodeString(strings.ReplaceAll(system, "-", ""))
	data, _ := hex.DecodeString(strings.ReplaceAll(kid, "-", ""))
	b := binary.BigEndian.AppendUint32(nil, uint32(32+len(data)))
	b = append(append(append(b, "pssh"...), 0, 0, 0, 0), id...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

// respond writes the answer by hand: the request with its gaps filled.
func (p *provider) respond(d document) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?><c:CPIX xmlns:c="urn:dashif:org:cpix" xmlns:p="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:x="http://www.w3.org/2001/04/xmlenc#" contentId=%q version="2.3">`, d.ContentID)
	value := func(kid string) string { return "<p:PlainValue>" + p.key(kid) + "</p:PlainValue>" }
	if d.Delivery != nil {
		var list string
		list, value = p.encryptTo(d)
		b.WriteString(list)
	}
	b.WriteString("<c:ContentKeyList>")
	for _, k := range d.Keys.Key {
		iv := k.IV
		if iv == "" {
			iv = "AAAAAAAAAAAAAAAAAAAAAQ=="
		}
		fmt.Fprintf(&b, `<c:ContentKey kid=%q explicitIV=%q commonEncryptionScheme=%q><c:Data><p:Secret>%s</p:Secret></c:Data></c:ContentKey>`, k.KID, iv, k.Scheme, value(k.KID))
	}
	b.WriteString("</c:ContentKeyList><c:DRMSystemList>")
	for _, s := range d.Systems.System {
		pssh := base64.StdEncoding.EncodeToString(psshBox(s.ID, s.KID))
		fmt.Fprintf(&b, `<c:DRMSystem kid=%q systemId=%q>`, s.KID, s.ID)
		if s.PSSH != nil {
			fmt.Fprintf(&b, "<c:PSSH>%s</c:PSSH>", pssh)
		}
		if s.MPD != nil {
			fmt.Fprintf(&b, "<c:ContentProtectionData>%s</c:ContentProtectionData>", b64(`<pssh xmlns="urn:mpeg:cenc:2013">`+pssh+"</pssh>"))
		}
		for _, h := range s.HLS {
			fmt.Fprintf(&b, "<c:HLSSignalingData playlist=%q>%s</c:HLSSignalingData>", h.Playlist, b64("#EXT-X-"+h.Playlist+":"+s.KID))
		}
		b.WriteString("</c:DRMSystem>")
	}
	b.WriteString("</c:DRMSystemList><c:ContentKeyUsageRuleList>")
	for _, r := range d.Rules.Rule {
		fmt.Fprintf(&b, `<c:ContentKeyUsageRule kid=%q intendedTrackType=%q>%s`, r.KID, r.Type, strings.Repeat("<c:VideoFilter/>", len(r.Video)))
		for _, a := range r.Audio {
			if a.Max != "" {
				fmt.Fprintf(&b, "<c:AudioFilter maxChannels=%q/>", a.Max)
			} else {
				b.WriteString("<c:AudioFilter/>")
			}
		}
		b.WriteString("</c:ContentKeyUsageRule>")
	}
	return b.String() + "</c:ContentKeyUsageRuleList></c:CPIX>"
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// encryptTo does what CPIX says to the first certificate of the request.
func (p *provider) encryptTo(d document) (list string, value func(kid string) string) {
	cert64 := d.Delivery.Data[0].Key.X509.Cert
	der, _ := base64.StdEncoding.DecodeString(cert64)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", func(string) string { return err.Error() }
	}
	var documentKey [32]byte
	var macKey [64]byte
	_, _ = rand.Read(documentKey[:])
	_, _ = rand.Read(macKey[:])
	wrap := func(secret []byte) string {
		c, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, cert.PublicKey.(*rsa.PublicKey), secret, nil)
		if err != nil {
			return err.Error()
		}
		return `<x:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"/><x:CipherData><x:CipherValue>` + base64.StdEncoding.EncodeToString(c) + `</x:CipherValue></x:CipherData>`
	}
	list = `<c:DeliveryDataList><c:DeliveryData><c:DeliveryKey><ds:X509Data><ds:X509Certificate>` + cert64 + `</ds:X509Certificate></ds:X509Data></c:DeliveryKey>` +
		`<c:DocumentKey Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"><c:Data><p:Secret><p:EncryptedValue>` + wrap(documentKey[:]) + `</p:EncryptedValue></p:Secret></c:Data></c:DocumentKey>` +
		`<c:MACMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"><c:Key>` + wrap(macKey[:]) + `</c:Key></c:MACMethod></c:DeliveryData></c:DeliveryDataList>`
	return list, func(kid string) string {
		raw, _ := base64.StdEncoding.DecodeString(p.key(kid))
		block, err := aes.NewCipher(documentKey[:])
		if err != nil {
			return err.Error()
		}
		sealed := make([]byte, 48)
		_, _ = rand.Read(sealed[:16])
		cipher.NewCBCEncrypter(block, sealed[:16]).CryptBlocks(sealed[16:], append(raw, bytes.Repeat([]byte{16}, 16)...))
		mac := hmac.New(sha512.New, macKey[:])
		mac.Write(sealed)
		return `<p:EncryptedValue><x:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/><x:CipherData><x:CipherValue>` + base64.StdEncoding.EncodeToString(sealed) +
			`</x:CipherValue></x:CipherData></p:EncryptedValue><p:ValueMAC>` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + `</p:ValueMAC>`
	}
}

func (p *provider) reply(w http.ResponseWriter, doc string) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("X-Speke-Version", "2.0")
	w.Header().Set("X-Speke-User-Agent", "a provider")
	_, _ = io.WriteString(w, doc)
}

// fault puts what is wrong with a request, or with a test, on record.
func (p *provider) fault(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, what)
}
