package speke_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/seed-6133abe0/rekey/keyring/speke"
)

func TestAuth(t *testing.T) {
	for name, c := range map[string]struct {
		auth       speke.Auth
		name, want string
	}{
		"bearer": {speke.Bearer(token), "Authorization", "Bearer " + token},
		"basic":  {speke.Basic("Aladdin", "open sesame"), "Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, // RFC 7617 §2
		"header": {speke.Header("X-API-Key", token), "X-Api-Key", token},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			cl := p.client()
			cl.Auth, cl.Clock = c.auth, time.Now
			if _, err := cl.Request(t.Context(), ask(t)); err != nil {
				t.Fatal(err)
			}
			if got := p.header.Get(c.name); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
			if shown := fmt.Sprintf("%+v %#v", cl, cl); strings.Contains(shown, token) || strings.Contains(shown, "sesame") {
				t.Errorf("prints a secret: %s", shown)
			}
		})
	}
}

type credentials struct {
	aws.Credentials
	err error
}

func (c credentials) Retrieve(context.Context) (aws.Credentials, error) { return c.Credentials, c.err }

// The signature is recomputed as AWS documents it (Signature Version 4, "Create
// a signed request"), without AWS's code.
func TestSigV4(t *testing.T) {
	p := newProvider(t)
	cl := p.client()
	c := credentials{Credentials: aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: token, SessionToken: "session"}}
	cl.Auth = speke.SigV4(c, "eu-west-1", "")
	cl.Clock = func() time.Time { return time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC) }
	var sent []byte
	cl.HTTP = &http.Client{Transport: tap{p.Client().Transport, &sent}}
	if _, err := cl.Request(t.Context(), ask(t)); err != nil {
		t.Fatal(err)
	}
	if d := p.header.Get("X-Amz-Date"); d != "20260504T030201Z" || p.header.Get("X-Amz-Security-Token") != "session" {
		t.Errorf("date %q, token %q", d, p.header.Get("X-Amz-Security-Token"))
	}
	const scope = "20260504/eu-west-1/execute-api/aws4_request"
	rest, ok := strings.CutPrefix(p.header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/"+scope+", SignedHeaders=")
	signed, signature, ok2 := strings.Cut(rest, ", Signature=")
	if !ok || !ok2 || !strings.Contains(signed, "host") || !strings.Contains(signed, "x-speke-version") {
		t.Fatalf("Authorization: %s", p.header.Get("Authorization"))
	}
	canonical := "POST\n/speke/v2.0/copyProtection\n\n"
	for h := range strings.SplitSeq(signed, ";") {
		v := p.header.Get(h)
		if h == "content-length" {
			v = fmt.Sprint(len(sent))
		}
		canonical += h + ":" + v + "\n"
	}
	body := sha256.Sum256(sent)
	canonical += "\n" + signed + "\n" + hex.EncodeToString(body[:])
	sum := sha256.Sum256([]byte(canonical))
	sign := []byte("AWS4" + token)
	for _, part := range []string{"20260504", "eu-west-1", "execute-api", "aws4_request", "AWS4-HMAC-SHA256\n20260504T030201Z\n" + scope + "\n" + hex.EncodeToString(sum[:])} {
		m := hmac.New(sha256.New, sign)
		_, _ = io.WriteString(m, part)
		sign = m.Sum(nil)
	}
	if want := hex.EncodeToString(sign); signature != want {
		t.Errorf("signature %s, want %s of\n%s", signature, want, canonical)
	}
	if shown := fmt.Sprintf("%+v %#v", cl, *cl); strings.Contains(shown, token) {
		t.Errorf("prints a secret: %s", shown)
	}
}

func TestNoCredentials(t *testing.T) {
	p := newProvider(t)
	cl := p.client()
	cl.Auth, cl.Clock = speke.SigV4(credentials{err: io.ErrClosedPipe}, "eu-west-1", "keys"), time.Now
	d, err := cl.Request(t.Context(), ask(t))
	wantClass(t, d, err, speke.ErrAsk)
	if !errors.Is(err, io.ErrClosedPipe) || p.calls.Load() != 0 {
		t.Errorf("%v after %d calls", err, p.calls.Load())
	}
}
