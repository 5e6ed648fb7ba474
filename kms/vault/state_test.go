package vault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

// wantUses: uses work, or are refused with an error of the class.
func (k kek) wantUses(t *testing.T, kid key.KID, w []byte, want error) {
	t.Helper()
	_, wrapErr := k.Wrap(t.Context(), k.id, kid, key.NewContentKey())
	_, unwrapErr := k.Unwrap(t.Context(), k.id, kid, w)
	for call, err := range map[string]error{"Wrap": wrapErr, "Unwrap": unwrapErr} {
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", call, err, want)
		}
	}
}

// TestProtocolFloors: off and on are what the package comment says.
func TestProtocolFloors(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	floors := func(wantDecrypt, wantEncrypt, wantLatest int) {
		t.Helper()
		k.Set(func() {
			if f := k.Keys["kek"]; f.MinDecrypt != wantDecrypt || f.MinEncrypt != wantEncrypt || f.Latest != wantLatest {
				t.Errorf("floors %d and %d of %d, want %d and %d of %d", f.MinDecrypt, f.MinEncrypt, f.Latest, wantDecrypt, wantEncrypt, wantLatest)
			}
		})
	}
	floors(1, 0, 1)
	for range 2 {
		if err := k.Disable(t.Context(), k.id); err != nil {
			t.Fatal(err)
		}
		floors(2, 2, 2)
		if err := k.Enable(t.Context(), k.id); err != nil {
			t.Fatal(err)
		}
		floors(1, 0, 2)
	}
	k.Set(func() {
		if f := k.Keys["kek"]; f.Exportable || f.PlainBackup || f.DeletionAllowed || f.Kind != "aes256-gcm96" {
			t.Errorf("made %+v", f)
		}
	})
}

// TestProtocolByHand: what somebody does to a key beside rekey.
func TestProtocolByHand(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *service, k *vaulttest.Key)
		state  kms.KEKState
		uses   error
		enable error // of Enable, after which uses work
	}{
		"rotated":               {func(s *service, k *vaulttest.Key) { k.Rotate(s.Clock()) }, kms.KEKEnabled, nil, nil},
		"rotated by the server": {func(s *service, k *vaulttest.Key) { k.AutoRotate = time.Hour; s.Offset += 100 * time.Hour }, kms.KEKEnabled, nil, nil},
		"decryption raised":     {func(s *service, k *vaulttest.Key) { k.Rotate(s.Clock()); k.MinDecrypt = 2 }, kms.KEKDisabled, kms.ErrDisabled, nil},
		"both raised":           {func(s *service, k *vaulttest.Key) { k.Rotate(s.Clock()); k.MinDecrypt, k.MinEncrypt = 2, 2 }, kms.KEKDisabled, kms.ErrDisabled, nil},
		"trimmed": {func(s *service, k *vaulttest.Key) {
			k.Rotate(s.Clock())
			k.MinDecrypt, k.MinEncrypt, k.Available = 2, 2, 2
		}, kms.KEKDestroyed, kms.ErrDisabled, kms.ErrDisabled},
		"soft-deleted":     {func(_ *service, k *vaulttest.Key) { k.SoftDeleted = true }, kms.KEKDisabled, kms.ErrDisabled, kms.ErrDisabled},
		"deletion allowed": {func(_ *service, k *vaulttest.Key) { k.DeletionAllowed = true }, kms.KEKEnabled, nil, nil},
		"off and to be rotated": {func(s *service, k *vaulttest.Key) {
			k.Rotate(s.Clock())
			k.MinDecrypt, k.MinEncrypt, k.AutoRotate, k.DeletionAllowed = 2, 2, time.Hour, true
			s.Offset += 1000 * time.Hour
		}, kms.KEKDisabled, kms.ErrDisabled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKEK(t, newService(t), nil)
			kid := key.NewKID()
			w := k.wrapped(t, kid, key.NewContentKey())
			k.Set(func() { tt.change(k.service, k.Keys["kek"]) })
			k.wantState(t, tt.state)
			k.wantUses(t, kid, w, tt.uses)
			if err := k.Enable(t.Context(), k.id); !errors.Is(err, tt.enable) {
				t.Errorf("Enable: %v, want %v", err, tt.enable)
			}
			if tt.enable == nil {
				k.wantState(t, kms.KEKEnabled)
				k.wantUses(t, kid, w, nil)
			}
		})
	}
	// Encrypting alone was switched off: reading goes on.
	k := newKEK(t, newService(t), nil)
	w := k.wrapped(t, key.KID{}, key.NewContentKey())
	k.Set(func() { k.Keys["kek"].Rotate(k.Clock()); k.Keys["kek"].MinEncrypt = 2 })
	_, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey())
	wantOne(t, "Wrap", err, kms.ErrDisabled)
	if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, w); err != nil {
		t.Errorf("Unwrap: %v", err)
	}
}

// TestProtocolOtherKeys: a key of another type is no KEK, and its name is taken.
func TestProtocolOtherKeys(t *testing.T) {
	for name, change := range map[string]func(*vaulttest.Key){
		"type":    func(f *vaulttest.Key) { f.Kind = "chacha20-poly1305" },
		"derived": func(f *vaulttest.Key) { f.Derived = true },
	} {
		k := newKEK(t, newService(t), nil)
		k.Set(func() { change(k.Keys["kek"]) })
		all := everyCall(t, k, t.Context())
		for _, call := range []string{"Describe", "Disable", "Enable", "ScheduleDestruction"} {
			wantOne(t, name+": "+call, all[call](), kms.ErrDenied)
		}
		_, err := k.Create(t.Context(), "kek")
		wantOne(t, name+": Create", err, kms.ErrExists)
	}
}

// TestProtocolCreate: names, races, and keys that could leave the server.
func TestProtocolCreate(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	for _, name := range []string{"-", "-a", "a-"} {
		_, err := k.Create(t.Context(), name)
		wantOne(t, name, err, kms.ErrDenied)
	}
	// Another call makes the key after this one looked.
	s.Set(func() {
		s.Fault = func(r vaulttest.Request) (int, string) {
			if r.Method == "PUT" && r.Path == "transit/keys/raced" {
				s.MakeKey("raced")
			}
			return 0, ""
		}
	})
	_, err := k.Create(t.Context(), "raced")
	wantOne(t, "raced", err, kms.ErrExists)
	s.Set(func() {
		s.Fault = func(r vaulttest.Request) (int, string) {
			if made := s.Keys["open"]; made != nil {
				made.Exportable = true
			}
			return 0, ""
		}
	})
	_, err = k.Create(t.Context(), "open")
	wantOne(t, "exportable", err, kms.ErrDenied)
}

// TestProtocolNoUpsert: wrapping under a key that is not there makes none,
// although root may.
func TestProtocolNoUpsert(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	_, err := k.Wrap(t.Context(), k.id+"-none", key.KID{}, key.NewContentKey())
	wantOne(t, "Wrap", err, kms.ErrNotFound)
	k.Set(func() {
		if len(k.Keys) != 1 {
			t.Errorf("%d keys, want 1", len(k.Keys))
		}
	})
}

// TestProtocolBound: a server that ignores associated_data is given no content
// key.
func TestProtocolBound(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	s.Set(func() { s.IgnoresAAD = true })
	k.Provider = open(t, s.options(t))
	_, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey())
	wantOne(t, "Wrap", err, kms.ErrDenied)
	if calls := k.Taken(); len(calls) != 2 {
		t.Errorf("called %v, want the probe there and back", calls)
	}
	_, err = k.Create(t.Context(), "other")
	wantOne(t, "Create", err, kms.ErrDenied)
	// It is seen once for each Provider.
	s.Set(func() { s.IgnoresAAD = false })
	k.Taken()
	for want := range 2 {
		k.wrapped(t, key.KID{}, key.NewContentKey())
		if calls := k.Taken(); want == 0 && len(calls) != 3 || want > 0 && len(calls) != 1 {
			t.Errorf("wrap %d: called %v", want, calls)
		}
	}
}

// TestProtocolOtherMounts: an id leads nowhere but into the mount.
func TestProtocolOtherMounts(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	for _, id := range []string{
		"vault:secret/kek", "vault:transit/../kek", "vault:transit/keys/kek", "vault:transit/kek/config", "vault:transit/", "vault:/kek",
		"vault:transit/rekey-destroy.kek", "vault:transit/kek.", "vault:transit/kek?x", "vault:transit/" + strings.Repeat("a", 101),
	} {
		for name, do := range everyCall(t, kek{k.service, k.Provider, id}, t.Context()) {
			if name != "Create" {
				wantOne(t, name+" "+id, do(), kms.ErrNotFound)
			}
		}
	}
	if calls := k.Taken(); len(calls) != 0 {
		t.Errorf("called %v", calls)
	}
}

// lagging makes the nth use of an operation after a switch off answer as if it
// were on still.
func (k kek) lagging(operation string, on func(n int) bool) {
	n := 0
	k.Set(func() {
		k.Fault = func(r vaulttest.Request) (int, string) {
			if k.Keys["kek"].MinDecrypt == 1 || r.Path != "transit/"+operation+"/kek" {
				return 0, ""
			}
			n++
			switch {
			case !on(n):
				return 0, ""
			case operation == "decrypt": // the forged probe fails for its tag
				return 400, `{"errors":["cipher: message authentication failed"]}`
			default:
				return 200, `{"data":{"ciphertext":"vault:v1:` + strings.Repeat("A", 59) + `=","key_version":1}}`
			}
		}
	})
}

// TestProtocolLag: nodes that still serve what was switched.
func TestProtocolLag(t *testing.T) {
	for _, operation := range []string{"encrypt", "decrypt"} {
		k := newKEK(t, newService(t), func(o *vault.Options) { o.Poll, o.PollFor = time.Second, 20*time.Second })
		last := 0
		k.lagging(operation, func(n int) bool { last = n; return n <= 3 })
		if err := k.Disable(t.Context(), k.id); err != nil {
			t.Errorf("%s: Disable: %v", operation, err)
		}
		if last != 3+3 {
			t.Errorf("%s: %d looks, want 3 that worked and 3 that were refused", operation, last)
		}
		k.lagging(operation, func(n int) bool { return n%3 == 0 }) // three in a row are never refused
		wantOne(t, operation+" by turns: Disable", k.Disable(t.Context(), k.id), kms.ErrUnavailable)
		k.lagging(operation, func(int) bool { return true })
		wantOne(t, operation+": Disable", k.Disable(t.Context(), k.id), kms.ErrUnavailable)
	}
	k := newKEK(t, newService(t), nil)
	k.disabled(t)
	refusals := 3
	k.Set(func() {
		k.Fault = func(r vaulttest.Request) (int, string) {
			if !strings.Contains(r.Path, "crypt/") {
				return 0, ""
			}
			if refusals--; refusals < 0 {
				return 0, ""
			}
			return 400, `{"errors":["no such key version"]}`
		}
	})
	if err := k.Enable(t.Context(), k.id); err != nil {
		t.Errorf("Enable: %v", err)
	}
	refusals = 1 << 30
	wantOne(t, "Enable", k.Enable(t.Context(), k.id), kms.ErrUnavailable)
}

func (k kek) disabled(t *testing.T) {
	t.Helper()
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
}

// TestProtocolInterrupted breaks each call off after each of its requests. The
// KEK then never is on with a date, and no date comes from nowhere.
func TestProtocolInterrupted(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, k kek){
		"ScheduleDestruction": func(*testing.T, kek) {},
		"Disable":             func(*testing.T, kek) {},
		"Enable":              func(t *testing.T, k kek) { k.scheduled(t, k.id) },
	} {
		finished := false
		for n := 0; !finished && n < 40; n++ {
			k := newKEK(t, newService(t), func(o *vault.Options) { o.PollFor, o.Refusals = time.Nanosecond, 1 })
			kid := key.NewKID()
			w := k.wrapped(t, kid, key.NewContentKey())
			start(t, k)
			left := n
			k.Set(func() {
				k.Fault = func(vaulttest.Request) (int, string) {
					if left--; left < 0 {
						return 403, `{"errors":["permission denied"]}`
					}
					return 0, ""
				}
			})
			finished = everyCall(t, k, t.Context())[name]() == nil
			k.Set(func() {
				k.Fault = nil
				if on, marked := k.Keys["kek"].MinDecrypt == 1, k.Keys["rekey-destroy.kek"] != nil; on && marked {
					t.Errorf("%s, broken off after %d: on, with a date", name, n)
				}
			})
			if err := k.Enable(t.Context(), k.id); err != nil {
				t.Errorf("%s, broken off after %d: Enable: %v", name, n, err)
			}
			k.wantUses(t, kid, w, nil)
		}
		if !finished {
			t.Errorf("%s was not done after 40 requests", name)
		}
	}
}
