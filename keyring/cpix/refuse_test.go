package cpix_test

import (
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

func TestParseRefuses(t *testing.T) {
	good := clearDoc("")
	edit := func(from, to string) string {
		t.Helper()
		if !strings.Contains(good, from) {
			t.Fatalf("no %q to change", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	second := func(attrs, inside string) string {
		return edit("</c:ContentKeyList>", "<c:ContentKey "+attrs+">"+inside+"</c:ContentKey></c:ContentKeyList>")
	}
	system := func(attrs, inside string) string {
		return clearDoc("<c:DRMSystemList><c:DRMSystem " + attrs + ">" + inside + "</c:DRMSystem></c:DRMSystemList>")
	}
	ids := `systemId="` + wv + `" kid="` + kidA + `"`
	plain := "<c:Data><p:Secret><p:PlainValue>" + keyB + "</p:PlainValue></p:Secret></c:Data>"
	for _, c := range []struct {
		name, doc string
		class     error
		line      int
		path      string
	}{
		{"nothing", "", cpix.ErrMalformed, 1, ""},
		{"no XML", "KID:KEY", cpix.ErrMalformed, 1, ""},
		{"another root", "<CPIX/>", cpix.ErrMalformed, 1, ""},
		{"cut", good[:len(good)-4], cpix.ErrMalformed, 5, ""},
		{"two roots", good + good, cpix.ErrMalformed, 5, ""},
		{"text behind", good + keyB, cpix.ErrMalformed, 5, ""},
		{"document type", "<!DOCTYPE c [<!ENTITY k \"" + keyB + "\">]>\n" + good, cpix.ErrUnsupported, 1, ""},
		{"entity", edit(keyA, "&k;"), cpix.ErrMalformed, 3, ""},
		{"UTF-16", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>" + good, cpix.ErrUnsupported, 1, ""},
		{"no UTF-8", edit("version=", "contentId=\"\xff\" version="), cpix.ErrMalformed, 1, ""},
		{"attribute twice", edit(`version="2.3"`, `version="2.3" version="2.3"`), cpix.ErrMalformed, 1, ""},
		{"version", edit(`"2.3"`, `"3.0"`), cpix.ErrUnsupported, 1, "CPIX"},
		{"deep", edit(keyA, strings.Repeat("<a>", 33)+strings.Repeat("</a>", 33)), cpix.ErrLimit, 3, ""},
		{"many attributes", edit("<c:Data>", "<c:Data "+manyAttributes(65)+">"), cpix.ErrLimit, 3, ""},
		{"large", good + strings.Repeat(" ", cpix.MaxBytes), cpix.ErrLimit, 1, ""},
		{"many elements", edit(keyA, strings.Repeat("<a/>", 400_000)), cpix.ErrLimit, 3, ""},
		{"two lists", edit("</c:ContentKeyList>", "</c:ContentKeyList><c:ContentKeyList/>"), cpix.ErrMalformed, 4, "CPIX/ContentKeyList[2]"},
		{"no kid", edit(" kid=", " Kid="), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey"},
		{"kid short", edit(kidA, kidA[1:]), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey"},
		{"kid zero", edit(kidA, strings.Repeat("0", 32)), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey"},
		{"key short", edit(keyA, "oLHC0+T1BhcoOUpbbH2O"), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret/PlainValue"},
		{"key of 32 bytes", edit(keyA, "oLHC0+T1BhcoOUpbbH2On7CxwtPk9QYXKDlKW2x9jp8="), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret/PlainValue"},
		{"key empty", edit(keyA, ""), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret/PlainValue"},
		{"key no base64", edit(keyA, keyA[1:]), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret/PlainValue"},
		{"key with spare bits", edit("nw==", "nx=="), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret/PlainValue"},
		{"two values", edit("</p:PlainValue>", "</p:PlainValue><p:PlainValue/>"), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret/PlainValue[2]"},
		{"two kinds of value", edit("</p:PlainValue>", "</p:PlainValue><p:EncryptedValue/>"), cpix.ErrMalformed, 3, "CPIX/ContentKeyList/ContentKey/Data/Secret"},
		{"two keys for a kid", second(`kid="`+kidA+`" commonEncryptionScheme="cbcs"`, plain), cpix.ErrMalformed, 4, "CPIX/ContentKeyList/ContentKey[2]"},
		{"a kid with value and without", second(`kid="`+kidA+`" commonEncryptionScheme="cbcs"`, ""), cpix.ErrMalformed, 4, "CPIX/ContentKeyList/ContentKey[2]"},
		{"a key twice", second(`kid="`+kidA+`"`, strings.Replace(plain, keyB, keyA, 1)), cpix.ErrMalformed, 4, "CPIX/ContentKeyList/ContentKey[2]"},
		{"IV", second(`kid="`+kidB+`" explicitIV="AAAA"`, plain), cpix.ErrMalformed, 4, "CPIX/ContentKeyList/ContentKey[2]"},
		{"scheme", second(`kid="`+kidB+`" commonEncryptionScheme="CBCS"`, plain), cpix.ErrMalformed, 4, "CPIX/ContentKeyList/ContentKey[2]"},
		{"system without id", system(`kid="`+kidA+`"`, ""), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem"},
		{"system of no key", system(`systemId="`+wv+`" kid="`+kidB+`"`, ""), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem"},
		{"system twice", system(ids, "</c:DRMSystem><c:DRMSystem "+ids+">"), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem[2]"},
		{"PSSH", system(ids, "<c:PSSH>!</c:PSSH>"), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/PSSH"},
		{"two PSSH", system(ids, "<c:PSSH/><c:PSSH/>"), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/PSSH[2]"},
		{"MPD part cut", system(ids, "<c:ContentProtectionData>PGE+</c:ContentProtectionData>"), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/ContentProtectionData"},
		{"MPD part with document type", system(ids, "<c:ContentProtectionData>PCFET0NUWVBFIGE+PGEvPg==</c:ContentProtectionData>"), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/ContentProtectionData"},
		{"HLS no UTF-8", system(ids, "<c:HLSSignalingData>/w==</c:HLSSignalingData>"), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/HLSSignalingData"},
		{"HLS playlist", system(ids, `<c:HLSSignalingData playlist="all"/>`), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/HLSSignalingData"},
		{"HLS twice", system(ids, `<c:HLSSignalingData playlist="media"/><c:HLSSignalingData playlist="media"/>`), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/HLSSignalingData[2]"},
		{"HLS not alone", system(ids, `<c:HLSSignalingData/><c:HLSSignalingData playlist="master"/>`), cpix.ErrMalformed, 5, "CPIX/DRMSystemList/DRMSystem/HLSSignalingData[1]"},
		{"rule of no key", rules(`kid="`+kidB+`"`, ""), cpix.ErrMalformed, 5, "CPIX/ContentKeyUsageRuleList/ContentKeyUsageRule"},
		{"pixels", rules(`kid="`+kidA+`"`, `<c:VideoFilter minPixels="-1"/>`), cpix.ErrMalformed, 5, "CPIX/ContentKeyUsageRuleList/ContentKeyUsageRule/VideoFilter"},
		{"hdr", rules(`kid="`+kidA+`"`, `<c:VideoFilter hdr="yes"/>`), cpix.ErrMalformed, 5, "CPIX/ContentKeyUsageRuleList/ContentKeyUsageRule/VideoFilter"},
		{"no label", rules(`kid="`+kidA+`"`, `<c:LabelFilter/>`), cpix.ErrMalformed, 5, "CPIX/ContentKeyUsageRuleList/ContentKeyUsageRule/LabelFilter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := cpix.Parse("keys.xml", []byte(c.doc), cpix.ParseOptions{})
			wantRefusal(t, d, err, c.class)
			var e *cpix.Error
			if !errors.As(err, &e) || e.Object != "keys.xml" || e.Line != c.line || e.Path != c.path {
				t.Errorf("%v; want line %d of keys.xml, %q", err, c.line, c.path)
			}
		})
	}
}

func rules(attrs, inside string) string {
	return clearDoc("<c:ContentKeyUsageRuleList><c:ContentKeyUsageRule " + attrs + ">" + inside + "</c:ContentKeyUsageRule></c:ContentKeyUsageRuleList>")
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + strings.Repeat("x", i) + "=''")
	}
	return b.String()
}

// wantRefusal: the class, no document, and no key in the error.
func wantRefusal(t testing.TB, d *cpix.Document, err, class error) {
	t.Helper()
	if !errors.Is(err, class) || d != nil {
		t.Errorf("%v, document %v; want %v", err, d != nil, class)
		return
	}
	for _, k := range []string{keyA, keyB} {
		for _, part := range []string{k[:8], k[8:16]} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("the error shows a key: %v", err)
			}
		}
	}
}

// What is encrypted is refused by its MAC before it is decrypted, and by the
// parts that lead to it.
func TestParseRefusesEncrypted(t *testing.T) {
	d := full(t)
	d.Keys, d.Systems, d.Rules = d.Keys[2:], nil, nil
	b, err := cpix.Emit(d, cpix.EmitOptions{Recipients: []*x509.Certificate{alice().cert}})
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	edit := func(from, to string) string {
		t.Helper()
		if !strings.Contains(good, from) {
			t.Fatalf("no %q to change", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	// The last CipherValue is the key's, the first the document key's.
	sealed, wrapped := value(t, good)[len("<enc:CipherValue>"):], text(t, good, "<enc:CipherValue>")
	tag := text(t, good, "<pskc:ValueMAC>")
	for _, c := range []struct {
		name, doc string
		class     error
	}{
		{"IV changed", edit(sealed, flip(sealed, 3)), cpix.ErrMAC},
		{"ciphertext changed", edit(sealed, flip(sealed, 40)), cpix.ErrMAC},
		{"MAC changed", edit(tag, flip(tag, 50)), cpix.ErrMAC},
		{"MAC cut", edit(tag, tag[:40]), cpix.ErrMAC},
		{"MAC empty", edit(tag, ""), cpix.ErrMAC},
		{"no MAC", edit("<pskc:ValueMAC>"+tag+"</pskc:ValueMAC>", ""), cpix.ErrMAC},
		{"ciphertext cut", edit(sealed, sealed[:44]), cpix.ErrMalformed},
		{"document key changed", edit(wrapped, flip(wrapped, 100)), cpix.ErrDecrypt},
		{"document key cut", edit(wrapped, wrapped[:100]), cpix.ErrDecrypt},
		{"no document key", strings.ReplaceAll(good, "cpix:DocumentKey", "cpix:OtherKey"), cpix.ErrMalformed},
		{"no MAC method", strings.ReplaceAll(good, "cpix:MACMethod", "cpix:Method"), cpix.ErrMalformed},
		{"MAC algorithm", edit("hmac-sha512", "hmac-sha256"), cpix.ErrUnsupported},
		{"key algorithm", strings.ReplaceAll(good, `enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"`, `enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"`), cpix.ErrUnsupported},
		{"wrap algorithm", edit("rsa-oaep-mgf1p", "rsa-1_5"), cpix.ErrUnsupported},
		{"another certificate", edit(text(t, good, "<ds:X509Certificate>"), "AAAA"), cpix.ErrNoRecipient},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := cpix.Parse("x", []byte(c.doc), cpix.ParseOptions{Decrypters: []crypto.Decrypter{alice().key}})
			wantRefusal(t, d, err, c.class)
		})
	}
	t.Run("another private key", func(t *testing.T) {
		d, err := cpix.Parse("x", b, cpix.ParseOptions{Decrypters: []crypto.Decrypter{bob().key}})
		wantRefusal(t, d, err, cpix.ErrNoRecipient)
	})
}

// text is what follows a start tag.
func text(t testing.TB, doc, tag string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, tag)
	if !ok {
		t.Fatalf("no %s", tag)
	}
	s, _, _ := strings.Cut(rest, "<")
	return s
}

// flip changes one character of base64.
func flip(s string, at int) string {
	c := "A"
	if s[at] == 'A' {
		c = "B"
	}
	return s[:at] + c + s[at+1:]
}

// TestFIPS runs this test again in a process that enforces FIPS 140-3.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "--- PASS: TestFIPS/") != 4 {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	d := full(t)
	certs := []*x509.Certificate{alice().cert}
	mine := cpix.ParseOptions{Decrypters: []crypto.Decrypter{alice().key}}
	t.Run("SHA-1 is not written", func(t *testing.T) {
		b, err := cpix.Emit(d, cpix.EmitOptions{Recipients: certs})
		if !errors.Is(err, cpix.ErrNotFIPS) || !strings.Contains(err.Error(), "SHA-1") || b != nil {
			t.Errorf("%v, want ErrNotFIPS", err)
		}
	})
	t.Run("SHA-1 is not read", func(t *testing.T) {
		var b []byte
		var err error
		fips140.WithoutEnforcement(func() { b, err = cpix.Emit(d, cpix.EmitOptions{Recipients: certs}) })
		if err != nil {
			t.Fatal(err)
		}
		got, err := cpix.Parse("x", b, mine)
		wantRefusal(t, got, err, cpix.ErrNotFIPS)
	})
	t.Run("SHA-256", func(t *testing.T) {
		b, err := cpix.Emit(d, cpix.EmitOptions{Recipients: certs, SHA256: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := cpix.Parse("x", b, mine)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, got, d)
	})
	t.Run("clear", func(t *testing.T) {
		b, err := cpix.Emit(d, cpix.EmitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cpix.Parse("x", b, cpix.ParseOptions{}); err != nil {
			t.Error(err)
		}
	})
}
