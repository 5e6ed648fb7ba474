package aws_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// duties is all that each role does. Other roles' part is done with other.
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
		k.asOwner(t, func() error { _, err := k.ScheduleDestruction(t.Context(), id); return err })
		if err := k.Enable(t.Context(), id); err != nil {
			return err
		}
		if _, err = k.Describe(t.Context(), id); err != nil {
			return err
		}
		return k.nameTakenMeanwhile(t, "PendingDeletion")
	},
	"approver": func(t *testing.T, k kek) error {
		for range 2 { // the second time it is pending
			if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
				return err
			}
		}
		_, err := k.Describe(t.Context(), k.id)
		return err
	},
	"auditor": func(t *testing.T, k kek) error {
		_, err := k.Describe(t.Context(), k.id)
		return err
	},
}

// asOwner does another role's part, and leaves no trace of calls.
func (k kek) asOwner(t *testing.T, do func() error) {
	t.Helper()
	var calls []string
	var held *policy
	k.set(func() { calls, held, k.policy = k.calls, k.policy, nil })
	if err := do(); err != nil {
		t.Fatal(err)
	}
	k.set(func() { k.calls, k.policy = calls, held })
}

// nameTakenMeanwhile has a name go between the look and the alias, and says where
// the key went that was made for it: an error unless to where it should.
func (k kek) nameTakenMeanwhile(t *testing.T, want string) error {
	t.Helper()
	var made string
	k.set(func() {
		k.fault = func(r *request) *answer {
			if r.action == "CreateAlias" {
				made = r.text("TargetKeyId")
				k.set(func() {
					k.about("CreateAlias", map[string]any{"AliasName": r.text("AliasName"), "TargetKeyId": k.arn()})
				})
			}
			return nil
		}
	})
	defer k.sound()
	id, err := k.Create(t.Context(), "taken")
	if id != "" || !errors.Is(err, kms.ErrExists) {
		return fmt.Errorf("create a KEK whose name is taken meanwhile: %q, %w", id, err)
	}
	if got := k.metadata(made)["KeyState"]; got != want {
		return fmt.Errorf("%w to put away what was made: it is %v, want %s", kms.ErrDenied, got, want)
	}
	return nil
}

// TestRoles: each policy names what its role's duties call for, no more and no
// less, and without any one action they cannot be done.
func TestRoles(t *testing.T) {
	for name, p := range readPolicies(t) {
		duty := duties[name]
		if duty == nil {
			t.Errorf("%s has no duties", name)
			continue
		}
		k := newKEK(t)
		k.set(func() { k.policy = p })
		if err := duty(t, k); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		used := k.taken()
		slices.Sort(used)
		if used = slices.Compact(used); !slices.Equal(used, p.actions()) {
			t.Errorf("%s names %q and calls %q", name, p.actions(), used)
		}
		for _, action := range p.actions() {
			k := newKEK(t)
			k.set(func() { k.policy = p.without(action) })
			if err := duty(t, k); !errors.Is(err, kms.ErrDenied) {
				t.Errorf("%s without %s: %v, want ErrDenied", name, action, err)
			}
		}
	}
}

// TestRolesAreApart: what a role must not be able to do.
func TestRolesAreApart(t *testing.T) {
	policies := readPolicies(t)
	k := newKEK(t)
	for name, may := range map[string]map[string]bool{
		"worker":   {"Wrap": true, "Unwrap": true, "Describe": true},
		"operator": {"Describe": true, "Create": true, "Disable": true, "Enable": true},
		"approver": {"Describe": true, "ScheduleDestruction": true},
		"auditor":  {"Describe": true},
	} {
		for call := range everyCall(t, k, "") {
			k := k.service.kek(t, name+"-"+map[bool]string{true: "may-", false: "not-"}[may[call]]+strings.ToLower(call))
			kid, c := key.NewKID(), key.NewContentKey()
			w := k.wrapped(t, kid, c)
			if call == "Enable" {
				k.asOwner(t, func() error { return k.Disable(t.Context(), k.id) })
			}
			before := k.metadata(k.arn())["KeyState"]
			k.set(func() { k.policy = policies[name] })
			do := everyCall(t, k, "new-"+name)[call]
			if call == "Unwrap" {
				do = func() error { _, err := k.Unwrap(t.Context(), k.id, kid, w); return err }
			}
			err := do()
			k.set(func() { k.policy = nil })
			if may[call] && err != nil || !may[call] && !errors.Is(err, kms.ErrDenied) {
				t.Errorf("%s: %s: %v; may: %v", name, call, err, may[call])
			}
			if after := k.metadata(k.arn())["KeyState"]; !may[call] && after != before {
				t.Errorf("%s: %s made the key %v", name, call, after)
			}
		}
	}
}

// TestContextsAreApart: a policy tells content keys from probes by the encryption
// context alone, so it must hold to all of it.
func TestContextsAreApart(t *testing.T) {
	policies := readPolicies(t)
	k := newKEK(t)
	content := map[string]any{"kid": "00", "purpose": "rekey content key"}
	probe := map[string]any{"purpose": "rekey probe"}
	for _, tt := range []struct {
		name    string
		context map[string]any
		may     []string
	}{
		{"a content key", content, []string{"worker"}},
		{"a probe", probe, []string{"operator", "approver"}},
		{"nothing", nil, nil},
		{"a content key of no KID", map[string]any{"purpose": "rekey content key"}, nil},
		{"another purpose", map[string]any{"kid": "00", "purpose": "backup"}, nil},
		{"a content key and more", map[string]any{"kid": "00", "purpose": "rekey content key", "more": "x"}, nil},
		{"a probe with a KID", map[string]any{"kid": "00", "purpose": "rekey probe"}, nil},
	} {
		for name, p := range policies {
			for _, action := range []string{"Encrypt", "Decrypt"} {
				k.set(func() {
					k.policy = p
					denied := k.denies(&request{action: action, body: map[string]any{"KeyId": k.arn(), "EncryptionContext": tt.context}}) != nil
					k.policy = nil
					if may := slices.Contains(tt.may, name); denied == may {
						t.Errorf("%s: %s of %s: denied %v, want %v", name, action, tt.name, denied, !may)
					}
				})
			}
		}
	}
}

// TestOtherAccounts: no role reaches keys of another account, whoever offers one.
func TestOtherAccounts(t *testing.T) {
	for name, p := range readPolicies(t) {
		for _, action := range p.actions() {
			if action == "CreateKey" {
				continue
			}
			keys := map[string][]string{
				"aws:PrincipalAccount": {"111122223333"}, "aws:ResourceAccount": {"111122223333"},
				"kms:EncryptionContext:purpose": {"rekey probe"}, "kms:EncryptionContextKeys": {"purpose"},
			}
			if name == "worker" {
				keys["kms:EncryptionContext:purpose"], keys["kms:EncryptionContext:kid"] = []string{"rekey content key"}, []string{"00"}
			}
			arn := "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
			if !p.allows(action, arn, keys) {
				t.Errorf("%s: %s of its own account is denied: the test shows nothing", name, action)
			}
			keys["aws:ResourceAccount"] = []string{"999999999999"}
			if p.allows(action, arn, keys) {
				t.Errorf("%s: %s of another account", name, action)
			}
		}
	}
}
