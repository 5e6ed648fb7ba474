package speke_test

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring/cpix"
	"github.com/seed-6133abe0/rekey/keyring/speke"
)

// Every wrong answer is refused, and never passed on.
func TestWrongAnswers(t *testing.T) {
	edit := func(from, to string) func(*provider, document) string {
		return func(p *provider, d document) string {
			s := p.respond(d)
			if !strings.Contains(s, from) {
				p.fault("nothing to change: " + from)
			}
			return strings.Replace(s, from, to, 1)
		}
	}
	cut := func(from, to string) func(*provider, document) string {
		return func(p *provider, d document) string {
			head, rest, ok := strings.Cut(p.respond(d), from)
			_, tail, ok2 := strings.Cut(rest, to)
			if !ok || !ok2 {
				p.fault("nothing to cut: " + from)
			}
			return head + tail
		}
	}
	keyOther := "5aa10003-0000-4000-8000-000000000003"
	for _, c := range []struct {
		name    string
		answer  func(*provider, document) string
		reason  string
		encrypt bool
	}{
		{"system and rule of a missing key", func(p *provider, d document) string {
			d.Keys.Key = d.Keys.Key[:1]
			return p.respond(d)
		}, "no ContentKey has its kid", false},
		{"missing key", func(p *provider, d document) string {
			d.Keys.Key, d.Systems.System, d.Rules.Rule = d.Keys.Key[:1], d.Systems.System[:2], d.Rules.Rule[:1]
			return p.respond(d)
		}, "no key for KID", false},
		{"key without value", cut("<c:Data>", "</c:Data>"), "no value", false},
		{"key of ones", edit(keyOf(kidV), "/////////////////////w=="), "weak key", false},
		{"key of zeros", edit(keyOf(kidV), "AAAAAAAAAAAAAAAAAAAAAA=="), "weak key", false},
		{"KID for a key", func(p *provider, d document) string {
			p.key = func(kid string) string {
				raw, err := hex.DecodeString(strings.ReplaceAll(kid, "-", ""))
				if err != nil {
					p.fault(err.Error())
				}
				return base64.StdEncoding.EncodeToString(raw)
			}
			return p.respond(d)
		}, "weak key", true},
		{"extra KID", edit("</c:ContentKeyList>", `<c:ContentKey kid="`+keyOther+`" commonEncryptionScheme="cbcs"><c:Data><p:Secret><p:PlainValue>`+keyOf(keyOther)+`</p:PlainValue></p:Secret></c:Data></c:ContentKey></c:ContentKeyList>`), "not asked for", false},
		{"KID of the provider's own", func(p *provider, d document) string {
			return strings.ReplaceAll(p.respond(d), kidA, keyOther)
		}, "not asked for", false},
		{"wrong IV", edit("AAAAAAAAAAAAAAAAAAAACQ==", "AAAAAAAAAAAAAAAAAAAACg=="), "another IV", false},
		{"no IV", edit(`explicitIV="AAAAAAAAAAAAAAAAAAAACQ=="`, ""), "another IV", false},
		{"other scheme", edit("cbcs", "cenc"), "another scheme", false},
		{"no scheme", edit(`commonEncryptionScheme="cbcs"`, ""), "another scheme", false},
		{"one key for both", edit(keyOf(kidA), keyOf(kidV)), "with one key", false},
		{"other content", edit(`contentId="film"`, `contentId="firm"`), "content id", false},
		{"missing system", func(p *provider, d document) string {
			d.Systems.System = d.Systems.System[:3]
			return p.respond(d)
		}, "nothing for", false},
		{"extra system", edit("</c:DRMSystemList>", `<c:DRMSystem kid="`+kidV+`" systemId="`+keyOther+`"/></c:DRMSystemList>`), "not asked for", false},
		{"no PSSH", cut("<c:PSSH>", "</c:PSSH>"), "PSSH", false},
		{"PSSH no box", edit("<c:PSSH>", "<c:PSSH>AAAA"), "not one pssh box", false},
		{"PSSH of another system", edit(base64.StdEncoding.EncodeToString(psshBox(widevine, kidV)), base64.StdEncoding.EncodeToString(psshBox(playready, kidV))), "another system", false},
		{"no HLS", cut(`<c:HLSSignalingData playlist="master">`, "</c:HLSSignalingData>"), "HLSSignalingData master", false},
		{"rule gone", cut("<c:ContentKeyUsageRule ", "</c:ContentKeyUsageRule>"), "1 usage rules", false},
		{"rule changed", edit("<c:VideoFilter/>", `<c:VideoFilter maxPixels="1"/>`), "was changed", false},
		{"track type changed", edit(`intendedTrackType="VIDEO"`, `intendedTrackType="UHD"`), "was changed", false},
		{"no document", func(*provider, document) string { return "no keys today " + keyOf(kidV) }, "malformed", false},
		{"nothing", func(*provider, document) string { return "" }, "malformed", false},
		{"cut", func(p *provider, d document) string { return p.respond(d)[:900] }, "malformed", false},
		{"huge", func(p *provider, d document) string { return p.respond(d) + strings.Repeat(" ", 5<<20) }, "more than", false},
		{"bad MAC", edit("<p:ValueMAC>", "<p:ValueMAC>AAAA"), "MAC", true},
		{"MAC of another key", func(p *provider, d document) string {
			s := p.respond(d)
			first, rest, _ := strings.Cut(s, "<p:ValueMAC>")
			_, rest, _ = strings.Cut(rest, "</p:ValueMAC>")
			_, other, _ := strings.Cut(rest, "<p:ValueMAC>")
			other, _, _ = strings.Cut(other, "</p:ValueMAC>")
			return first + "<p:ValueMAC>" + other + "</p:ValueMAC>" + rest
		}, "MAC", true},
		{"clear though encryption was asked for", func(p *provider, d document) string { d.Delivery = nil; return p.respond(d) }, "in the clear", true},
		{"encrypted to another", edit("<ds:X509Certificate>", "<ds:X509Certificate>AAAA"), "not encrypted to any", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t)
			p.answer = func(w http.ResponseWriter, _ *http.Request, d document) { p.reply(w, c.answer(p, d)) }
			cl := p.client()
			if c.encrypt {
				cl.Certificates, cl.Decrypters = []*x509.Certificate{identity().cert}, []crypto.Decrypter{identity().key}
			}
			d, err := cl.Request(t.Context(), ask(t))
			wantClass(t, d, err, speke.ErrContract)
			if !strings.Contains(fmt.Sprint(err), c.reason) {
				t.Errorf("%v, want …%s…", err, c.reason)
			}
			if p.calls.Load() != 1 {
				t.Errorf("%d calls for an answer that time does not mend", p.calls.Load())
			}
		})
	}
}

// wantClass: exactly this class, no document, no key and no token in the error.
func wantClass(t *testing.T, d *cpix.Document, err, class error) {
	t.Helper()
	if d != nil {
		t.Error("a document beside the error")
	}
	n := 0
	for _, c := range []error{speke.ErrAsk, speke.ErrRefused, speke.ErrUnavailable, speke.ErrContract} {
		if errors.Is(err, c) {
			n++
		}
	}
	if !errors.Is(err, class) || n != 1 {
		t.Errorf("%v, %d classes; want %v", err, n, class)
	}
	for _, secret := range []string{keyOf(kidV), keyOf(kidA), token} {
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}
