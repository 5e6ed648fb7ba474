package vault_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

// aboutTokens counts the calls about tokens since it was asked last.
func (s *service) aboutTokenCalls() (n map[string]int) {
	n = map[string]int{}
	s.Set(func() {
		for _, r := range s.Calls {
			if strings.HasPrefix(r.Path, "auth/") {
				n[strings.TrimPrefix(r.Path, "auth/token/")]++
			}
		}
		n["login"] = s.Logins
		s.Calls, s.Logins = nil, 0
	})
	return n
}

func (k kek) wantCalls(t *testing.T, what string, want map[string]int) {
	t.Helper()
	got := k.aboutTokenCalls()
	for _, name := range []string{"login", "lookup-self", "renew-self"} {
		if got[name] != want[name] {
			t.Errorf("%s: %d calls of %s, want %d", what, got[name], name, want[name])
		}
	}
}

// use makes one call.
func (k kek) use(t *testing.T, want error) {
	t.Helper()
	_, err := k.Describe(t.Context(), k.id)
	if want != nil {
		wantOne(t, "Describe", err, want)
	} else if err != nil {
		t.Errorf("Describe: %v", err)
	}
}

// byRole is a KEK seen by who logs in with an AppRole.
func byRole(t *testing.T) (kek, vault.Options) {
	t.Helper()
	s := newService(t)
	k := newKEK(t, s, nil)
	o := s.appRole(t, s.options(t))
	k.Provider = open(t, o)
	k.aboutTokenCalls()
	return k, o
}

func TestProtocolAppRoleLife(t *testing.T) {
	k, _ := byRole(t)
	k.use(t, nil)
	k.use(t, nil)
	k.wantCalls(t, "first calls", map[string]int{"login": 1})
	k.Later(39 * time.Minute)
	k.use(t, nil)
	k.wantCalls(t, "before two thirds", nil)
	k.Later(2 * time.Minute)
	k.use(t, nil)
	k.use(t, nil)
	k.wantCalls(t, "after two thirds", map[string]int{"renew-self": 1})
	k.Later(59 * time.Minute)
	k.use(t, nil)
	k.wantCalls(t, "near the end", map[string]int{"renew-self": 1})
	k.Later(2 * time.Hour)
	k.use(t, nil)
	k.wantCalls(t, "after the end", map[string]int{"login": 1})
	// To the end of what renewing can do, and beyond.
	for range 24 * 4 {
		k.Later(15 * time.Minute)
		k.use(t, nil)
	}
	got := k.aboutTokenCalls()
	if got["login"] < 1 || got["login"] > 2 || got["renew-self"] > 40 {
		t.Errorf("in a day: %v", got)
	}
}

func TestProtocolAppRoleRevoked(t *testing.T) {
	k, o := byRole(t)
	k.use(t, nil)
	k.aboutTokenCalls()
	revoke := func() {
		k.Set(func() { k.Tokens = map[string]*vaulttest.Token{rootToken: {}} })
	}
	revoke()
	k.use(t, nil)
	got := k.aboutTokenCalls()
	if got["login"] != 1 {
		t.Errorf("after it was revoked: %v, want one login", got)
	}
	// Eight calls at once log in once.
	revoke()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, []byte("vault:v1:"+strings.Repeat("A", 59)+"=")); !isMismatch(err) {
				t.Errorf("Unwrap: %v", err)
			}
		})
	}
	wg.Wait()
	k.wantLogins(t, "eight calls at once", 1)
	// A new secret ID is taken from the file; an old one is no use.
	revoke()
	k.Set(func() { k.SecretID = "another" })
	k.use(t, kms.ErrDenied)
	k.wantLogins(t, "old secret ID", 1)
	write(t, o.SecretIDFile, "another")
	k.use(t, nil)
	k.wantLogins(t, "new secret ID", 1)
	// The file must be the owner's alone each time.
	revoke()
	if err := os.Chmod(o.SecretIDFile, 0o640); err != nil {
		t.Fatal(err)
	}
	k.use(t, kms.ErrDenied)
	k.wantLogins(t, "readable by others", 0)
}

func (k kek) wantLogins(t *testing.T, what string, want int) {
	t.Helper()
	if got := k.aboutTokenCalls(); got["login"] != want {
		t.Errorf("%s: %d logins, want %d", what, got["login"], want)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestProtocolRefused: a good token that a policy refuses is not replaced.
func TestProtocolRefused(t *testing.T) {
	k, _ := byRole(t)
	k.use(t, nil)
	k.aboutTokenCalls()
	k.Set(func() { k.Policy = acl{"auth/token/lookup-self": {capabilities: []string{"read"}}}.allows })
	k.use(t, kms.ErrDenied)
	k.wantCalls(t, "refused", map[string]int{"lookup-self": 1})
	// One that may not even look itself up might be bad: one login, and no more.
	k.Set(func() { k.Policy = acl{}.allows })
	k.use(t, kms.ErrDenied)
	k.wantLogins(t, "refused altogether", 1)
}

// TestProtocolLoginFaults: what a login says has a class too.
func TestProtocolLoginFaults(t *testing.T) {
	for status, want := range map[int]error{
		400: kms.ErrDenied, 403: kms.ErrDenied, 404: kms.ErrDenied, 429: kms.ErrThrottled, 500: kms.ErrUnavailable, 503: kms.ErrUnavailable,
		200: kms.ErrUnavailable, // without a token
	} {
		k, _ := byRole(t)
		k.Set(func() {
			k.Fault = func(r vaulttest.Request) (int, string) {
				if r.Path == "auth/approle/login" {
					return status, `{"errors":["no"]}`
				}
				return 0, ""
			}
		})
		for name, do := range everyCall(t, k, t.Context()) {
			k.Taken()
			wantOne(t, name, do(), want)
			if calls := k.Taken(); len(calls) != 0 {
				t.Errorf("%s, login %d: called %v", name, status, calls)
			}
		}
	}
}

// TestProtocolRenewFaults: a token that cannot be renewed now is used as long as
// it lives, and is not renewed at each call.
func TestProtocolRenewFaults(t *testing.T) {
	k, _ := byRole(t)
	k.use(t, nil)
	renewals := 0
	k.Set(func() {
		k.Fault = func(r vaulttest.Request) (int, string) {
			if r.Path == "auth/token/renew-self" {
				renewals++
				return 503, `{"errors":["Vault is sealed"]}`
			}
			return 0, ""
		}
	})
	k.Later(41 * time.Minute)
	for range 5 {
		k.use(t, nil)
	}
	if renewals != 1 {
		t.Errorf("%d renewals, want 1", renewals)
	}
	// One that must not be renewed is replaced.
	k, _ = byRole(t)
	k.use(t, nil)
	k.Set(func() {
		for _, token := range k.Tokens {
			token.Renewable = false
		}
	})
	k.aboutTokenCalls()
	k.Later(41 * time.Minute)
	k.use(t, nil)
	k.wantLogins(t, "not renewable", 1)
}

func TestProtocolTokenFile(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	s.Set(func() {
		s.Tokens["short"] = &vaulttest.Token{Ends: s.Clock().Add(time.Hour), Most: s.Clock().Add(2 * time.Hour), Renewable: true}
		s.Tokens["next"] = &vaulttest.Token{Ends: s.Clock().Add(1000 * time.Hour)}
	})
	o := s.options(t)
	o.TokenFile = file(t, 0o600, "short\n")
	k.Provider = open(t, o)
	k.aboutTokenCalls()
	k.use(t, nil)
	k.use(t, nil)
	k.wantCalls(t, "first calls", map[string]int{"lookup-self": 1})
	k.Later(45 * time.Minute)
	k.use(t, nil)
	k.wantCalls(t, "after two thirds", map[string]int{"renew-self": 1})
	k.Later(3 * time.Hour)
	k.use(t, kms.ErrDenied)
	write(t, o.TokenFile, "next")
	k.use(t, nil)
	k.Set(func() { delete(k.Tokens, "next"); k.Tokens["last"] = &vaulttest.Token{} })
	k.use(t, kms.ErrDenied)
	write(t, o.TokenFile, "last")
	k.use(t, nil)
	// The same token is not tried again.
	tries := 0
	k.Set(func() {
		k.Fault = func(r vaulttest.Request) (int, string) {
			if !strings.HasPrefix(r.Path, "auth/") {
				tries++
			}
			return 403, `{"errors":["permission denied"]}`
		}
	})
	k.use(t, kms.ErrDenied)
	k.Set(func() { k.Fault = nil })
	if tries != 1 {
		t.Errorf("a token that is no good was tried %d times", tries)
	}
	// A file that goes away takes nothing back until the token is refused.
	if err := os.Remove(o.TokenFile); err != nil {
		t.Fatal(err)
	}
	k.use(t, nil)
	k.Set(func() { delete(k.Tokens, "last") })
	k.use(t, kms.ErrDenied)
}
