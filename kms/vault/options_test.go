package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
)

func isMismatch(err error) bool { return errors.Is(err, kms.ErrMismatch) }

func TestOptions(t *testing.T) {
	s := newService(t)
	for name, change := range map[string]func(*vault.Options){
		"no address":        func(o *vault.Options) { o.Address = "" },
		"http":              func(o *vault.Options) { o.Address = "http://vault.example.com:8200" },
		"http, private":     func(o *vault.Options) { o.Address = "http://10.0.0.1:8200" },
		"http, looks local": func(o *vault.Options) { o.Address = "http://localhost.example.com" },
		"http, 127. name":   func(o *vault.Options) { o.Address = "http://127.0.0.1.example.com" },
		"unix":              func(o *vault.Options) { o.Address = "unix:///run/vault.sock" },
		"a user":            func(o *vault.Options) { o.Address = "https://me:hunter2@vault.example.com" },
		"a path":            func(o *vault.Options) { o.Address = s.URL + "/v1" },
		"a query":           func(o *vault.Options) { o.Address = s.URL + "?x" },
		"mount up":          func(o *vault.Options) { o.Mount = "../sys" },
		"mount within up":   func(o *vault.Options) { o.Mount = "a/../sys" },
		"mount slash":       func(o *vault.Options) { o.Mount = "/transit" },
		"mount query":       func(o *vault.Options) { o.Mount = "transit?x" },
		"mount dot":         func(o *vault.Options) { o.Mount = "transit." },
		"namespace":         func(o *vault.Options) { o.Namespace = "a\r\nX: y" },
		"no login":          func(o *vault.Options) { o.TokenFile = "" },
		"two logins":        func(o *vault.Options) { o.RoleIDFile, o.SecretIDFile = o.TokenFile, o.TokenFile },
		"half an AppRole":   func(o *vault.Options) { o.RoleIDFile, o.TokenFile = o.TokenFile, "" },
		"no token file":     func(o *vault.Options) { o.TokenFile += "-none" },
		"a folder":          func(o *vault.Options) { o.TokenFile = filepath.Dir(o.TokenFile) },
		"token for others":  func(o *vault.Options) { o.TokenFile = file(t, 0o604, rootToken) },
		"token for a group": func(o *vault.Options) { o.TokenFile = file(t, 0o640, rootToken) },
		"empty token":       func(o *vault.Options) { o.TokenFile = file(t, 0o600, "\n") },
		"two lines":         func(o *vault.Options) { o.TokenFile = file(t, 0o600, rootToken+"\n\n") },
		"a huge token":      func(o *vault.Options) { o.TokenFile = file(t, 0o600, strings.Repeat("a", 9000)) },
		"no CA file":        func(o *vault.Options) { o.CAFile += "-none" },
		"CA file of none":   func(o *vault.Options) { o.CAFile = o.TokenFile },
		"soon":              func(o *vault.Options) { o.DestroyAfter = time.Hour },
		"late":              func(o *vault.Options) { o.DestroyAfter = 400 * day },
		"negative":          func(o *vault.Options) { o.Poll = -1 },
	} {
		o := s.options(t)
		change(&o)
		p, err := vault.New(t.Context(), o)
		if !errors.Is(err, vault.ErrOptions) || p != nil {
			t.Errorf("%s: %v, want ErrOptions", name, err)
			continue
		}
		for _, secret := range []string{rootToken, "hunter2"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v shows %q", name, err, secret)
			}
		}
	}
	for _, address := range []string{"http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200", "https://vault.example.com:8200/"} {
		o := s.options(t)
		o.Address = address
		open(t, o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := vault.New(ctx, s.options(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("New under a cancelled context: %v", err)
	}
}

// TestProtocolPlain: plain HTTP to a loopback address works.
func TestProtocolPlain(t *testing.T) {
	s := newService(t)
	plain := httptest.NewServer(s)
	t.Cleanup(plain.Close)
	newKEK(t, s, func(o *vault.Options) { o.Address, o.CAFile = plain.URL, "" })
}

// TestProtocolCA: a server that the CA file does not vouch for gets no token.
func TestProtocolCA(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	o := s.options(t)
	o.CAFile = ""
	s.Taken()
	_, err := open(t, o).Describe(t.Context(), k.id)
	wantOne(t, "Describe", err, kms.ErrUnavailable)
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v does not speak of the certificate", err)
	}
	s.Set(func() {
		if len(s.Calls) != 0 {
			t.Errorf("it was sent %v", s.Calls)
		}
	})
}

// TestProtocolEnvironment: the client's variables change nothing. The service
// refuses another namespace, response wrapping and what it does not know.
func TestProtocolEnvironment(t *testing.T) {
	for name, v := range map[string]string{
		"VAULT_ADDR": "https://elsewhere.example.com", "VAULT_AGENT_ADDR": "https://elsewhere.example.com", "VAULT_TOKEN": "hvs.other",
		"VAULT_NAMESPACE": "other", "VAULT_WRAP_TTL": "5m", "VAULT_MAX_RETRIES": "7", "VAULT_HEADERS": `{"X-Other":"1"}`,
		"VAULT_PROXY_ADDR": "http://127.0.0.1:1", "VAULT_HTTP_PROXY": "http://127.0.0.1:1", "VAULT_MFA": "x", "VAULT_RATE_LIMIT": "0.001:1",
	} {
		t.Setenv(name, v)
	}
	s := newService(t)
	k := newKEK(t, s, nil)
	k.answers(503, "Vault is sealed")
	_, err := k.Describe(t.Context(), k.id)
	wantOne(t, "Describe", err, kms.ErrUnavailable)
	if calls := k.Taken(); len(calls) != 1 {
		t.Errorf("called %v", calls)
	}
	// Nor does it switch checks of certificates off.
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	o := s.options(t)
	o.CAFile = ""
	_, err = open(t, o).Describe(t.Context(), k.id)
	wantOne(t, "Describe without a CA file", err, kms.ErrUnavailable)
}

// TestProtocolSilent: nothing that is printed shows a token, a secret ID or a
// key.
func TestProtocolSilent(t *testing.T) {
	k, _ := byRole(t)
	kid, c := key.NewKID(), key.NewContentKey()
	raw := c.RevealSecretBytes()
	w := k.wrapped(t, kid, c)
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "p", k.Provider)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", k.Provider)
	}
	for _, status := range []int{400, 403, 404, 500} {
		k.answers(status, "no")
		for _, do := range everyCall(t, k, t.Context()) {
			fmt.Fprintln(&out, do())
		}
		_, err := k.Unwrap(t.Context(), k.id, kid, w)
		fmt.Fprintln(&out, err)
	}
	for _, secret := range []string{"hvs.", k.SecretID, k.RoleID, fmt.Sprintf("%x", raw), string(raw[:]), string(w[9:])} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("shows %q", secret)
		}
	}
	if !strings.Contains(out.String(), "vault:transit") {
		t.Error("does not name the mount: the test shows nothing")
	}
}
