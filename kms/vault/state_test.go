package vault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
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
		k.set(func() {
			if f := k.keys["kek"]; f.minDecrypt != wantDecrypt || f.minEncrypt != wantEncrypt || f.latest != wantLatest {
				t.Errorf("floors %d and %d of %d, want %d and %d of %d", f.minDecrypt, f.minEncrypt, f.latest, wantDecrypt, wantEncrypt, wantLatest)
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
	k.set(func() {
		if f := k.keys["kek"]; f.exportable || f.plainBackup || f.deletionAllowed || f.kind != "aes256-gcm96" {
			t.Errorf("made %+v", f)
		}
	})
}

// TestProtocolByHand: what somebody does to a key beside rekey.
func TestProtocolByHand(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *service, k *fakeKey)
		state  kms.KEKState
		uses   error
		enable error // of Enable, after which uses work
	}{
		"rotated":               {func(s *service, k *fakeKey) { k.rotate(s.clock()) }, kms.KEKEnabled, nil, nil},
		"rotated by the server": {func(s *service, k *fakeKey) { k.autoRotate = time.Hour; s.offset += 100 * time.Hour }, kms.KEKEnabled, nil, nil},
		"decryption raised":     {func(s *service, k *fakeKey) { k.rotate(s.clock()); k.minDecrypt = 2 }, kms.KEKDisabled, kms.ErrDisabled, nil},
		"both raised":           {func(s *service, k *fakeKey) { k.rotate(s.clock()); k.minDecrypt, k.minEncrypt = 2, 2 }, kms.KEKDisabled, kms.ErrDisabled, nil},
		"trimmed":               {func(s *service, k *fakeKey) { k.rotate(s.clock()); k.minDecrypt, k.minEncrypt, k.available = 2, 2, 2 }, kms.KEKDestroyed, kms.ErrDisabled, kms.ErrDisabled},
		"soft-deleted":          {func(_ *service, k *fakeKey) { k.softDeleted = true }, kms.KEKDisabled, kms.ErrDisabled, kms.ErrDisabled},
		"deletion allowed":      {func(_ *service, k *fakeKey) { k.deletionAllowed = true }, kms.KEKEnabled, nil, nil},
		"off and to be rotated": {func(s *service, k *fakeKey) {
			k.rotate(s.clock())
			k.minDecrypt, k.minEncrypt, k.autoRotate, k.deletionAllowed = 2, 2, time.Hour, true
			s.offset += 1000 * time.Hour
		}, kms.KEKDisabled, kms.ErrDisabled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKEK(t, newService(t), nil)
			kid := key.NewKID()
			w := k.wrapped(t, kid, key.NewContentKey())
			k.set(func() { tt.change(k.service, k.keys["kek"]) })
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
	k.set(func() { k.keys["kek"].rotate(k.clock()); k.keys["kek"].minEncrypt = 2 })
	_, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey())
	wantOne(t, "Wrap", err, kms.ErrDisabled)
	if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, w); err != nil {
		t.Errorf("Unwrap: %v", err)
	}
}

// TestProtocolOtherKeys: a key of another type is no KEK, and its name is taken.
func TestProtocolOtherKeys(t *testing.T) {
	for name, change := range map[string]func(*fakeKey){
		"type":    func(f *fakeKey) { f.kind = "chacha20-poly1305" },
		"derived": func(f *fakeKey) { f.derived = true },
	} {
		k := newKEK(t, newService(t), nil)
		k.set(func() { change(k.keys["kek"]) })
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
	s.set(func() {
		s.fault = func(r request) (int, string) {
			if r.method == "PUT" && r.path == "transit/keys/raced" {
				_, _ = s.create("raced", nil)
			}
			return 0, ""
		}
	})
	_, err := k.Create(t.Context(), "raced")
	wantOne(t, "raced", err, kms.ErrExists)
	s.set(func() {
		s.fault = func(r request) (int, string) {
			if made := s.keys["open"]; made != nil {
				made.exportable = true
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
	k.set(func() {
		if len(k.keys) != 1 {
			t.Errorf("%d keys, want 1", len(k.keys))
		}
	})
}

// TestProtocolBound: a server that ignores associated_data is given no content
// key.
func TestProtocolBound(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	s.set(func() { s.ignoresAAD = true })
	k.Provider = open(t, s.options(t))
	_, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey())
	wantOne(t, "Wrap", err, kms.ErrDenied)
	if calls := k.taken(); len(calls) != 2 {
		t.Errorf("called %v, want the probe there and back", calls)
	}
	_, err = k.Create(t.Context(), "other")
	wantOne(t, "Create", err, kms.ErrDenied)
	// It is seen once for each Provider.
	s.set(func() { s.ignoresAAD = false })
	k.taken()
	for want := range 2 {
		k.wrapped(t, key.KID{}, key.NewContentKey())
		if calls := k.taken(); want == 0 && len(calls) != 3 || want > 0 && len(calls) != 1 {
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
	if calls := k.taken(); len(calls) != 0 {
		t.Errorf("called %v", calls)
	}
}

// lagging makes the nth use of an operation after a switch off answer as if it
// were on still.
func (k kek) lagging(operation string, on func(n int) bool) {
	n := 0
	k.set(func() {
		k.fault = func(r request) (int, string) {
			if k.keys["kek"].minDecrypt == 1 || r.path != "transit/"+operation+"/kek" {
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
	k.set(func() {
		k.fault = func(r request) (int, string) {
			if !strings.Contains(r.path, "crypt/") {
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
			k.set(func() {
				k.fault = func(request) (int, string) {
					if left--; left < 0 {
						return 403, `{"errors":["permission denied"]}`
					}
					return 0, ""
				}
			})
			finished = everyCall(t, k, t.Context())[name]() == nil
			k.set(func() {
				k.fault = nil
				if on, marked := k.keys["kek"].minDecrypt == 1, k.keys["rekey-destroy.kek"] != nil; on && marked {
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
