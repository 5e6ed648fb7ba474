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

// TestSessionsAfterErrors: one that may have an operation under way is not used
// again.
func TestSessionsAfterErrors(t *testing.T) {
	p, f := newBench(t).faulty(t)
	kek := mustCreate(t, p, "sessions")
	for c, want := range map[uint]int{
		p11.CKR_GENERAL_ERROR: 1, p11.CKR_OPERATION_ACTIVE: 1, p11.CKR_KEY_FUNCTION_NOT_PERMITTED: 0,
	} {
		f.fail("Seal", c)
		_, err := p.Wrap(t.Context(), kek, key.NewKID(), key.NewContentKey())
		if n := f.called("CloseSession"); code(err) != c || n != want {
			t.Errorf("%v: %v, and %d sessions closed, want %d", p11.Error(c), err, n, want)
		}
	}
}

// TestCloseTakesSessionsInUse once they are given back.
func TestCloseTakesSessionsInUse(t *testing.T) {
	p, f := newBench(t).faulty(t)
	f.fail("")
	err := p.pool.with(t.Context(), func(p11.SessionHandle) error { return p.Close() })
	if n := f.called("CloseSession"); err != nil || n != 1 {
		t.Errorf("%d sessions closed, want 1; %v", n, err)
	}
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
