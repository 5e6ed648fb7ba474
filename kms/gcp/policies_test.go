package gcp_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// permissions says which IAM permission each call needs
// (https://cloud.google.com/kms/docs/reference/permissions-and-roles).
var permissions = map[string]string{
	"CreateCryptoKey":         "cloudkms.cryptoKeys.create",
	"Decrypt":                 "cloudkms.cryptoKeyVersions.useToDecrypt",
	"DestroyCryptoKeyVersion": "cloudkms.cryptoKeyVersions.destroy",
	"Encrypt":                 "cloudkms.cryptoKeyVersions.useToEncrypt",
	"GetCryptoKeyVersion":     "cloudkms.cryptoKeyVersions.get",
	"RestoreCryptoKeyVersion": "cloudkms.cryptoKeyVersions.restore",
	"UpdateCryptoKeyVersion":  "cloudkms.cryptoKeyVersions.update",
}

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
		k.disabled(t, k.id)
		if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
			return err
		}
		if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
			return err
		}
		_, err := k.Describe(t.Context(), k.id)
		return err
	},
	"auditor": func(t *testing.T, k kek) error {
		_, err := k.Describe(t.Context(), k.id)
		return err
	},
}

// asOwner does what another role has done before, and leaves no trace of calls.
func (k kek) asOwner(t *testing.T, do func() error) {
	t.Helper()
	var calls, allowed []string
	k.Set(func() { calls, allowed, k.Allowed = k.Calls, k.Allowed, nil })
	if err := do(); err != nil {
		t.Fatal(err)
	}
	k.Set(func() { k.Calls, k.Allowed = calls, allowed })
}

func (k kek) disabled(t *testing.T, id string) {
	t.Helper()
	k.asOwner(t, func() error { return k.Disable(t.Context(), id) })
}

func (k kek) scheduled(t *testing.T, id string) {
	t.Helper()
	k.asOwner(t, func() error { _, err := k.ScheduleDestruction(t.Context(), id); return err })
}

type role struct {
	Title               string   `yaml:"title"`
	Description         string   `yaml:"description"`
	Stage               string   `yaml:"stage"`
	IncludedPermissions []string `yaml:"includedPermissions"`
}

func readRoles(t *testing.T) map[string]role {
	t.Helper()
	files, err := filepath.Glob("policies/*.yaml")
	if err != nil || len(files) != len(duties) {
		t.Fatalf("%d roles in policies, %v; want %d", len(files), err, len(duties))
	}
	roles := map[string]role{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r role
		d := yaml.NewDecoder(bytes.NewReader(b))
		d.KnownFields(true)
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if r.Title == "" || r.Description == "" || len(r.Description) > 256 || r.Stage != "GA" {
			t.Errorf("%s: %+v", file, r)
		}
		roles[strings.TrimSuffix(filepath.Base(file), ".yaml")] = r
	}
	return roles
}

// TestProtocolRoles: each role holds what its duties call for, no more and no
// less, and without any one permission they cannot be done.
func TestProtocolRoles(t *testing.T) {
	for name, r := range readRoles(t) {
		duty := duties[name]
		if duty == nil {
			t.Errorf("%s has no duties", name)
			continue
		}
		k := newKEK(t, newService(), nil)
		k.Set(func() { k.Allowed = r.IncludedPermissions })
		if err := duty(t, k); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var used []string
		for _, method := range k.Taken() {
			if p := permissions[method]; p == "" {
				t.Errorf("%s calls %s, whose permission is not known", name, method)
			} else if !slices.Contains(used, p) {
				used = append(used, p)
			}
		}
		slices.Sort(used)
		if !slices.Equal(used, r.IncludedPermissions) {
			t.Errorf("%s holds %q and uses %q", name, r.IncludedPermissions, used)
		}
		for i, without := range r.IncludedPermissions {
			k := newKEK(t, newService(), nil)
			k.Set(func() { k.Allowed = slices.Delete(slices.Clone(r.IncludedPermissions), i, i+1) })
			if err := duty(t, k); !errors.Is(err, kms.ErrDenied) {
				t.Errorf("%s without %s: %v, want ErrDenied", name, without, err)
			}
		}
	}
}

// TestProtocolRolesAreApart: what a role must not be able to do.
func TestProtocolRolesAreApart(t *testing.T) {
	roles := readRoles(t)
	for name, may := range map[string]map[string]bool{
		"worker":   {"Wrap": true, "Unwrap": true, "Describe": true},
		"operator": {"Wrap": true, "Unwrap": true, "Describe": true, "Create": true, "Disable": true, "Enable": true},
		"approver": {"Wrap": true, "Describe": true}, // and ScheduleDestruction once it is disabled
		"auditor":  {"Describe": true},
	} {
		for call := range everyCall(t, kek{}, t.Context()) {
			k := newKEK(t, newService(), nil)
			w := k.wrapped(t, key.KID{}, key.NewContentKey())
			if call == "Enable" {
				k.disabled(t, k.id)
			}
			k.Set(func() { k.Allowed = roles[name].IncludedPermissions })
			do := map[string]func() error{
				"Wrap":   func() error { _, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey()); return err },
				"Unwrap": func() error { _, err := k.Unwrap(t.Context(), k.id, key.KID{}, w); return err },
			}[call]
			if do == nil {
				do = everyCall(t, k, t.Context())[call]
			}
			err := do()
			if may[call] && err != nil || !may[call] && !errors.Is(err, kms.ErrDenied) {
				t.Errorf("%s: %s: %v; may: %v", name, call, err, may[call])
			}
			// Whoever may not destroy has destroyed nothing.
			if !k.Keys[k.cryptoKey()].Versions[0].Destroys.IsZero() {
				t.Errorf("%s: %s scheduled a destruction", name, call)
			}
		}
	}
}
