package vault_test

import (
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

const day = 24 * time.Hour

func (k kek) schedule(t *testing.T) time.Time {
	t.Helper()
	due, err := k.ScheduleDestruction(t.Context(), k.id)
	if err != nil {
		t.Fatal(err)
	}
	return due
}

// has reports whether the service holds the KEK and its marker.
func (k kek) has() (is, marked bool) {
	k.Set(func() { is, marked = k.Keys["kek"] != nil, k.Keys["rekey-destroy.kek"] != nil })
	return is, marked
}

func TestProtocolDestruction(t *testing.T) {
	k := newKEK(t, newService(t), func(o *vault.Options) { o.DestroyAfter = 10 * day })
	kid := key.NewKID()
	w := k.wrapped(t, kid, key.NewContentKey())
	due := k.schedule(t)
	if in := due.Sub(k.Now()); in > 10*day || in < 10*day-time.Minute {
		t.Errorf("due in %s, want 10 days", in)
	}
	k.Later(day)
	if again := k.schedule(t); !again.Equal(due) {
		t.Errorf("scheduled again: %s, want %s", again, due)
	}
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Errorf("Disable of what is pending: %v", err)
	}
	k.Later(9*day - time.Hour)
	if d := k.wantState(t, kms.KEKPending); !d.Destroys.Equal(due) {
		t.Errorf("destroys at %s, want %s", d.Destroys, due)
	}
	k.Later(2 * time.Hour)
	if d := k.wantState(t, kms.KEKDestroyed); !d.Destroys.Equal(due) {
		t.Errorf("destroyed at %s, want %s", d.Destroys, due)
	}
	if is, marked := k.has(); is || !marked {
		t.Errorf("the KEK is there: %t; its marker: %t", is, marked)
	}
	// It stays known, and its name taken.
	k.wantState(t, kms.KEKDestroyed)
	k.wantUses(t, kid, w, kms.ErrNotFound)
	_, err := k.Create(t.Context(), "kek")
	wantOne(t, "Create", err, kms.ErrExists)
	for name, do := range everyCall(t, k, t.Context()) {
		if name == "Disable" || name == "Enable" || name == "ScheduleDestruction" {
			wantOne(t, name, do(), kms.ErrDisabled)
		}
	}
}

// TestProtocolUseDestroys: a use after the date destroys as well.
func TestProtocolUseDestroys(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	kid := key.NewKID()
	w := k.wrapped(t, kid, key.NewContentKey())
	k.schedule(t)
	k.Later(31 * day)
	_, err := k.Unwrap(t.Context(), k.id, kid, w)
	wantOne(t, "Unwrap", err, kms.ErrDisabled)
	if is, marked := k.has(); is || !marked {
		t.Errorf("the KEK is there: %t; its marker: %t", is, marked)
	}
}

// TestProtocolOwnClock: this machine's clock destroys nothing, and neither does
// a server that tells no time.
func TestProtocolOwnClock(t *testing.T) {
	k := newKEK(t, newService(t), func(o *vault.Options) {
		o.Clock = func() time.Time { return time.Now().Add(100 * 365 * day) }
	})
	k.schedule(t)
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKPending {
		t.Errorf("Describe, a century ahead: %+v, %v", d, err)
	}
	k.Later(31 * day)
	k.Set(func() { k.NoDate = true })
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKPending {
		t.Errorf("Describe without the server's clock: %+v, %v", d, err)
	}
	k.Set(func() { k.NoDate = false })
	k.wantState(t, kms.KEKDestroyed)
}

// TestProtocolMarkers: markers that are not as ScheduleDestruction leaves them.
func TestProtocolMarkers(t *testing.T) {
	t.Run("deleted by hand", func(t *testing.T) {
		k := newKEK(t, newService(t), nil)
		k.schedule(t)
		k.Set(func() { delete(k.Keys, "rekey-destroy.kek") })
		k.Later(100 * day)
		k.wantState(t, kms.KEKDisabled)
		if err := k.Enable(t.Context(), k.id); err != nil {
			t.Errorf("Enable: %v", err)
		}
	})
	t.Run("without a date", func(t *testing.T) {
		k := newKEK(t, newService(t), nil)
		k.schedule(t)
		k.Set(func() { k.Keys["rekey-destroy.kek"].AutoRotate = 0 })
		k.Later(1000 * day)
		if d := k.wantState(t, kms.KEKPending); !d.Destroys.IsZero() {
			t.Errorf("destroys at %s", d.Destroys)
		}
		_, err := k.ScheduleDestruction(t.Context(), k.id)
		wantOne(t, "ScheduleDestruction", err, kms.ErrUnavailable)
		if err := k.Enable(t.Context(), k.id); err != nil {
			t.Errorf("Enable: %v", err)
		}
	})
	// Enable and ScheduleDestruction at the same time can leave a KEK on with a
	// marker. It is on, and what comes does not inherit the date.
	for _, next := range []string{"Disable", "ScheduleDestruction"} {
		t.Run("left behind, then "+next, func(t *testing.T) {
			k := newKEK(t, newService(t), nil)
			k.schedule(t)
			k.Set(func() { k.Keys["kek"].MinDecrypt, k.Keys["kek"].MinEncrypt = 1, 0 })
			k.Later(100 * day)
			k.wantState(t, kms.KEKEnabled)
			if err := everyCall(t, k, t.Context())[next](); err != nil {
				t.Fatal(err)
			}
			want := map[string]kms.KEKState{"Disable": kms.KEKDisabled, "ScheduleDestruction": kms.KEKPending}[next]
			if d := k.wantState(t, want); !d.Destroys.IsZero() && d.Destroys.Before(k.Now().Add(29*day)) {
				t.Errorf("destroys at %s", d.Destroys)
			}
			if is, _ := k.has(); !is {
				t.Error("the KEK is gone")
			}
		})
	}
}

// TestProtocolLoweredMeanwhile: a KEK that is off for encrypting alone is not off.
func TestProtocolLoweredMeanwhile(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	k.disabled(t)
	k.Set(func() {
		k.Fault = func(r vaulttest.Request) (int, string) {
			if r.Path == "transit/keys/rekey-destroy.kek" { // it has looked
				k.Keys["kek"].MinDecrypt = 1
			}
			return 0, ""
		}
	})
	_, err := k.ScheduleDestruction(t.Context(), k.id)
	wantOne(t, "ScheduleDestruction", err, kms.ErrUnavailable)
	if _, marked := k.has(); marked {
		t.Error("it is marked")
	}
}
