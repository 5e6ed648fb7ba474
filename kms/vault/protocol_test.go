package vault_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/kmstest"
	"github.com/seed-6133abe0/rekey/kms/vault"
)

// options reach the service under the root token.
func (s *service) options(t *testing.T) vault.Options {
	return vault.Options{
		Address:   s.URL,
		CAFile:    s.caFile(t),
		Namespace: s.Namespace,
		Mount:     s.Mount,
		TokenFile: file(t, 0o600, rootToken+"\n"),
		Clock:     s.Now,
		Wait: func(ctx context.Context, d time.Duration) error {
			s.Later(d)
			return ctx.Err()
		},
	}
}

// appRole makes options log in.
func (s *service) appRole(t *testing.T, o vault.Options) vault.Options {
	o.TokenFile = ""
	o.RoleIDFile, o.SecretIDFile = file(t, 0o600, s.RoleID), file(t, 0o600, s.SecretID+"\n")
	return o
}

func open(t *testing.T, o vault.Options) *vault.Provider {
	t.Helper()
	p, err := vault.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// target is a service that the conformance suite runs against.
type target struct {
	name string
	run  kmstest.Target
}

// targets are the server of the test, with either way to log in, and a real one
// if the environment names it.
func targets(t *testing.T) []target {
	byToken, byRole := newService(t), newService(t)
	byRole.Mount, byRole.Namespace = "team/a/kek-transit", "ns1/ns2"
	all := []target{
		{"ProtocolToken", kmstest.Target{
			Open:  func(t *testing.T) kms.Provider { return open(t, byToken.options(t)) },
			Later: byToken.Later,
		}},
		{"ProtocolAppRole", kmstest.Target{
			Open:  func(t *testing.T) kms.Provider { return open(t, byRole.appRole(t, byRole.options(t))) },
			Later: byRole.Later,
		}},
	}
	if address := os.Getenv("REKEY_VAULT_ADDR"); address != "" {
		o := vault.Options{
			Address: address, Mount: os.Getenv("REKEY_VAULT_MOUNT"),
			TokenFile: os.Getenv("REKEY_VAULT_TOKEN_FILE"), CAFile: os.Getenv("REKEY_VAULT_CA_FILE"),
		}
		all = append(all, target{"Real", kmstest.Target{Open: func(t *testing.T) kms.Provider {
			t.Cleanup(func() { sweep(t, o) })
			return open(t, o)
		}}})
	}
	return all
}

// TestConformance: the runs named Protocol… are against the server of the test.
func TestConformance(t *testing.T) {
	for _, target := range targets(t) {
		t.Run(target.name, func(t *testing.T) { kmstest.Run(t, target.run) })
	}
}

// sweep deletes the suite's keys and their markers from a real server.
func sweep(t *testing.T, o vault.Options) {
	token, err := os.ReadFile(o.TokenFile)
	if err != nil {
		t.Error(err)
		return
	}
	c := api.DefaultConfig()
	c.Address = o.Address
	if o.CAFile != "" {
		if err := c.ConfigureTLS(&api.TLSConfig{CACert: o.CAFile}); err != nil {
			t.Error(err)
			return
		}
	}
	client, err := api.NewClient(c)
	if err != nil {
		t.Error(err)
		return
	}
	client.SetToken(strings.TrimSpace(string(token)))
	mount := o.Mount
	if mount == "" {
		mount = "transit"
	}
	ctx := context.WithoutCancel(t.Context())
	for _, name := range []string{"suite-a", "suite-b", "suite-c", "suite-taken", "suite-cancelled"} {
		for _, path := range []string{mount + "/keys/" + name, mount + "/keys/rekey-destroy." + name} {
			if _, err := client.Logical().WriteWithContext(ctx, path+"/config", map[string]any{"deletion_allowed": true}); err != nil {
				continue // it is not there
			}
			if _, err := client.Logical().DeleteWithContext(ctx, path); err != nil {
				t.Errorf("delete %s: %v", path, err)
			}
		}
	}
}

// kek is one KEK of a service under the root token.
type kek struct {
	*service
	*vault.Provider
	id string
}

// newKEK makes one called kek; change may change the options.
func newKEK(t *testing.T, s *service, change func(*vault.Options)) kek {
	t.Helper()
	o := s.options(t)
	if change != nil {
		change(&o)
	}
	p := open(t, o)
	id, err := p.Create(t.Context(), "kek")
	if err != nil {
		t.Fatal(err)
	}
	if id != "vault:"+s.Mount+"/kek" {
		t.Fatalf("id %q", id)
	}
	s.Taken()
	return kek{s, p, id}
}

func (k kek) wrapped(t *testing.T, kid key.KID, c key.ContentKey) []byte {
	t.Helper()
	w, err := k.Wrap(t.Context(), k.id, kid, c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// wantState asks another client.
func (k kek) wantState(t *testing.T, want kms.KEKState) kms.Description {
	t.Helper()
	d, err := open(t, k.options(t)).Describe(t.Context(), k.id)
	if err != nil || d.State != want {
		t.Errorf("Describe: %+v, %v; want %s", d, err, want)
	}
	return d
}

// everyCall makes each call of the provider.
func everyCall(t *testing.T, k kek, ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"Wrap": func() error {
			w, err := k.Wrap(ctx, k.id, key.KID{}, key.NewContentKey())
			if w != nil && err != nil {
				t.Error("wrapped bytes beside the error")
			}
			return err
		},
		"Unwrap": func() error {
			c, err := k.Unwrap(ctx, k.id, key.KID{}, []byte("vault:v1:"+strings.Repeat("A", 59)+"="))
			if !c.IsZero() {
				t.Error("a key beside the error")
			}
			return err
		},
		"Create":              func() error { _, err := k.Create(ctx, "other"); return err },
		"Describe":            func() error { _, err := k.Describe(ctx, k.id); return err },
		"Disable":             func() error { return k.Disable(ctx, k.id) },
		"Enable":              func() error { return k.Enable(ctx, k.id) },
		"ScheduleDestruction": func() error { _, err := k.ScheduleDestruction(ctx, k.id); return err },
	}
}

// wantOne: err is of the class, and of no other.
func wantOne(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, class := range []error{
		kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
		context.Canceled, context.DeadlineExceeded,
	} {
		if is := errors.Is(err, class); is != errors.Is(want, class) {
			t.Errorf("%s: %v; is %q: %t", what, err, class, is)
		}
	}
}

var _ http.Handler = (*service)(nil)
