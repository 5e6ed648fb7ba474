package cpix_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

const (
	kidA = "1a2b3c4d-0001-4000-8000-00000000000a"
	kidB = "1a2b3c4d-0002-4000-8000-00000000000b"
	keyA = "oLHC0+T1BhcoOUpbbH2Onw==" // a0b1c2d3e4f5061728394a5b6c7d8e9f
	keyB = "sLHC0+T1BhcoOUpbbH2Onw=="
	wv   = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
)

// recipient is a certificate and its key, made once: RSA keys are slow to make.
type recipient struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

var alice, bob = sync.OnceValue(newRecipient(2048)), sync.OnceValue(newRecipient(3072))

func newRecipient(bits int) func() recipient {
	return func() recipient {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		t := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "packager"},
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		}
		der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
		if err != nil {
			panic(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		return recipient{k, cert}
	}
}

func mustKID(t testing.TB, s string) key.KID {
	t.Helper()
	k, err := key.ParseKID(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustKey(t testing.TB, b64 string) key.ContentKey {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	k, err := key.ContentKeyFromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// full uses everything a document may hold.
func full(t testing.TB) cpix.Document {
	a, b := mustKID(t, kidA), mustKID(t, kidB)
	iv := key.SequenceIV(7)
	return cpix.Document{
		ContentID: "film <1> & \"more\"",
		Keys: []cpix.ContentKey{
			{KID: a, Key: mustKey(t, keyA), ExplicitIV: &iv, CommonEncryptionScheme: "cbcs"},
			{KID: a, Key: mustKey(t, keyA), CommonEncryptionScheme: "cenc"},
			{KID: b, Key: mustKey(t, keyB)},
		},
		Systems: []cpix.DRMSystem{
			{
				SystemID: mustKID(t, wv), KID: a, Name: "Widevine", PSSH: []byte("\x00\x00 any bytes \xff"),
				ContentProtectionData: `<pssh xmlns="urn:mpeg:cenc:2013">AAAA</pssh><x:pro xmlns:x="urn:x"/>`,
				HLSMedia:              "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"a\"\n", HLSMaster: "#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"é\"\n",
				SmoothStreaming: "AAAA&<",
			},
			{SystemID: mustKID(t, wv), KID: b, Asked: cpix.PSSH | cpix.HLSMaster | cpix.SmoothStreaming},
		},
		Periods: []cpix.Period{{ID: "p1", Index: "1"}, {ID: "p2", Start: "2026-01-01T00:00:00Z", End: "2026-01-01T01:00:00Z"}},
		Rules: []cpix.Rule{
			{KID: a, IntendedTrackType: "SD+HD", Periods: []string{"p1", "p2"}, Labels: []string{"blue"}, Video: []cpix.VideoFilter{
				{MaxPixels: new(uint32(589824)), HDR: new(false)},
				{MinPixels: new(uint32(589825)), MinFPS: new(uint32(0)), MaxFPS: new(uint32(60)), WCG: new(true)},
			}, Bitrate: []cpix.BitrateFilter{{MaxBitrate: new(uint32(20))}}},
			{KID: b, IntendedTrackType: "AUDIO", Audio: []cpix.AudioFilter{{}, {MinChannels: new(uint32(3)), MaxChannels: new(uint32(6))}}},
		},
	}
}

func wantSame(t testing.TB, got *cpix.Document, want cpix.Document) {
	t.Helper()
	if len(got.Keys) != len(want.Keys) {
		t.Fatalf("%d keys, want %d", len(got.Keys), len(want.Keys))
	}
	g, w := *got, want
	g.Keys, w.Keys = nil, nil
	if !reflect.DeepEqual(g, w) {
		t.Errorf("read\n%+v\nwant\n%+v", g, w)
	}
	for i, k := range got.Keys {
		v := want.Keys[i]
		if k.KID != v.KID || !k.Key.Equal(v.Key) || k.CommonEncryptionScheme != v.CommonEncryptionScheme || !reflect.DeepEqual(k.ExplicitIV, v.ExplicitIV) {
			t.Errorf("key %d: %+v, want %+v (or another value)", i, k, v)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	want := full(t)
	certs := []*x509.Certificate{bob().cert, alice().cert}
	for name, o := range map[string]cpix.EmitOptions{
		"clear":                     {},
		"encrypted":                 {Recipients: certs},
		"encrypted without SHA-1":   {Recipients: certs, SHA256: true},
		"encrypted to one of them":  {Recipients: certs[1:]},
		"encrypted, the other hash": {Recipients: certs[1:], SHA256: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := cpix.Emit(want, o)
			if err != nil {
				t.Fatal(err)
			}
			encrypted := len(o.Recipients) > 0
			if shown := strings.Contains(string(b), keyA); shown == encrypted {
				t.Errorf("key in the clear: %v", shown)
			}
			got, err := cpix.Parse("x", b, cpix.ParseOptions{Decrypters: []crypto.Decrypter{alice().key}})
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, got, want)
			for _, k := range got.Keys {
				if k.Encrypted != encrypted {
					t.Errorf("Encrypted is %v", k.Encrypted)
				}
			}
			if !encrypted {
				return
			}
			if _, err := cpix.Parse("x", b, cpix.ParseOptions{}); !errors.Is(err, cpix.ErrNoRecipient) {
				t.Errorf("without a private key: %v, want ErrNoRecipient", err)
			}
			again, err := cpix.Emit(want, o)
			if err != nil {
				t.Fatal(err)
			}
			if value(t, string(b)) == value(t, string(again)) {
				t.Error("two documents with the same ciphertext")
			}
		})
	}
}

// value is the text of the last CipherValue.
func value(t testing.TB, doc string) string {
	t.Helper()
	i := strings.LastIndex(doc, "<enc:CipherValue>")
	if i < 0 {
		t.Fatal("no CipherValue")
	}
	v, _, _ := strings.Cut(doc[i:], "</")
	return v
}

// A request: keys without value, and the certificate to encrypt them to.
func TestRequest(t *testing.T) {
	want := full(t)
	for i := range want.Keys {
		want.Keys[i].Key = key.ContentKey{}
	}
	b, err := cpix.Emit(want, cpix.EmitOptions{Recipients: []*x509.Certificate{alice().cert}})
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"DocumentKey", "MACMethod", "Secret"} {
		if strings.Contains(string(b), no) {
			t.Errorf("a request with %s", no)
		}
	}
	if !strings.Contains(string(b), base64.StdEncoding.EncodeToString(alice().cert.Raw)) {
		t.Error("no certificate")
	}
	got, err := cpix.Parse("x", b, cpix.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, got, want)
	if m := got.Missing(); len(m) != 3 || m[0] != mustKID(t, kidA) || m[2] != mustKID(t, kidB) {
		t.Errorf("Missing: %v", m)
	}
}

// Namespaces are matched by name: these documents say the same.
func TestPrefixes(t *testing.T) {
	for name, doc := range map[string]string{
		"usual": `<cpix:CPIX xmlns:cpix="urn:dashif:org:cpix" xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc" contentId="c" version="2.3">
			<cpix:ContentKeyList><cpix:ContentKey kid="` + kidA + `"><cpix:Data><pskc:Secret><pskc:PlainValue>` + keyA + `</pskc:PlainValue></pskc:Secret></cpix:Data></cpix:ContentKey></cpix:ContentKeyList></cpix:CPIX>`,
		"default": "\ufeff" + `<?xml version="1.0" encoding="utf-8"?><CPIX xmlns="urn:dashif:org:cpix" contentId="c">
			<ContentKeyList><ContentKey kid="` + strings.ToUpper(kidA) + `"><Data><Secret xmlns="urn:ietf:params:xml:ns:keyprov:pskc"><PlainValue> ` + keyA[:8] + "\n\t" + keyA[8:] + ` </PlainValue></Secret></Data></ContentKey></ContentKeyList></CPIX>`,
		"swapped": `<pskc:CPIX xmlns:pskc="urn:dashif:org:cpix" xmlns:cpix="urn:ietf:params:xml:ns:keyprov:pskc" contentId="c">
			<pskc:ContentKeyList><pskc:ContentKey kid="` + kidA + `"><pskc:Data><cpix:Secret><cpix:PlainValue><!-- no -->` + keyA + `</cpix:PlainValue></cpix:Secret></pskc:Data></pskc:ContentKey></pskc:ContentKeyList></pskc:CPIX>`,
		"unknown elements": `<c:CPIX xmlns:c="urn:dashif:org:cpix" xmlns:p="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:x="urn:x" contentId="c">
			<x:ContentKeyList/><c:Later>text</c:Later><c:ContentKeyList id="l"><x:ContentKey kid="no"/><c:ContentKey kid="` + kidA + `" x:kid="no"><c:Data><x:Secret/><p:Secret><c:PlainValue>no</c:PlainValue><p:PlainValue><![CDATA[` + keyA + `]]></p:PlainValue></p:Secret></c:Data></c:ContentKey></c:ContentKeyList><c:UpdateHistoryItemList/></c:CPIX>`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cpix.Parse("x", []byte(doc), cpix.ParseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, got, cpix.Document{ContentID: "c", Keys: []cpix.ContentKey{{KID: mustKID(t, kidA), Key: mustKey(t, keyA)}}})
		})
	}
}

func TestUnknownFilterMarksRule(t *testing.T) {
	doc := clearDoc(`<c:ContentKeyUsageRuleList><c:ContentKeyUsageRule kid="` + kidA + `"><c:VideoFilter/><x:Moon xmlns:x="urn:x"/></c:ContentKeyUsageRule><c:ContentKeyUsageRule kid="` + kidA + `"/></c:ContentKeyUsageRuleList>`)
	got, err := cpix.Parse("x", []byte(doc), cpix.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rules) != 2 || !got.Rules[0].Unusable || got.Rules[1].Unusable {
		t.Errorf("rules %+v", got.Rules)
	}
	if _, err := cpix.Emit(*got, cpix.EmitOptions{}); !errors.Is(err, cpix.ErrMalformed) {
		t.Errorf("Emit: %v, want ErrMalformed", err)
	}
}

func TestEmitRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*cpix.Document)
		o      cpix.EmitOptions
	}{
		"no KID":          {change: func(d *cpix.Document) { d.Keys[2].KID = key.KID{} }},
		"KID twice":       {change: func(d *cpix.Document) { d.Keys[1].Key = mustKey(t, keyB) }},
		"same scheme":     {change: func(d *cpix.Document) { d.Keys[1].CommonEncryptionScheme = "cbcs" }},
		"scheme":          {change: func(d *cpix.Document) { d.Keys[0].CommonEncryptionScheme = "rot13" }},
		"system of none":  {change: func(d *cpix.Document) { d.Systems[0].KID = key.NewKID() }},
		"system twice":    {change: func(d *cpix.Document) { d.Systems[1] = d.Systems[0] }},
		"rule of none":    {change: func(d *cpix.Document) { d.Rules[0].KID = key.NewKID() }},
		"no fragment":     {change: func(d *cpix.Document) { d.Systems[0].ContentProtectionData = "<a>" }},
		"document type":   {change: func(d *cpix.Document) { d.Systems[0].ContentProtectionData = "<!DOCTYPE a><a/>" }},
		"no UTF-8":        {change: func(d *cpix.Document) { d.Systems[0].HLSMedia = "\xff" }},
		"control":         {change: func(d *cpix.Document) { d.ContentID = "a\x00b" }},
		"small recipient": {o: cpix.EmitOptions{Recipients: []*x509.Certificate{{PublicKey: small.Public()}}}},
		"other recipient": {o: cpix.EmitOptions{Recipients: []*x509.Certificate{{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := full(t)
			if c.change != nil {
				c.change(&d)
			}
			b, err := cpix.Emit(d, c.o)
			var e *cpix.Error
			if !errors.Is(err, cpix.ErrMalformed) || !errors.As(err, &e) || b != nil {
				t.Errorf("%v, %d bytes; want ErrMalformed", err, len(b))
			}
		})
	}
}

// clearDoc is a document of one key in the clear and what follows the keys.
func clearDoc(rest string) string {
	return fmt.Sprintf(`<c:CPIX xmlns:c="urn:dashif:org:cpix" xmlns:p="urn:ietf:params:xml:ns:keyprov:pskc" version="2.3">
<c:ContentKeyList>
<c:ContentKey kid=%q><c:Data><p:Secret><p:PlainValue>%s</p:PlainValue></p:Secret></c:Data></c:ContentKey>
</c:ContentKeyList>
%s</c:CPIX>`, kidA, keyA, rest)
}
