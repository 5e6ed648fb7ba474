package vault

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/seed-6133abe0/rekey/kms"
)

func FuzzParseKEK(f *testing.F) {
	for _, seed := range []string{"vault:transit/movies-2026", "vault:transit/rekey-destroy.a", "vault:transit/../a", "vault:a/b", "aws-kms:x", "", "vault:transit/a."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		k, err := parseKEK("transit", id)
		if err != nil {
			if !errors.Is(err, kms.ErrNotFound) {
				t.Errorf("%q: %v", id, err)
			}
			return
		}
		if k.kek() != id || strings.ContainsAny(k.name, "/?#% ") || strings.Contains(k.path(), "..") && !strings.Contains(k.name, "..") {
			t.Errorf("%q: %+v", id, k)
		}
		if _, err := parseKEK("transit", k.marker().kek()); err == nil {
			t.Errorf("%q: its marker is a KEK", id)
		}
	})
}

func FuzzCheckSealed(f *testing.F) {
	f.Add(forged())
	f.Add("vault:v2:" + forged()[len(prefix):])
	f.Add(forged()[:len(forged())-2] + "B=")
	f.Add(forged() + "\n")
	f.Add("vault:v1:")
	f.Fuzz(func(t *testing.T, s string) {
		switch err := checkSealed(s); {
		case err != nil && !errors.Is(err, kms.ErrMismatch):
			t.Errorf("%q: %v", s, err)
		case err == nil && (len(s) != len(forged()) || strings.ContainsAny(s, "\r\n")):
			t.Errorf("%q was taken", s)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{"hvs.CAESIJ\n", "s.abc", "", "\n", "a b", "a\r\n", "é"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSecret(b)
		if err != nil {
			if len(b) > 16 && strings.Contains(err.Error(), string(b)) {
				t.Errorf("%v shows the secret", err)
			}
			return
		}
		if s == "" || len(s) > maxSecret || s+"\n" != string(b) && s != string(b) {
			t.Errorf("%q: %q", b, s)
		}
	})
}

// FuzzReply: whatever a server answers has a class, and no panic comes of it.
func FuzzReply(f *testing.F) {
	f.Add(200, `{"data":{"type":"aes256-gcm96","keys":{"1":1442851412},"min_decryption_version":1,"latest_version":1}}`)
	f.Add(200, `{"data":{"ciphertext":"`+forged()+`","key_version":1},"warnings":["key a already existed"]}`)
	f.Add(200, `{"auth":{"client_token":"hvs.a","lease_duration":3600,"renewable":true}}`)
	f.Add(400, `{"errors":["encryption key not found"]}`)
	f.Add(204, "")
	f.Add(503, "<html>")
	f.Fuzz(func(t *testing.T, status int, body string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://vault.example.com/v1/transit/keys/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := &api.Response{Response: &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: request}}
		if err := resp.Error(); err != nil {
			checkClass(t, classify(t.Context(), err))
			return
		}
		r, err := readReply(t.Context(), resp)
		var info keyInfo
		if err == nil {
			err = r.read(&info)
		}
		if err != nil {
			checkClass(t, err)
			return
		}
		info.created()
	})
}

func checkClass(t *testing.T, err error) {
	t.Helper()
	n := 0
	for _, class := range []error{kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists} {
		if errors.Is(err, class) {
			n++
		}
	}
	if n != 1 || len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("%d classes: %v", n, err)
	}
}
