//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

var classes = []error{
	kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
}

// wantClass wants one class and no other.
func wantClass(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, c := range classes {
		if errors.Is(err, c) != errors.Is(want, c) {
			t.Errorf("%s: %v, want %v alone", what, err, want)
			return
		}
	}
}

// TestFaultsHaveOneClass makes each call of the module fail, for good.
func TestFaultsHaveOneClass(t *testing.T) {
	b := newBench(t)
	p, f := b.faulty(t)
	kek := mustCreate(t, p, "faults")
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, p, kek, kid, k)
	calls := map[string]func() error{
		"Wrap":     func() error { _, err := p.Wrap(t.Context(), kek, kid, k); return err },
		"Unwrap":   func() error { _, err := p.Unwrap(t.Context(), kek, kid, w); return err },
		"Create":   func() error { _, err := p.Create(t.Context(), "another"); return err },
		"Describe": func() error { _, err := p.Describe(t.Context(), kek); return err },
		"Enable":   func() error { return p.Enable(t.Context(), kek) },
		"Disable":  func() error { return p.Disable(t.Context(), kek) },
		"Schedule": func() error { _, err := p.ScheduleDestruction(t.Context(), kek); return err },
	}
	for _, c := range []struct {
		call, fails string
		code        uint
		want        error
	}{
		{"Wrap", "Seal", p11.CKR_KEY_FUNCTION_NOT_PERMITTED, kms.ErrDisabled},
		{"Wrap", "Seal", p11.CKR_KEY_HANDLE_INVALID, kms.ErrNotFound},
		{"Wrap", "Seal", p11.CKR_MECHANISM_INVALID, kms.ErrDenied},
		{"Wrap", "Seal", p11.CKR_MECHANISM_PARAM_INVALID, kms.ErrDenied},
		{"Wrap", "Seal", p11.CKR_GENERAL_ERROR, kms.ErrUnavailable},
		{"Wrap", "Seal", p11.CKR_DEVICE_ERROR, kms.ErrUnavailable},
		{"Wrap", "Seal", p11.CKR_DEVICE_MEMORY, kms.ErrUnavailable},
		{"Wrap", "Seal", p11.CKR_SESSION_HANDLE_INVALID, kms.ErrUnavailable},
		{"Wrap", "Seal", p11.CKR_DEVICE_REMOVED, kms.ErrUnavailable},
		{"Wrap", "Seal", p11.CKR_VENDOR_DEFINED + 7, kms.ErrUnavailable},
		{"Wrap", "Find", p11.CKR_FUNCTION_FAILED, kms.ErrUnavailable},
		{"Wrap", "GetAttributeValue", p11.CKR_OBJECT_HANDLE_INVALID, kms.ErrNotFound},
		{"Unwrap", "Open", p11.CKR_ENCRYPTED_DATA_INVALID, kms.ErrMismatch},
		{"Unwrap", "Open", p11.CKR_ENCRYPTED_DATA_LEN_RANGE, kms.ErrMismatch},
		{"Unwrap", "Open", ckrAEADFailed, kms.ErrMismatch},
		{"Unwrap", "Open", p11.CKR_KEY_FUNCTION_NOT_PERMITTED, kms.ErrDisabled},
		{"Unwrap", "Open", p11.CKR_FUNCTION_FAILED, kms.ErrUnavailable},
		{"Unwrap", "Open", p11.CKR_USER_NOT_LOGGED_IN, kms.ErrUnavailable},
		{"Create", "Generate", p11.CKR_TEMPLATE_INCONSISTENT, kms.ErrDenied},
		{"Create", "Generate", p11.CKR_TOKEN_WRITE_PROTECTED, kms.ErrDenied},
		{"Create", "Generate", p11.CKR_SESSION_READ_ONLY, kms.ErrDenied},
		{"Create", "Generate", p11.CKR_HOST_MEMORY, kms.ErrUnavailable},
		{"Create", "Open", p11.CKR_ENCRYPTED_DATA_INVALID, kms.ErrUnavailable},
		{"Describe", "Find", p11.CKR_TOKEN_NOT_PRESENT, kms.ErrUnavailable},
		{"Disable", "SetAttributeValue", p11.CKR_ATTRIBUTE_READ_ONLY, kms.ErrDenied},
		{"Disable", "SetAttributeValue", p11.CKR_ACTION_PROHIBITED, kms.ErrDenied},
		{"Schedule", "SetAttributeValue", p11.CKR_ATTRIBUTE_VALUE_INVALID, kms.ErrDenied},
		{"Enable", "Seal", p11.CKR_DEVICE_ERROR, kms.ErrUnavailable},
		{"Enable", "Seal", p11.CKR_KEY_FUNCTION_NOT_PERMITTED, kms.ErrUnavailable}, // never seen to work
	} {
		f.fail(c.fails, c.code, c.code, c.code, c.code)
		wantClass(t, c.call+" when "+c.fails+" gives "+p11.Error(c.code).Error(), calls[c.call](), c.want)
		if f.called(c.fails) == 0 {
			t.Errorf("%s does not call %s", c.call, c.fails)
		}
		f.fail("")
	}
	if got, err := p.Unwrap(t.Context(), kek, kid, w); err != nil || !got.Equal(k) {
		t.Errorf("Unwrap once all is well: another key, or %v", err)
	}
	wantKeys(t, p, 1)
}

// wantKeys counts the token's AES keys: a Create that failed leaves none.
func wantKeys(t *testing.T, p *Provider, want int) {
	t.Helper()
	err := p.pool.with(t.Context(), func(s p11.SessionHandle) error {
		all, err := p.lib.Find(s, aesKeys(), maxKeys)
		if len(all) != want {
			t.Errorf("%d keys in the token, want %d", len(all), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVagueErrors: SoftHSM2 says CKR_GENERAL_ERROR of what does not fit, as a
// broken token does of everything.
func TestVagueErrors(t *testing.T) {
	p, f := newBench(t).faulty(t)
	kek := mustCreate(t, p, "vague")
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, p, kek, kid, k)
	const vague = p11.CKR_GENERAL_ERROR
	unwrap := func(w []byte) error { _, err := p.Unwrap(t.Context(), kek, kid, w); return err }

	damaged := append([]byte(nil), w...)
	damaged[20] ^= 1
	f.fail("")
	err := unwrap(damaged)
	wantClass(t, "damaged, the token's own answer", err, kms.ErrMismatch)
	if code(err) != vague {
		t.Errorf("SoftHSM2 says %v, and this test is for CKR_GENERAL_ERROR", err)
	}
	f.fail("Open", vague, vague)
	wantClass(t, "the token is broken", unwrap(w), kms.ErrUnavailable)
	f.fail("Open", vague, p11.CKR_ENCRYPTED_DATA_INVALID)
	wantClass(t, "the token is broken and says that it is the data", unwrap(w), kms.ErrUnavailable)
	f.fail("Open", vague, p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	wantClass(t, "switched off in between", unwrap(w), kms.ErrDisabled)
	f.fail("Open", vague)
	if err := unwrap(w); err != nil {
		t.Errorf("the token failed once: %v", err)
	}
}

// TestSwitchIsSeenOrUnavailable: a token that goes on, or goes on refusing.
func TestSwitchIsSeenOrUnavailable(t *testing.T) {
	p, f := newBench(t).faulty(t)
	kek := mustCreate(t, p, "slow")
	waits := 0
	p.o.Wait = func(context.Context, time.Duration) error { waits++; return nil }
	for _, stuck := range []*stuckToken{{faulty: f, seals: 3}, {faulty: f, opens: 3}} {
		p.lib, waits = stuck, 0
		err := p.Disable(t.Context(), kek)
		wantClass(t, "Disable of a KEK that goes on", err, kms.ErrUnavailable)
		if waits != 2 {
			t.Errorf("%d waits for 3 looks", waits)
		}
	}
	p.lib = &stuckToken{faulty: f, seals: 1, opens: 1}
	if err := p.Disable(t.Context(), kek); err != nil {
		t.Errorf("Disable, seen at the third look: %v", err)
	}
	p.lib = f
	if err := p.Enable(t.Context(), kek); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.after = func(string) { cancel() }
	if err := p.Disable(ctx, kek); !errors.Is(err, context.Canceled) {
		t.Errorf("Disable, cancelled before the proof: %v", err)
	}
	if d, err := p.Describe(t.Context(), kek); err != nil || d.State != kms.KEKDisabled {
		t.Errorf("Describe: %+v, %v; want it disabled", d, err)
	}
}

// TestTokensOwnIVIsKept: some tokens take no IV from outside.
func TestTokensOwnIVIsKept(t *testing.T) {
	p, f := newBench(t).faulty(t)
	kek := mustCreate(t, p, "own-iv")
	kid, k := key.NewKID(), key.NewContentKey()
	f.iv = []byte("twelve bytes")
	w := mustWrap(t, p, kek, kid, k)
	if string(w[1:1+ivSize]) != "twelve bytes" {
		t.Errorf("wrapped under IV %q", w[1:1+ivSize])
	}
	if got, err := p.Unwrap(t.Context(), kek, kid, w); err != nil || !got.Equal(k) {
		t.Errorf("Unwrap: another key, or %v", err)
	}
	f.iv = []byte("not twelve bytes")
	_, err := p.Wrap(t.Context(), kek, kid, k)
	wantClass(t, "Wrap under an IV of 16 bytes", err, kms.ErrDenied)
}

// TestDestructionThatFails is told, and the KEK stays off.
func TestDestructionThatFails(t *testing.T) {
	b := newBench(t)
	p, f := b.faulty(t)
	kek := mustCreate(t, p, "undying")
	due, err := p.ScheduleDestruction(t.Context(), kek)
	if err != nil {
		t.Fatal(err)
	}
	b.later(due.Sub(b.clock()))
	f.fail("DestroyObject", p11.CKR_ACTION_PROHIBITED, p11.CKR_ACTION_PROHIBITED, p11.CKR_ACTION_PROHIBITED, p11.CKR_OBJECT_HANDLE_INVALID)
	_, err = p.Describe(t.Context(), kek)
	wantClass(t, "Describe", err, kms.ErrDenied)
	wantClass(t, "Enable", p.Enable(t.Context(), kek), kms.ErrDenied)
	_, err = p.Wrap(t.Context(), kek, key.NewKID(), key.NewContentKey())
	wantClass(t, "Wrap", err, kms.ErrDisabled)
	if d, err := p.Describe(t.Context(), kek); err != nil || d.State != kms.KEKDestroyed {
		t.Errorf("Describe, when another was faster: %+v, %v", d, err)
	}
}

// TestCreateLosesARace: another KEK got the name while this one was made.
func TestCreateLosesARace(t *testing.T) {
	b := newBench(t)
	p, f := b.faulty(t)
	other := b.open(t)
	f.after = func(call string) {
		f.after = nil
		if _, err := other.Create(t.Context(), "rival"); call != "Generate" || !errors.Is(err, kms.ErrExists) {
			t.Errorf("Create of the rival: %v, want ErrExists", err)
		}
		raw(t, other, mustCreate(t, other, "rival-2"), func(c *p11.Ctx, s p11.SessionHandle, h p11.ObjectHandle) {
			if err := c.SetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_LABEL, "rival")}); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := p.Create(t.Context(), "rival")
	wantClass(t, "Create", err, kms.ErrExists)
	wantKeys(t, p, 1)
}

// TestCreateWantsTheKeyToStay: the token says that it made another key.
func TestCreateWantsTheKeyToStay(t *testing.T) {
	p, f := newBench(t).faulty(t)
	for attribute, lie := range map[uint]byte{
		p11.CKA_LOCAL: 0, p11.CKA_ALWAYS_SENSITIVE: 0, p11.CKA_NEVER_EXTRACTABLE: 0, p11.CKA_EXTRACTABLE: 1,
	} {
		f.attr = func(a *p11.Attribute) {
			if a.Type == attribute {
				a.Value = []byte{lie}
			}
		}
		_, err := p.Create(t.Context(), "loose")
		wantClass(t, "Create", err, kms.ErrDenied)
		wantKeys(t, p, 0)
	}
}

// TestContextMustBeAuthenticated: else a wrapped key could be moved to any KID.
func TestContextMustBeAuthenticated(t *testing.T) {
	p, f := newBench(t).faulty(t)
	kek := mustCreate(t, p, "seeing")
	f.blind = true
	_, err := p.Create(t.Context(), "blind")
	wantClass(t, "Create", err, kms.ErrDenied)
	wantKeys(t, p, 1)
	wantClass(t, "Enable", p.Enable(t.Context(), kek), kms.ErrDenied)
}

// TestCreateSaysWhatItLeaves: the key was made and cannot be destroyed.
func TestCreateSaysWhatItLeaves(t *testing.T) {
	p, f := newBench(t).faulty(t)
	f.plan = map[string][]uint{"Seal": {p11.CKR_DEVICE_ERROR}, "DestroyObject": {p11.CKR_ACTION_PROHIBITED}}
	_, err := p.Create(t.Context(), "left")
	wantClass(t, "Create", err, kms.ErrUnavailable)
	if !strings.Contains(err.Error(), spellKEK(p.o.Token, nil)) || !strings.Contains(err.Error(), "may be left") {
		t.Errorf("%v; want the id of the key that is left", err)
	}
	wantKeys(t, p, 1)
}
