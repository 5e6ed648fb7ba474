package speke_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
	"github.com/seed-6133abe0/rekey/keyring/speke"
)

func TestPush(t *testing.T) {
	push := func() *cpix.Document {
		return &cpix.Document{
			ContentID: "film",
			Keys:      []cpix.ContentKey{{KID: uuid(t, kidV), Key: contentKeyOf(t, kidV), CommonEncryptionScheme: "cenc"}},
			Systems:   []cpix.DRMSystem{{SystemID: uuid(t, widevine), KID: uuid(t, kidV), Asked: cpix.PSSH}},
			Rules:     []cpix.Rule{{KID: uuid(t, kidV), IntendedTrackType: "ALL", Video: []cpix.VideoFilter{{}}, Audio: []cpix.AudioFilter{{}}}},
		}
	}
	t.Run("clear", func(t *testing.T) {
		p := newProvider(t)
		d, err := p.client().Push(t.Context(), push())
		if err != nil {
			t.Fatal(err)
		}
		if k := p.last.Keys.Key[0]; k.KID != kidV || k.Data == nil || k.Data.Secret.Plain != keyOf(kidV) {
			t.Error("another key was pushed")
		}
		if len(d.Systems) != 1 || !bytes.Equal(d.Systems[0].PSSH, psshBox(widevine, kidV)) {
			t.Errorf("answer %+v", d)
		}
	})
	t.Run("encrypted", func(t *testing.T) {
		p := newProvider(t)
		var sent []byte
		p.answer = func(w http.ResponseWriter, r *http.Request, _ document) { w.WriteHeader(http.StatusNoContent) }
		c := p.client()
		c.HTTP = &http.Client{Transport: tap{p.Client().Transport, &sent}}
		c.Provider = []*x509.Certificate{identity().cert}
		d, err := c.Push(t.Context(), push())
		if err != nil || d != nil {
			t.Fatalf("%v, %v", d, err)
		}
		got, err := cpix.Parse("sent", sent, cpix.ParseOptions{Decrypters: []crypto.Decrypter{identity().key}})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Keys[0].Encrypted || !got.Keys[0].Key.Equal(contentKeyOf(t, kidV)) || bytes.Contains(sent, []byte(keyOf(kidV))) {
			t.Error("not encrypted, or another key")
		}
	})
	for name, respond := range map[string]func(p *provider, d document) string{
		"another key": func(p *provider, d document) string {
			return strings.Replace(p.respond(d), keyOf(kidV), keyOf(kidA), 1)
		},
		"another KID": func(p *provider, d document) string { return strings.ReplaceAll(p.respond(d), kidV, kidA) },
		"PSSH no box": func(p *provider, d document) string {
			return strings.Replace(p.respond(d), "<c:PSSH>", "<c:PSSH>AAAA", 1)
		},
		"no document": func(*provider, document) string { return "ok" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.answer = func(w http.ResponseWriter, _ *http.Request, d document) { p.reply(w, respond(p, d)) }
			d, err := p.client().Push(t.Context(), push())
			wantClass(t, d, err, speke.ErrContract)
		})
	}
	t.Run("other content", func(t *testing.T) {
		p := newProvider(t)
		p.answer = func(w http.ResponseWriter, _ *http.Request, d document) {
			d.ContentID = "firm"
			p.reply(w, p.respond(d))
		}
		d, err := p.client().Push(t.Context(), push())
		wantClass(t, d, err, speke.ErrContract)
	})
	t.Run("refused", func(t *testing.T) {
		p := newProvider(t)
		p.answer = func(w http.ResponseWriter, _ *http.Request, _ document) { w.WriteHeader(403) }
		d, err := p.client().Push(t.Context(), push())
		wantClass(t, d, err, speke.ErrRefused)
	})
	t.Run("no value", func(t *testing.T) {
		p := newProvider(t)
		v := push()
		v.Keys[0].Key = key.ContentKey{}
		d, err := p.client().Push(t.Context(), v)
		wantClass(t, d, err, speke.ErrAsk)
	})
}

// tap keeps what was sent.
type tap struct {
	http.RoundTripper
	sent *[]byte
}

func (t tap) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	*t.sent = b
	r.Body = io.NopCloser(bytes.NewReader(b))
	return t.RoundTripper.RoundTrip(r)
}
