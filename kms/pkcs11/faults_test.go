//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// faulty is a module that fails as it is told to, before the call reaches the
// token.
type faulty struct {
	cryptoki
	mu    sync.Mutex
	plan  map[string][]uint // by call: what its next calls return, CKR_OK for the token's answer
	calls map[string]int
	after func(call string) // runs once the call was answered
	info  func(*p11.TokenInfo)
	iv    []byte // what the token puts in place of an IV
}

func (f *faulty) next(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[call]++
	codes := f.plan[call]
	if len(codes) == 0 {
		return nil
	}
	c := codes[0]
	f.plan[call] = codes[1:]
	if c == p11.CKR_OK {
		return nil
	}
	return p11.Error(c)
}

func (f *faulty) fail(call string, codes ...uint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = map[string][]uint{call: codes}
	f.calls = map[string]int{}
}

func (f *faulty) called(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

func (f *faulty) done(call string) {
	if f.after != nil {
		f.after(call)
	}
}

func (f *faulty) Initialize() error {
	if err := f.next("Initialize"); err != nil {
		return err
	}
	return f.cryptoki.Initialize()
}

func (f *faulty) GetSlotList() ([]uint, error) {
	if err := f.next("GetSlotList"); err != nil {
		return nil, err
	}
	return f.cryptoki.GetSlotList()
}

func (f *faulty) GetTokenInfo(slot uint) (p11.TokenInfo, error) {
	if err := f.next("GetTokenInfo"); err != nil {
		return p11.TokenInfo{}, err
	}
	info, err := f.cryptoki.GetTokenInfo(slot)
	if f.info != nil {
		f.info(&info)
	}
	return info, err
}

func (f *faulty) OpenSession(slot uint) (p11.SessionHandle, error) {
	if err := f.next("OpenSession"); err != nil {
		return 0, err
	}
	return f.cryptoki.OpenSession(slot)
}

func (f *faulty) CloseSession(s p11.SessionHandle) error {
	f.next("CloseSession")
	return f.cryptoki.CloseSession(s)
}

func (f *faulty) Login(s p11.SessionHandle, pin string) error {
	if err := f.next("Login"); err != nil {
		return err
	}
	return f.cryptoki.Login(s, pin)
}

func (f *faulty) Find(s p11.SessionHandle, template []*p11.Attribute, max int) ([]p11.ObjectHandle, error) {
	if err := f.next("Find"); err != nil {
		return nil, err
	}
	return f.cryptoki.Find(s, template, max)
}

func (f *faulty) GetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, a []*p11.Attribute) ([]*p11.Attribute, error) {
	if err := f.next("GetAttributeValue"); err != nil {
		return nil, err
	}
	return f.cryptoki.GetAttributeValue(s, o, a)
}

func (f *faulty) SetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, a []*p11.Attribute) error {
	if err := f.next("SetAttributeValue"); err != nil {
		return err
	}
	defer f.done("SetAttributeValue")
	return f.cryptoki.SetAttributeValue(s, o, a)
}

func (f *faulty) DestroyObject(s p11.SessionHandle, o p11.ObjectHandle) error {
	if err := f.next("DestroyObject"); err != nil {
		return err
	}
	return f.cryptoki.DestroyObject(s, o)
}

func (f *faulty) Generate(s p11.SessionHandle, template []*p11.Attribute) (p11.ObjectHandle, error) {
	if err := f.next("Generate"); err != nil {
		return 0, err
	}
	defer f.done("Generate")
	return f.cryptoki.Generate(s, template)
}

func (f *faulty) Seal(s p11.SessionHandle, o p11.ObjectHandle, iv, aad, plain []byte) ([]byte, []byte, error) {
	if err := f.next("Seal"); err != nil {
		return nil, nil, err
	}
	if f.iv != nil {
		iv = f.iv
	}
	return f.cryptoki.Seal(s, o, iv, aad, plain)
}

func (f *faulty) Open(s p11.SessionHandle, o p11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error) {
	if err := f.next("Open"); err != nil {
		return nil, err
	}
	return f.cryptoki.Open(s, o, iv, aad, sealed)
}

// faultyProvider is a provider of a real token behind a faulty module.
func (b *bench) faulty(t *testing.T) (*Provider, *faulty) {
	t.Helper()
	o, err := b.options().withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := load(o.Module)
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{cryptoki: lib, calls: map[string]int{}}
	p, err := open(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, f
}

var classes = []error{
	kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
}

// wantClass wants one class and no other.
func wantClass(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, c := range classes {
		if errors.Is(err, c) != (c == want) {
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

// TestOpeningFaults makes what opens a session fail.
func TestOpeningFaults(t *testing.T) {
	b := newBench(t)
	o, err := b.options().withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := load(o.Module)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fails string
		code  uint
		want  error
	}{
		{"Initialize", p11.CKR_CANT_LOCK, kms.ErrDenied},
		{"Initialize", p11.CKR_FUNCTION_FAILED, kms.ErrUnavailable},
		{"GetSlotList", p11.CKR_GENERAL_ERROR, kms.ErrUnavailable},
		{"GetTokenInfo", p11.CKR_DEVICE_REMOVED, kms.ErrUnavailable},
		{"OpenSession", p11.CKR_SESSION_COUNT, kms.ErrThrottled},
		{"OpenSession", p11.CKR_TOKEN_NOT_PRESENT, kms.ErrUnavailable},
		{"OpenSession", p11.CKR_TOKEN_WRITE_PROTECTED, kms.ErrDenied},
		{"Login", p11.CKR_PIN_INCORRECT, kms.ErrDenied},
		{"Login", p11.CKR_PIN_LOCKED, kms.ErrDenied},
		{"Login", p11.CKR_USER_PIN_NOT_INITIALIZED, kms.ErrDenied},
		{"Login", p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, kms.ErrDenied},
		{"Login", p11.CKR_DEVICE_ERROR, kms.ErrUnavailable},
	} {
		f := &faulty{cryptoki: lib}
		f.fail(c.fails, c.code, c.code, c.code, c.code)
		_, err := open(t.Context(), f, o)
		wantClass(t, c.fails+" gives "+p11.Error(c.code).Error(), err, c.want)
		if strings.Contains(err.Error(), b.PIN) {
			t.Errorf("the error shows the PIN: %v", err)
		}
		if open, closed := f.called("OpenSession"), f.called("CloseSession"); c.fails == "Login" && open != closed {
			t.Errorf("%s: %d sessions opened, %d closed", c.fails, open, closed)
		}
	}
}

// TestPINIsNotTriedAgain: tokens lock after a few wrong ones.
func TestPINIsNotTriedAgain(t *testing.T) {
	p, f := newBench(t).faulty(t)
	kek := mustCreate(t, p, "pin")
	p.pool.drop()
	f.fail("Login", p11.CKR_PIN_INCORRECT)
	for range 3 {
		_, err := p.Describe(t.Context(), kek)
		wantClass(t, "Describe", err, kms.ErrDenied)
	}
	if n := f.called("Login"); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

// TestPINIsNotTriedWhereItWouldLock: nor by the next process.
func TestPINIsNotTriedWhereItWouldLock(t *testing.T) {
	for _, flag := range []uint{p11.CKF_USER_PIN_FINAL_TRY, p11.CKF_USER_PIN_LOCKED} {
		b := newBench(t)
		o, err := b.options().withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		lib, err := load(o.Module)
		if err != nil {
			t.Fatal(err)
		}
		f := &faulty{cryptoki: lib, info: func(i *p11.TokenInfo) { i.Flags |= flag }}
		f.fail("")
		_, err = open(t.Context(), f, o)
		wantClass(t, "New", err, kms.ErrDenied)
		if n := f.called("Login"); n != 0 {
			t.Errorf("flag %#x: %d logins, want none", flag, n)
		}
		if err := lib.c.Finalize(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostSessionIsReplaced: once, and without the caller seeing it.
func TestLostSessionIsReplaced(t *testing.T) {
	b := newBench(t)
	p, f := b.faulty(t)
	kek := mustCreate(t, p, "lost")
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, p, kek, kid, k)
	for _, c := range []uint{
		p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_DEVICE_REMOVED,
		p11.CKR_CRYPTOKI_NOT_INITIALIZED, p11.CKR_USER_NOT_LOGGED_IN,
	} {
		f.fail("Open", c)
		if got, err := p.Unwrap(t.Context(), kek, kid, w); err != nil || !got.Equal(k) {
			t.Errorf("%v: another key, or %v", p11.Error(c), err)
		}
		if n := f.called("OpenSession"); n != 1 {
			t.Errorf("%v: %d sessions opened, want 1", p11.Error(c), n)
		}
	}
	// No fault made up: the sessions of the whole process are closed, then the
	// module is finalized, by somebody else.
	list, err := p.lib.GetSlotList()
	if err != nil {
		t.Fatal(err)
	}
	lib := p11.New(b.Module)
	for _, slot := range list {
		if err := lib.CloseAllSessions(slot); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"sessions closed", "module finalized"} {
		if got, err := p.Unwrap(t.Context(), kek, kid, w); err != nil || !got.Equal(k) {
			t.Errorf("%s: another key, or %v", what, err)
		}
		if err := lib.Finalize(); err != nil {
			t.Fatal(err)
		}
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
	stuck := &stuckToken{faulty: f}
	p.lib = stuck
	stuck.on = true
	err := p.Disable(t.Context(), kek)
	wantClass(t, "Disable of a KEK that goes on", err, kms.ErrUnavailable)
	stuck.seals = 2 // then the token refuses
	if err := p.Disable(t.Context(), kek); err != nil {
		t.Errorf("Disable, seen at the third look: %v", err)
	}
	stuck.on = false
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

// stuckToken encrypts though it may not: for ever, or seals times.
type stuckToken struct {
	*faulty
	on    bool
	seals int
}

func (s *stuckToken) Seal(h p11.SessionHandle, o p11.ObjectHandle, iv, aad, plain []byte) ([]byte, []byte, error) {
	if s.on {
		if s.seals--; s.seals != 0 {
			return iv, make([]byte, keySize+tagSize), nil
		}
		s.on = false
	}
	return s.faulty.Seal(h, o, iv, aad, plain)
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

// TestCallersWaitForASession: the pool is bounded, and waiting ends with the
// context.
func TestCallersWaitForASession(t *testing.T) {
	p, f := newBench(t).faulty(t)
	p.pool.busy = make(chan struct{}, 1)
	err := p.pool.with(t.Context(), func(p11.SessionHandle) error {
		f.fail("")
		inner, cancel := context.WithCancel(t.Context())
		ctx := &watched{Context: inner, asked: make(chan struct{})}
		waiting := make(chan error, 1)
		go func() { waiting <- p.pool.once(ctx, func(p11.SessionHandle) error { return nil }) }()
		<-ctx.asked
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting, cancelled: %v", err)
		}
		if n := f.called("OpenSession"); n != 0 {
			t.Errorf("%d more sessions opened than there may be", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// watched is a context that tells when somebody begins to wait for its end.
type watched struct {
	context.Context
	asked chan struct{}
	once  sync.Once
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}
