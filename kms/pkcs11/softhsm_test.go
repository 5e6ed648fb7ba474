//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/kmstest"
)

// bench is a token of SoftHSM2 and a clock that moves when it is told to.
type bench struct {
	services.SoftHSM
	ahead atomic.Int64 // nanoseconds
}

// newBench makes a token. The module is finalized when the test ends, so that the
// next one can have a token of its own.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{SoftHSM: services.NewSoftHSM(t)}
	t.Cleanup(func() {
		c := p11.New(b.Module)
		if err := c.Finalize(); err != nil && code(err) != p11.CKR_CRYPTOKI_NOT_INITIALIZED {
			t.Errorf("finalize module: %v", err)
		}
	})
	return b
}

func (b *bench) clock() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }

func (b *bench) later(d time.Duration) { b.ahead.Add(int64(d)) }

func (b *bench) options() Options {
	return Options{
		Module: b.Module, Token: b.Token, PINFile: b.PINFile, Clock: b.clock, Polls: 3,
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

func (b *bench) open(t *testing.T) *Provider {
	t.Helper()
	p, err := New(t.Context(), b.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func mustCreate(t *testing.T, p *Provider, name string) string {
	t.Helper()
	kek, err := p.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func mustWrap(t *testing.T, p *Provider, kek string, kid key.KID, k key.ContentKey) []byte {
	t.Helper()
	w, err := p.Wrap(t.Context(), kek, kid, k)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// raw calls do with a session and the KEK's handle in it.
func raw(t *testing.T, p *Provider, kek string, do func(c *p11.Ctx, s p11.SessionHandle, h p11.ObjectHandle)) {
	t.Helper()
	id, err := parseKEK(p.o.Token, kek)
	if err != nil {
		t.Fatal(err)
	}
	err = p.pool.with(t.Context(), func(s p11.SessionHandle) error {
		h, err := p.find(s, id)
		if err != nil {
			return err
		}
		do(p11.New(p.o.Module), s, h)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	b := newBench(t)
	kmstest.Run(t, kmstest.Target{
		Open:  func(t *testing.T) kms.Provider { return b.open(t) },
		Later: b.later,
	})
}

func TestKEKIsSpelledByTokenAndID(t *testing.T) {
	b := newBench(t)
	p := b.open(t)
	kek := mustCreate(t, p, "media-2026")
	const head = "pkcs11:rekey%20test/"
	if digits, ok := strings.CutPrefix(kek, head); !ok || len(digits) != 2*newID {
		t.Errorf("KEK id is %s, want %s and %d hex digits", kek, head, 2*newID)
	}
	// The label may change, the id does not.
	raw(t, p, kek, func(c *p11.Ctx, s p11.SessionHandle, h p11.ObjectHandle) {
		if err := c.SetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_LABEL, "another")}); err != nil {
			t.Fatal(err)
		}
	})
	if d, err := p.Describe(t.Context(), kek); err != nil || d.KEK != kek || d.Name != "another" {
		t.Errorf("Describe: %+v, %v", d, err)
	}
}

// TestDestroyedByUse: a use, too, destroys what is due, in a
// provider that knew nothing of the date.
func TestDestroyedByUse(t *testing.T) {
	b := newBench(t)
	p, other := b.open(t), b.open(t)
	kek := mustCreate(t, p, "doomed")
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, other, kek, kid, k)
	due, err := p.ScheduleDestruction(t.Context(), kek)
	if err != nil {
		t.Fatal(err)
	}
	b.later(time.Hour)
	if again, err := other.ScheduleDestruction(t.Context(), kek); err != nil || !again.Equal(due) {
		t.Errorf("scheduled twice: %s, %v; want it to stay %s", again, err, due)
	}
	if err := other.Disable(t.Context(), kek); err != nil {
		t.Errorf("Disable: %v", err)
	}
	if d, err := other.Describe(t.Context(), kek); err != nil || d.State != kms.KEKPending || !d.Destroys.Equal(due) || d.Name != "doomed" {
		t.Errorf("Describe after Disable: %+v, %v; want it pending still", d, err)
	}
	if _, err := other.Create(t.Context(), "doomed"); !errors.Is(err, kms.ErrExists) {
		t.Errorf("Create with the name of one that is pending: %v, want ErrExists", err)
	}
	b.later(due.Sub(b.clock()) + time.Millisecond)
	if _, err := other.Unwrap(t.Context(), kek, kid, w); !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("the use that destroys: %v, want ErrDisabled", err)
	}
	if _, err := p.Describe(t.Context(), kek); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("Describe: %v, want ErrNotFound", err)
	}
	mustCreate(t, p, "doomed")
}

// TestEnabledByHandIsNotDestroyed: another tool gave the KEK its uses back but
// left the date.
func TestEnabledByHandIsNotDestroyed(t *testing.T) {
	b := newBench(t)
	p := b.open(t)
	kek := mustCreate(t, p, "by-hand")
	due, err := p.ScheduleDestruction(t.Context(), kek)
	if err != nil {
		t.Fatal(err)
	}
	set := func(use uint) {
		raw(t, p, kek, func(c *p11.Ctx, s p11.SessionHandle, h p11.ObjectHandle) {
			if err := c.SetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(use, true)}); err != nil {
				t.Fatal(err)
			}
		})
	}
	set(p11.CKA_DECRYPT)
	b.later(due.Sub(b.clock()) + time.Hour)
	if d, err := p.Describe(t.Context(), kek); err != nil || d.State != kms.KEKDisabled {
		t.Errorf("Describe of one that may decrypt only: %+v, %v; want it disabled", d, err)
	}
	set(p11.CKA_ENCRYPT)
	kid, k := key.NewKID(), key.NewContentKey()
	if got, err := p.Unwrap(t.Context(), kek, kid, mustWrap(t, p, kek, kid, k)); err != nil || !got.Equal(k) {
		t.Errorf("Unwrap: another key, or %v", err)
	}
	if d, err := p.Describe(t.Context(), kek); err != nil || d.State != kms.KEKEnabled || d.Name != "by-hand" || !d.Destroys.IsZero() {
		t.Errorf("Describe: %+v, %v; want it enabled", d, err)
	}
	if err := p.Enable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	if err := p.Disable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	if d, err := p.Describe(t.Context(), kek); err != nil || d.State != kms.KEKDisabled {
		t.Errorf("Describe: %+v, %v; want it disabled, without the old date", d, err)
	}
}

func TestClosedProviderIsDenied(t *testing.T) {
	b := newBench(t)
	p, other := b.open(t), b.open(t)
	kek := mustCreate(t, p, "closed")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Describe(t.Context(), kek); !errors.Is(err, kms.ErrDenied) {
		t.Errorf("Describe: %v, want ErrDenied", err)
	}
	if _, err := other.Describe(t.Context(), kek); err != nil { // still logged in
		t.Errorf("another provider of the process: %v", err)
	}
}

func TestPINIsRefusedOnce(t *testing.T) {
	b := newBench(t)
	o := b.options()
	o.PINFile = filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(o.PINFile, []byte("not-the-pin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(t.Context(), o)
	if !errors.Is(err, kms.ErrDenied) || code(err) != p11.CKR_PIN_INCORRECT {
		t.Errorf("New: %v, want ErrDenied for CKR_PIN_INCORRECT", err)
	}
	if strings.Contains(err.Error(), "not-the-pin") {
		t.Errorf("the error shows the PIN: %v", err)
	}
	b.open(t) // the right one works
}

func TestNewRefuses(t *testing.T) {
	b := newBench(t)
	b.AddToken(t, "twin")
	b.AddToken(t, "twin")
	notModule := filepath.Join(t.TempDir(), "module.so")
	if err := os.WriteFile(notModule, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		set  func(*Options)
		want error
	}{
		{"no such module", func(o *Options) { o.Module = filepath.Join(t.TempDir(), "none.so") }, ErrOptions},
		{"module that is none", func(o *Options) { o.Module = notModule }, ErrOptions},
		{"no such token", func(o *Options) { o.Token = "none" }, kms.ErrUnavailable},
		{"no such serial number", func(o *Options) { o.Serial = "none" }, kms.ErrUnavailable},
		{"two tokens of one label", func(o *Options) { o.Token = "twin" }, kms.ErrDenied},
		{"no such file of the PIN", func(o *Options) { o.PINFile = filepath.Join(t.TempDir(), "none") }, kms.ErrDenied},
	} {
		o := b.options()
		c.set(&o)
		if _, err := New(t.Context(), o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(ctx, b.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSerialPicks opens one of two tokens with one label, by its serial number.
func TestSerialPicks(t *testing.T) {
	b := newBench(t)
	b.AddToken(t, "twin")
	b.AddToken(t, "twin")
	p := b.open(t) // initializes the module
	list, err := p.lib.GetSlotList()
	if err != nil {
		t.Fatal(err)
	}
	var keks []string
	for _, slot := range list {
		info, err := p.lib.GetTokenInfo(slot)
		if err != nil {
			t.Fatal(err)
		}
		if info.Label != "twin" {
			continue
		}
		o := b.options()
		o.Token, o.Serial = "twin", info.SerialNumber
		q, err := New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		keks = append(keks, mustCreate(t, q, "same-name"))
		for _, kek := range keks[:len(keks)-1] {
			if _, err := q.Describe(t.Context(), kek); !errors.Is(err, kms.ErrNotFound) {
				t.Errorf("KEK of the other token: %v, want ErrNotFound", err)
			}
		}
	}
	if len(keks) != 2 {
		t.Errorf("%d tokens, want 2", len(keks))
	}
}
