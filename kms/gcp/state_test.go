package gcp_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/gcp"
	"github.com/seed-6133abe0/rekey/kms/gcp/gcptest"
)

// TestProtocolOffWhereverAsked: nil from Disable and ScheduleDestruction says
// that no front end of the service lets the KEK be used any more.
func TestProtocolOffWhereverAsked(t *testing.T) {
	for _, spread := range []time.Duration{0, time.Second, time.Minute, 10 * time.Minute} {
		for name, change := range map[string]func(kek) error{
			"Disable":             func(k kek) error { return k.Disable(t.Context(), k.id) },
			"ScheduleDestruction": func(k kek) error { _, err := k.ScheduleDestruction(t.Context(), k.id); return err },
			"Disable after a disable that nobody waited for": func(k kek) error {
				ctx, cancel := context.WithCancel(t.Context())
				impatient := k.open(t, k.addr, func(o *gcp.Options) {
					o.Wait = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
				})
				if err := impatient.Disable(ctx, k.id); !errors.Is(err, context.Canceled) {
					t.Errorf("Disable without waiting: %v", err)
				}
				return k.Disable(t.Context(), k.id)
			},
		} {
			t.Run(name+" "+spread.String(), func(t *testing.T) {
				s := newService()
				s.Spread = spread
				k := newKEK(t, s, nil)
				w := k.wrapped(t, key.KID{}, key.NewContentKey())
				start := k.Clock()
				if err := change(k); err != nil {
					t.Fatal(err)
				}
				if took := k.Clock().Sub(start); took < spread || took > spread+time.Minute {
					t.Errorf("took %s, spreading takes %s", took, spread)
				}
				for range 2 * gcptest.FrontEnds {
					if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, w); !errors.Is(err, kms.ErrDisabled) {
						t.Errorf("Unwrap: %v, want ErrDisabled", err)
					}
				}
			})
		}
	}
}

// TestProtocolStillUsable: the wait has an end, and what it found is said.
func TestProtocolStillUsable(t *testing.T) {
	s := newService()
	s.Spread = 3 * time.Hour
	k := newKEK(t, s, nil)
	start := k.Clock()
	err := k.Disable(t.Context(), k.id)
	wantOne(t, "Disable", err, kms.ErrUnavailable)
	if !strings.Contains(err.Error(), "a use still worked after 15m") {
		t.Errorf("does not say what was seen: %v", err)
	}
	if took := k.Clock().Sub(start); took < 15*time.Minute || took > 16*time.Minute {
		t.Errorf("waited %s, want 15m", took)
	}
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKDisabled {
		t.Errorf("Describe: %+v, %v; want it disabled", d, err)
	}
	_, err = k.ScheduleDestruction(t.Context(), k.id)
	wantOne(t, "ScheduleDestruction", err, kms.ErrUnavailable)
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKPending || d.Destroys.IsZero() {
		t.Errorf("Describe: %+v, %v; want it pending", d, err)
	}
	k.Pass(3 * time.Hour)
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Errorf("Disable again: %v", err)
	}
}

// TestProtocolCalls pins what is called for each change, and in which order.
func TestProtocolCalls(t *testing.T) {
	k := newKEK(t, newService(), nil)
	round := func(calls ...string) []string { return slices.Concat(calls, calls, calls) }
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"Wrap", func() error { _, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey()); return err }, []string{"Encrypt"}},
		{"Describe", func() error { _, err := k.Describe(t.Context(), k.id); return err }, []string{"GetCryptoKeyVersion"}},
		{"Enable", func() error { return k.Enable(t.Context(), k.id) }, []string{"GetCryptoKeyVersion", "Encrypt", "Decrypt"}},
		{"Disable", func() error { return k.Disable(t.Context(), k.id) },
			append([]string{"GetCryptoKeyVersion", "Encrypt", "UpdateCryptoKeyVersion"}, round("GetCryptoKeyVersion", "Encrypt", "Decrypt")...)},
		{"Disable again", func() error { return k.Disable(t.Context(), k.id) },
			append([]string{"GetCryptoKeyVersion", "Encrypt"}, round("GetCryptoKeyVersion", "Encrypt")...)},
		{"ScheduleDestruction", func() error { _, err := k.ScheduleDestruction(t.Context(), k.id); return err },
			append([]string{"GetCryptoKeyVersion", "DestroyCryptoKeyVersion"}, round("GetCryptoKeyVersion", "Encrypt")...)},
		{"Enable from pending", func() error { return k.Enable(t.Context(), k.id) },
			[]string{"GetCryptoKeyVersion", "RestoreCryptoKeyVersion", "UpdateCryptoKeyVersion", "Encrypt", "Decrypt"}},
		{"ScheduleDestruction from enabled", func() error { _, err := k.ScheduleDestruction(t.Context(), k.id); return err },
			append([]string{"GetCryptoKeyVersion", "Encrypt", "UpdateCryptoKeyVersion", "DestroyCryptoKeyVersion"}, round("GetCryptoKeyVersion", "Encrypt", "Decrypt")...)},
		{"Create", func() error { _, err := k.Create(t.Context(), "other"); return err }, []string{"CreateCryptoKey"}},
	} {
		k.Taken()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := k.Taken(); !slices.Equal(got, step.want) {
			t.Errorf("%s calls %q, want %q", step.name, got, step.want)
		}
	}
}

// TestProtocolBearsFaultsWhilePolling: once the change is made, errors that pass
// are waited out.
func TestProtocolBearsFaultsWhilePolling(t *testing.T) {
	k := newKEK(t, newService(), nil)
	fail := func(after string, times int, c codes.Code) {
		armed := false
		k.Set(func() {
			k.Fault = func(_ context.Context, method string) error {
				if method == after {
					armed = true
					return nil
				}
				if armed && times > 0 {
					times--
					return status.Error(c, "try again")
				}
				return nil
			}
		})
	}
	for _, c := range []codes.Code{codes.Unavailable, codes.ResourceExhausted} {
		fail("UpdateCryptoKeyVersion", 5, c)
		if err := k.Disable(t.Context(), k.id); err != nil {
			t.Errorf("Disable through five %s: %v", c, err)
		}
		fail("UpdateCryptoKeyVersion", 5, c)
		if err := k.Enable(t.Context(), k.id); err != nil {
			t.Errorf("Enable through five %s: %v", c, err)
		}
	}
	fail("UpdateCryptoKeyVersion", 1e6, codes.Internal)
	wantOne(t, "Disable through Internal for ever", k.Disable(t.Context(), k.id), kms.ErrUnavailable)
	fail("GetCryptoKeyVersion", 1, codes.PermissionDenied)
	wantOne(t, "Disable denied", k.Disable(t.Context(), k.id), kms.ErrDenied)
}

// TestProtocolFaultIsNoRefusal: a use that failed otherwise shows nothing.
func TestProtocolFaultIsNoRefusal(t *testing.T) {
	for _, failing := range []string{"Encrypt", "Decrypt"} {
		for code, want := range map[codes.Code]error{
			codes.Internal: kms.ErrUnavailable, codes.PermissionDenied: kms.ErrDenied, codes.ResourceExhausted: kms.ErrThrottled,
		} {
			k := newKEK(t, newService(), nil)
			changed := false
			k.Set(func() {
				k.Fault = func(_ context.Context, method string) error {
					changed = changed || method == "UpdateCryptoKeyVersion"
					if changed && method == failing {
						return status.Error(code, "so it is")
					}
					return nil
				}
			})
			wantOne(t, "Disable where "+failing+" is "+code.String(), k.Disable(t.Context(), k.id), want)
		}
	}
}

// TestProtocolEnabledMeanwhile: somebody switches the version on again while its
// uses are still refused; it must not count as off.
func TestProtocolEnabledMeanwhile(t *testing.T) {
	k := newKEK(t, newService(), nil)
	k.Set(func() {
		k.Fault = func(_ context.Context, method string) error {
			var err error
			k.Set(func() {
				v := k.Keys[k.cryptoKey()].Versions[0]
				if method == "GetCryptoKeyVersion" && v.State == kmspb.CryptoKeyVersion_DISABLED {
					v.State = kmspb.CryptoKeyVersion_ENABLED
				}
				if (method == "Encrypt" || method == "Decrypt") && !v.OffSince.IsZero() {
					err = refusal(v.Name, "KEY_DISABLED")
				}
			})
			return err
		}
	})
	wantOne(t, "Disable", k.Disable(t.Context(), k.id), kms.ErrUnavailable)
}

// TestProtocolUseWhileChanging: the service refuses, and then says that the
// version is enabled.
func TestProtocolUseWhileChanging(t *testing.T) {
	k := newKEK(t, newService(), nil)
	k.Set(func() {
		k.Fault = func(_ context.Context, method string) error {
			if method == "Encrypt" || method == "Decrypt" {
				return refusal(k.name(), "KEY_DISABLED")
			}
			return nil
		}
	})
	_, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey())
	wantOne(t, "Wrap", err, kms.ErrUnavailable)
	_, err = k.Unwrap(t.Context(), k.id, key.KID{}, []byte("wrapped"))
	wantOne(t, "Unwrap", err, kms.ErrUnavailable)
	wantOne(t, "Enable", k.Enable(t.Context(), k.id), kms.ErrUnavailable)
}
