package speke_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
	"github.com/seed-6133abe0/rekey/keyring/speke"
)

const (
	kidV      = "5aa10001-0000-4000-8000-000000000001"
	kidA      = "5aa10002-0000-4000-8000-000000000002"
	widevine  = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
	playready = "9a04f079-9840-4286-ab92-e65be0885f95"
)

func uuid(t testing.TB, s string) key.KID {
	t.Helper()
	k, err := key.ParseKID(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func contentKeyOf(t testing.TB, kid string) key.ContentKey {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(keyOf(kid))
	if err != nil {
		t.Fatal(err)
	}
	k, err := key.ContentKeyFromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ask(t testing.TB) speke.Ask {
	iv := key.SequenceIV(9)
	return speke.Ask{
		ContentID: "film",
		Keys: []speke.Key{
			{KID: uuid(t, kidV), Scheme: "cbcs", TrackType: "VIDEO", IV: &iv},
			{KID: uuid(t, kidA), Scheme: "cbcs", TrackType: "STEREO_AUDIO", Audio: []cpix.AudioFilter{{MaxChannels: new(uint32(2))}}},
		},
		Systems: []speke.System{
			{ID: uuid(t, widevine), Wants: cpix.PSSH | cpix.ContentProtectionData | cpix.HLSMedia | cpix.HLSMaster},
			{ID: uuid(t, playready), Wants: cpix.PSSH},
		},
	}
}

var identity = sync.OnceValue(func() (id struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}) {
	var err error
	if id.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rekey"}, NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, id.key.Public(), id.key)
	if err != nil {
		panic(err)
	}
	if id.cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	return id
})

func TestRequest(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypted %v", encrypted), func(t *testing.T) {
			p := newProvider(t)
			c := p.client()
			if encrypted {
				c.Certificates, c.Decrypters = []*x509.Certificate{identity().cert}, []crypto.Decrypter{identity().key}
			}
			d, err := c.Request(t.Context(), ask(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Keys) != 2 || !d.Keys[0].Key.Equal(contentKeyOf(t, kidV)) || !d.Keys[1].Key.Equal(contentKeyOf(t, kidA)) {
				t.Error("other keys")
			}
			if d.Keys[0].Encrypted != encrypted || *d.Keys[0].ExplicitIV != key.SequenceIV(9) {
				t.Errorf("%+v", d.Keys[0])
			}
			if len(d.Systems) != 4 || !bytes.Equal(d.Systems[0].PSSH, psshBox(widevine, kidV)) ||
				!strings.Contains(d.Systems[0].ContentProtectionData, "urn:mpeg:cenc:2013") || d.Systems[0].HLSMaster != "#EXT-X-master:"+kidV {
				t.Errorf("systems %+v", d.Systems)
			}
			if p.calls.Load() != 1 {
				t.Errorf("%d calls", p.calls.Load())
			}
			wantAsked(t, p.last, encrypted)
		})
	}
}

// wantAsked: the provider was asked for this, and told no keys.
func wantAsked(t *testing.T, d document, encrypted bool) {
	t.Helper()
	if d.ContentID != "film" || len(d.Keys.Key) != 2 || len(d.Systems.System) != 4 || len(d.Rules.Rule) != 2 {
		t.Fatalf("asked %+v", d)
	}
	if k := d.Keys.Key[0]; k.KID != kidV || k.Scheme != "cbcs" || k.IV != "AAAAAAAAAAAAAAAAAAAACQ==" || k.Data != nil || d.Keys.Key[1].IV != "" {
		t.Errorf("key %+v", k)
	}
	if s := d.Systems.System[0]; s.ID != widevine || s.KID != kidV || s.PSSH == nil || *s.PSSH != "" || s.MPD == nil || *s.MPD != "" || len(s.HLS) != 2 {
		t.Errorf("system %+v", s)
	}
	if s := d.Systems.System[1]; s.ID != playready || s.KID != kidV || s.PSSH == nil || s.MPD != nil || s.HLS != nil {
		t.Errorf("system %+v", s)
	}
	if r := d.Rules.Rule; r[0].Type != "VIDEO" || len(r[0].Video) != 1 || len(r[0].Audio) != 0 || r[1].Type != "STEREO_AUDIO" || len(r[1].Audio) != 1 || r[1].Audio[0].Max != "2" {
		t.Errorf("rules %+v", r)
	}
	if !encrypted {
		if d.Delivery != nil {
			t.Error("certificates that were not given")
		}
		return
	}
	if d.Delivery == nil || len(d.Delivery.Data) != 1 || d.Delivery.Data[0].Document != nil ||
		d.Delivery.Data[0].Key.X509.Cert != base64.StdEncoding.EncodeToString(identity().cert.Raw) {
		t.Errorf("delivery %+v", d.Delivery)
	}
}

func TestTrackTypes(t *testing.T) {
	p := newProvider(t)
	for _, c := range []struct {
		typ          string
		video, audio int
	}{{"ALL", 1, 1}, {"SD+HD1", 2, 0}, {"HDR+HFR+UHD", 3, 0}, {"STEREO_AUDIO+MULTICHANNEL_AUDIO", 0, 2}} {
		a := ask(t)
		a.Keys = []speke.Key{{KID: uuid(t, kidV), Scheme: "cenc", TrackType: c.typ}}
		if _, err := p.client().Request(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if r := p.last.Rules.Rule[0]; r.Type != c.typ || len(r.Video) != c.video || len(r.Audio) != c.audio {
			t.Errorf("%s: %+v", c.typ, r)
		}
	}
}

const token = "t0ken-that-nobody-may-see"

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		status int
		class  error
		calls  int
	}{
		{400, speke.ErrRefused, 1}, {401, speke.ErrRefused, 1}, {403, speke.ErrRefused, 1}, {404, speke.ErrRefused, 1}, {422, speke.ErrRefused, 1},
		{408, speke.ErrUnavailable, 3}, {429, speke.ErrUnavailable, 3}, {500, speke.ErrUnavailable, 3}, {503, speke.ErrUnavailable, 3},
		{304, speke.ErrContract, 1},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			p := newProvider(t)
			p.answer = func(w http.ResponseWriter, r *http.Request, _ document) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, r.Header.Get("Authorization")+keyOf(kidV))
			}
			cl := p.client()
			cl.Auth, cl.Clock = speke.Bearer(token), time.Now
			d, err := cl.Request(t.Context(), ask(t))
			wantClass(t, d, err, c.class)
			if int(p.calls.Load()) != c.calls {
				t.Errorf("%d calls, want %d", p.calls.Load(), c.calls)
			}
		})
	}
}

func TestRetry(t *testing.T) {
	p := newProvider(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request, d document) {
		switch p.calls.Load() {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // drops the connection
		default:
			p.reply(w, p.respond(d))
		}
	}
	if _, err := p.client().Request(t.Context(), ask(t)); err != nil || p.calls.Load() != 3 {
		t.Errorf("%v after %d calls", err, p.calls.Load())
	}
}

func TestRedirect(t *testing.T) {
	var led atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led.Add(1) }))
	defer trap.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newProvider(t)
		p.answer = func(w http.ResponseWriter, r *http.Request, _ document) { http.Redirect(w, r, trap.URL, status) }
		d, err := p.client().Request(t.Context(), ask(t))
		wantClass(t, d, err, speke.ErrContract)
		if p.calls.Load() != 1 || led.Load() != 0 {
			t.Errorf("%d: %d calls, %d led elsewhere", status, p.calls.Load(), led.Load())
		}
	}
}

func TestSlow(t *testing.T) {
	for name, before := range map[string]func(http.ResponseWriter){
		"no answer": func(http.ResponseWriter) {},
		"half an answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/xml")
			w.Header().Set("X-Speke-Version", "2.0")
			_, _ = io.WriteString(w, "<c:CPIX ")
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.answer = func(w http.ResponseWriter, r *http.Request, _ document) {
				before(w)
				<-r.Context().Done()
			}
			c := p.client()
			c.Timeout, c.Attempts = 100*time.Millisecond, 2
			d, err := c.Request(t.Context(), ask(t))
			wantClass(t, d, err, speke.ErrUnavailable)
			if p.calls.Load() != 2 {
				t.Errorf("%d calls, want 2", p.calls.Load())
			}
		})
	}
}

func TestCancel(t *testing.T) {
	p := newProvider(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.answer = func(_ http.ResponseWriter, r *http.Request, _ document) {
		cancel()
		<-r.Context().Done()
	}
	c := p.client()
	c.Attempts = 1
	_, err := c.Request(ctx, ask(t))
	if !errors.Is(err, context.Canceled) || errors.Is(err, speke.ErrUnavailable) || p.calls.Load() != 1 {
		t.Errorf("%v after %d calls, want context.Canceled", err, p.calls.Load())
	}
	// Between two attempts, too.
	q := newProvider(t)
	ctx, cancel = context.WithCancel(t.Context())
	q.answer = func(w http.ResponseWriter, _ *http.Request, _ document) { w.WriteHeader(503); cancel() }
	c = q.client()
	c.Backoff = time.Hour
	if _, err := c.Request(ctx, ask(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestHeaders(t *testing.T) {
	for name, change := range map[string]func(http.Header){
		"no version":      func(h http.Header) { h.Del("X-Speke-Version") },
		"version 1":       func(h http.Header) { h.Set("X-Speke-Version", "1.0") },
		"HTML":            func(h http.Header) { h.Set("Content-Type", "text/html") },
		"no Content-Type": func(h http.Header) { h["Content-Type"] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.answer = func(w http.ResponseWriter, _ *http.Request, d document) {
				rec := httptest.NewRecorder()
				p.reply(rec, p.respond(d))
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				change(w.Header())
				_, _ = w.Write(rec.Body.Bytes())
			}
			d, err := p.client().Request(t.Context(), ask(t))
			wantClass(t, d, err, speke.ErrContract)
		})
	}
}

func TestAskRefused(t *testing.T) {
	for name, change := range map[string]func(*speke.Client, *speke.Ask){
		"plain http":         func(c *speke.Client, _ *speke.Ask) { c.Endpoint = "http://keys.example/speke" },
		"no URL":             func(c *speke.Client, _ *speke.Ask) { c.Endpoint = "keys.example" },
		"password in it":     func(c *speke.Client, _ *speke.Ask) { c.Endpoint = "https://u:" + token + "@127.0.0.1:1/" },
		"no clock":           func(c *speke.Client, _ *speke.Ask) { c.Auth = speke.Bearer(token) },
		"no keys":            func(_ *speke.Client, a *speke.Ask) { a.Keys = nil },
		"no systems":         func(_ *speke.Client, a *speke.Ask) { a.Systems = nil },
		"no content":         func(_ *speke.Client, a *speke.Ask) { a.ContentID = "" },
		"blank content":      func(_ *speke.Client, a *speke.Ask) { a.ContentID = " a" },
		"no scheme":          func(_ *speke.Client, a *speke.Ask) { a.Keys[0].Scheme = "" },
		"other scheme":       func(_ *speke.Client, a *speke.Ask) { a.Keys[0].Scheme = "AES-128" },
		"no KID":             func(_ *speke.Client, a *speke.Ask) { a.Keys[0].KID = key.KID{} },
		"KID twice":          func(_ *speke.Client, a *speke.Ask) { a.Keys[0].KID = a.Keys[1].KID },
		"no track type":      func(_ *speke.Client, a *speke.Ask) { a.Keys[0].TrackType = "" },
		"track type twice":   func(_ *speke.Client, a *speke.Ask) { a.Keys[0].TrackType = a.Keys[1].TrackType },
		"ALL and another":    func(_ *speke.Client, a *speke.Ask) { a.Keys[1].TrackType = "ALL" },
		"another after ALL":  func(_ *speke.Client, a *speke.Ask) { a.Keys[0].TrackType = "ALL" },
		"system twice":       func(_ *speke.Client, a *speke.Ask) { a.Systems[0].ID = a.Systems[1].ID },
		"control characters": func(_ *speke.Client, a *speke.Ask) { a.ContentID = "a\x00" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			c, a := p.client(), ask(t)
			change(c, &a)
			d, err := c.Request(t.Context(), a)
			wantClass(t, d, err, speke.ErrAsk)
			if p.calls.Load() != 0 {
				t.Error("something was sent")
			}
		})
	}
}

// Plain http is for loopback alone; a port that nobody listens on is unavailable.
func TestLoopback(t *testing.T) {
	p := newProvider(t)
	plain := httptest.NewServer(p)
	c := &speke.Client{Endpoint: plain.URL + "/speke/v2.0/copyProtection?k=" + token, Backoff: 1}
	if _, err := c.Request(t.Context(), ask(t)); err != nil {
		t.Error(err)
	}
	plain.Close()
	d, err := c.Request(t.Context(), ask(t))
	wantClass(t, d, err, speke.ErrUnavailable)
	// A certificate that nobody vouches for is not talked to.
	d, err = (&speke.Client{Endpoint: p.URL, Backoff: 1, Attempts: 1}).Request(t.Context(), ask(t))
	wantClass(t, d, err, speke.ErrUnavailable)
	if p.calls.Load() != 1 {
		t.Errorf("%d calls", p.calls.Load())
	}
}
