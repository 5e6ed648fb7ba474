package vault_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

// duties is all that each role does.
var duties = map[string]func(t *testing.T, k kek) error{
	"worker": func(t *testing.T, k kek) error {
		kid, c := key.NewKID(), key.NewContentKey()
		w, err := k.Wrap(t.Context(), k.id, kid, c)
		if err != nil {
			return err
		}
		if _, err := k.Unwrap(t.Context(), k.id, kid, w); err != nil {
			return err
		}
		_, err = k.Describe(t.Context(), k.id)
		return err
	},
	"operator": func(t *testing.T, k kek) error {
		id, err := k.Create(t.Context(), "duty")
		if err != nil {
			return err
		}
		if err := errors.Join(k.Disable(t.Context(), id), k.Disable(t.Context(), id), k.Enable(t.Context(), id)); err != nil {
			return err
		}
		k.scheduled(t, id)
		if err := k.Enable(t.Context(), id); err != nil {
			return err
		}
		_, err = k.Describe(t.Context(), id)
		return err
	},
	"approver": func(t *testing.T, k kek) error {
		k.asOwner(t, func(p *vault.Provider) error { return p.Disable(t.Context(), k.id) })
		for range 2 {
			if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
				return err
			}
		}
		k.Later(31 * 24 * time.Hour)
		d, err := k.Describe(t.Context(), k.id)
		if err == nil && d.State != kms.KEKDestroyed { // deleting is refused, and left to others
			return fmt.Errorf("%w: it is %s", kms.ErrDenied, d.State)
		}
		return err
	},
	"auditor": func(t *testing.T, k kek) error {
		_, err := k.Describe(t.Context(), k.id)
		return err
	},
}

// asOwner does what another role has done, and leaves no trace of calls.
func (k kek) asOwner(t *testing.T, do func(*vault.Provider) error) {
	t.Helper()
	var calls []vaulttest.Request
	var policy func(string, string, map[string]any) (string, bool)
	k.Set(func() { calls, policy, k.Policy = k.Calls, k.Policy, nil })
	if err := do(open(t, k.options(t))); err != nil {
		t.Fatal(err)
	}
	k.Set(func() { k.Calls, k.Policy = calls, policy })
}

func (k kek) scheduled(t *testing.T, id string) {
	t.Helper()
	k.asOwner(t, func(p *vault.Provider) error { _, err := p.ScheduleDestruction(t.Context(), id); return err })
}

func readPolicies(t *testing.T) map[string]acl {
	t.Helper()
	files, err := filepath.Glob("policies/*.hcl")
	if err != nil || len(files) != len(duties) {
		t.Fatalf("%d policies, %v; want %d", len(files), err, len(duties))
	}
	all := map[string]acl{}
	for _, f := range files {
		all[strings.TrimSuffix(filepath.Base(f), ".hcl")] = readACL(t, f)
	}
	return all
}

// as is a KEK seen by a role, which logs in with an AppRole and has its token
// renewed and looked up.
func as(t *testing.T, a acl) kek {
	t.Helper()
	s := newService(t)
	k := newKEK(t, s, nil)
	s.Set(func() { s.Policy, s.Calls = a.allows, nil })
	k.Provider = open(t, s.appRole(t, s.options(t)))
	return k
}

// grants lists what a policy gives: paths with capabilities, and parameters.
func (a acl) grants() (all []string) {
	for path, r := range a {
		for _, c := range r.capabilities {
			all = append(all, path+" "+c)
		}
		for name := range r.params {
			all = append(all, path+" ."+name)
		}
	}
	slices.Sort(all)
	return all
}

// without is the policy less one capability or parameter.
func (a acl) without(grant string) acl {
	path, what, _ := strings.Cut(grant, " ")
	r := aclRule{capabilities: slices.Clone(a[path].capabilities), params: maps.Clone(a[path].params)}
	r.capabilities = slices.DeleteFunc(r.capabilities, func(c string) bool { return c == what })
	if param, ok := strings.CutPrefix(what, "."); ok {
		delete(r.params, param)
	}
	less := maps.Clone(a)
	less[path] = &r
	return less
}

// TestProtocolPolicies: each policy gives what its role's duties call for, no
// more and no less, and without any one grant they cannot be done.
func TestProtocolPolicies(t *testing.T) {
	for name, policy := range readPolicies(t) {
		k := as(t, policy)
		if err := duties[name](t, k); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		k.aboutTokens(t)
		used := map[string]bool{}
		k.Set(func() {
			for _, r := range k.Calls {
				used[r.Rule+" "+r.Capability] = true
				for _, p := range r.Params {
					used[r.Rule+" ."+p] = true
				}
			}
		})
		if got, want := slices.Sorted(maps.Keys(used)), policy.grants(); !slices.Equal(got, want) {
			t.Errorf("%s uses\n%s\nand is granted\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, grant := range policy.grants() {
			if strings.HasPrefix(grant, "auth/") { // then it logs in more often
				continue
			}
			if err := duties[name](t, as(t, policy.without(grant))); !errors.Is(err, kms.ErrDenied) {
				t.Errorf("%s without %q: %v, want ErrDenied", name, grant, err)
			}
		}
	}
}

// aboutTokens has the token renewed, and looked up after a refusal.
func (k kek) aboutTokens(t *testing.T) {
	t.Helper()
	k.Later(50 * time.Minute)
	if _, err := k.Describe(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	k.Set(func() {
		k.Fault = func(r vaulttest.Request) (int, string) {
			if strings.HasPrefix(r.Path, "transit/keys/") {
				return 403, `{"errors":["permission denied"]}`
			}
			return 0, ""
		}
	})
	if _, err := k.Describe(t.Context(), k.id); !errors.Is(err, kms.ErrDenied) {
		t.Fatalf("Describe: %v, want ErrDenied", err)
	}
	k.Set(func() {
		k.Fault = nil
		k.Calls = slices.DeleteFunc(k.Calls, func(r vaulttest.Request) bool { return r.Capability == "" })
	})
}

// TestProtocolPoliciesAreApart: what a role must not be able to do.
func TestProtocolPoliciesAreApart(t *testing.T) {
	for name, policy := range readPolicies(t) {
		may := map[string][]string{
			"worker":   {"Wrap", "Unwrap", "Describe"},
			"operator": {"Describe", "Create", "Disable", "Enable"}, // and no content key
			"approver": {"Describe"},                                // and ScheduleDestruction once it is disabled
			"auditor":  {"Describe"},
		}[name]
		for call := range everyCall(t, kek{}, t.Context()) {
			k := as(t, policy)
			kid := key.NewKID()
			var w []byte
			k.asOwner(t, func(p *vault.Provider) (err error) {
				w, err = p.Wrap(t.Context(), k.id, kid, key.NewContentKey())
				if err == nil && call == "Enable" {
					err = p.Disable(t.Context(), k.id)
				}
				return err
			})
			do := everyCall(t, k, t.Context())[call]
			if call == "Unwrap" {
				do = func() error { _, err := k.Unwrap(t.Context(), k.id, kid, w); return err }
			}
			err := do()
			if want := slices.Contains(may, call); want && err != nil || !want && !errors.Is(err, kms.ErrDenied) {
				t.Errorf("%s: %s: %v; may: %v", name, call, err, want)
			}
			k.Set(func() {
				if k.Keys["kek"] == nil || k.Keys["rekey-destroy.kek"] != nil {
					t.Errorf("%s: %s marked or deleted the KEK", name, call)
				}
			})
		}
	}
}

// TestProtocolDateIsAnothers: a role that may not delete leaves a KEK that is due
// as it is, refuses it, and does not call it back.
func TestProtocolDateIsAnothers(t *testing.T) {
	all := readPolicies(t)
	for _, name := range []string{"worker", "operator", "auditor"} {
		k := as(t, all[name])
		k.scheduled(t, k.id)
		k.Later(31 * 24 * time.Hour)
		d, err := k.Describe(t.Context(), k.id)
		if err != nil || d.State != kms.KEKPending || !d.Destroys.Before(k.Now()) {
			t.Errorf("%s: Describe: %+v, %v", name, d, err)
		}
		if name == "worker" {
			_, err := k.Wrap(t.Context(), k.id, key.NewKID(), key.NewContentKey())
			wantOne(t, name+": Wrap", err, kms.ErrDisabled)
		}
		if name == "operator" {
			wantOne(t, name+": Enable", k.Enable(t.Context(), k.id), kms.ErrDisabled)
		}
		k.Set(func() {
			if k.Keys["kek"] == nil || k.Keys["rekey-destroy.kek"] == nil {
				t.Errorf("%s deleted something", name)
			}
		})
	}
}

// TestPoliciesHoldTheProbe: operators are held to the probe by value.
func TestPoliciesHoldTheProbe(t *testing.T) {
	b, err := os.ReadFile("policies/operator.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), `"associated_data" = ["`); n != 2 {
		t.Errorf("%d values of associated_data, want one each for encrypt and decrypt", n)
	}
}
