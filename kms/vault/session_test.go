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
)

// aboutTokens counts the calls about tokens since it was asked last.
func (s *service) aboutTokenCalls() (n map[string]int) {
	n = map[string]int{}
	s.set(func() {
		for _, r := range s.calls {
			if strings.HasPrefix(r.path, "auth/") {
				n[strings.TrimPrefix(r.path, "auth/token/")]++
			}
		}
		n["login"] = s.logins
		s.calls, s.logins = nil, 0
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
	k.later(39 * time.Minute)
	k.use(t, nil)
	k.wantCalls(t, "before two thirds", nil)
	k.later(2 * time.Minute)
	k.use(t, nil)
	k.use(t, nil)
	k.wantCalls(t, "after two thirds", map[string]int{"renew-self": 1})
	k.later(59 * time.Minute)
	k.use(t, nil)
	k.wantCalls(t, "near the end", map[string]int{"renew-self": 1})
	k.later(2 * time.Hour)
	k.use(t, nil)
	k.wantCalls(t, "after the end", map[string]int{"login": 1})
	// To the end of what renewing can do, and beyond.
	for range 24 * 4 {
		k.later(15 * time.Minute)
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
		k.set(func() { k.tokens = map[string]*fakeToken{rootToken: {}} })
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
	k.set(func() { k.secretID = "another" })
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
	k.set(func() { k.policy = acl{"auth/token/lookup-self": {capabilities: []string{"read"}}} })
	k.use(t, kms.ErrDenied)
	k.wantCalls(t, "refused", map[string]int{"lookup-self": 1})
	// One that may not even look itself up might be bad: one login, and no more.
	k.set(func() { k.policy = acl{} })
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
		k.set(func() {
			k.fault = func(r request) (int, string) {
				if r.path == "auth/approle/login" {
					return status, `{"errors":["no"]}`
				}
				return 0, ""
			}
		})
		for name, do := range everyCall(t, k, t.Context()) {
			k.taken()
			wantOne(t, name, do(), want)
			if calls := k.taken(); len(calls) != 0 {
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
	k.set(func() {
		k.fault = func(r request) (int, string) {
			if r.path == "auth/token/renew-self" {
				renewals++
				return 503, `{"errors":["Vault is sealed"]}`
			}
			return 0, ""
		}
	})
	k.later(41 * time.Minute)
	for range 5 {
		k.use(t, nil)
	}
	if renewals != 1 {
		t.Errorf("%d renewals, want 1", renewals)
	}
	// One that must not be renewed is replaced.
	k, _ = byRole(t)
	k.use(t, nil)
	k.set(func() {
		for _, token := range k.tokens {
			token.renewable = false
		}
	})
	k.aboutTokenCalls()
	k.later(41 * time.Minute)
	k.use(t, nil)
	k.wantLogins(t, "not renewable", 1)
}

func TestProtocolTokenFile(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	s.set(func() {
		s.tokens["short"] = &fakeToken{ends: s.clock().Add(time.Hour), most: s.clock().Add(2 * time.Hour), renewable: true}
		s.tokens["next"] = &fakeToken{ends: s.clock().Add(1000 * time.Hour)}
	})
	o := s.options(t)
	o.TokenFile = file(t, 0o600, "short\n")
	k.Provider = open(t, o)
	k.aboutTokenCalls()
	k.use(t, nil)
	k.use(t, nil)
	k.wantCalls(t, "first calls", map[string]int{"lookup-self": 1})
	k.later(45 * time.Minute)
	k.use(t, nil)
	k.wantCalls(t, "after two thirds", map[string]int{"renew-self": 1})
	k.later(3 * time.Hour)
	k.use(t, kms.ErrDenied)
	write(t, o.TokenFile, "next")
	k.use(t, nil)
	k.set(func() { delete(k.tokens, "next"); k.tokens["last"] = &fakeToken{} })
	k.use(t, kms.ErrDenied)
	write(t, o.TokenFile, "last")
	k.use(t, nil)
	// The same token is not tried again.
	tries := 0
	k.set(func() {
		k.fault = func(r request) (int, string) {
			if !strings.HasPrefix(r.path, "auth/") {
				tries++
			}
			return 403, `{"errors":["permission denied"]}`
		}
	})
	k.use(t, kms.ErrDenied)
	k.set(func() { k.fault = nil })
	if tries != 1 {
		t.Errorf("a token that is no good was tried %d times", tries)
	}
	// A file that goes away takes nothing back until the token is refused.
	if err := os.Remove(o.TokenFile); err != nil {
		t.Fatal(err)
	}
	k.use(t, nil)
	k.set(func() { delete(k.tokens, "last") })
	k.use(t, kms.ErrDenied)
}
