package kmstest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

func testTaken(t *testing.T, p, other kms.Provider) {
	first := mustCreate(t, p, "suite-taken")
	for _, q := range []kms.Provider{p, other} {
		if id, err := q.Create(t.Context(), "suite-taken"); !errors.Is(err, kms.ErrExists) || id != "" {
			t.Errorf("Create of a name that is taken: %q, %v; want ErrExists", id, err)
		}
	}
	// The first one stays what it was.
	kid, k := key.NewKID(), key.NewContentKey()
	if got, err := first.unwrap(t.Context(), kid, mustWrap(t, first, kid, k)); err != nil || !got.Equal(k) {
		t.Errorf("the KEK whose name was asked for again: %v", err)
	}
}

func testBadName(t *testing.T, p kms.Provider) {
	for _, name := range []string{"", "Upper", "a b", "a/b", "../a", "a_b", "ä", strings.Repeat("a", 41)} {
		if _, err := p.Create(t.Context(), name); !errors.Is(err, kms.ErrDenied) {
			t.Errorf("Create %q: %v, want ErrDenied", name, err)
		}
	}
}

func testUnknown(t *testing.T, a kek) {
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, a, kid, k)
	scheme := kms.Scheme(a.id)
	for _, id := range []string{"", "other:" + a.id, scheme + ":", scheme + ":../../x", strings.TrimPrefix(a.id, scheme+":"), a.id + "-none"} {
		gone := kek{a.Provider, id}
		_, describeErr := gone.Describe(t.Context(), id)
		_, wrapErr := gone.wrap(t.Context(), kid, k)
		_, unwrapErr := gone.unwrap(t.Context(), kid, w)
		for call, err := range map[string]error{
			"Describe": describeErr, "Wrap": wrapErr, "Unwrap": unwrapErr,
			"Disable": gone.Disable(t.Context(), id), "Enable": gone.Enable(t.Context(), id),
		} {
			if !errors.Is(err, kms.ErrNotFound) {
				t.Errorf("%s of %q: %v, want ErrNotFound", call, id, err)
			}
		}
	}
}

func testDescribe(t *testing.T, a kek) {
	wantState(t, a, kms.KEKEnabled)
	d, err := a.Describe(t.Context(), a.id)
	if err != nil || d.KEK != a.id || d.Name != "suite-a" || !d.Destroys.IsZero() {
		t.Errorf("Describe: %+v, %v", d, err)
	}
}

func wantState(t *testing.T, k kek, want kms.KEKState) {
	t.Helper()
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != want {
		t.Errorf("Describe: %s, %v; want %s", d.State, err, want)
	}
}

// wantOff: no use works, with this client or another.
func wantOff(t *testing.T, k kek, kid key.KID, c key.ContentKey, w []byte) {
	t.Helper()
	got, err := k.unwrap(t.Context(), kid, w)
	checkRefused(t, "switched off", c, got, err)
	if !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("Unwrap: %v, want ErrDisabled", err)
	}
	if _, err := k.wrap(t.Context(), kid, c); !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("Wrap: %v, want ErrDisabled", err)
	}
}

func wantOn(t *testing.T, k kek, kid key.KID, c key.ContentKey, w []byte) {
	t.Helper()
	if got, err := k.unwrap(t.Context(), kid, w); err != nil || !got.Equal(c) {
		t.Errorf("Unwrap of what was wrapped before: another key, or %v", err)
	}
	if got, err := k.unwrap(t.Context(), kid, mustWrap(t, k, kid, c)); err != nil || !got.Equal(c) {
		t.Errorf("Unwrap: another key, or %v", err)
	}
}

func testDisable(t *testing.T, a, again, b kek) {
	kid, c := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, a, kid, c)
	for range 2 { // off and on, each twice, is no error
		for range 2 {
			if err := a.Disable(t.Context(), a.id); err != nil {
				t.Fatalf("Disable: %v", err)
			}
			wantOff(t, a, kid, c, w)
			wantOff(t, again, kid, c, w)
			wantState(t, again, kms.KEKDisabled)
		}
		wantOn(t, b, kid, c, mustWrap(t, b, kid, c)) // the other KEK goes on
		for range 2 {
			if err := again.Enable(t.Context(), a.id); err != nil {
				t.Fatalf("Enable: %v", err)
			}
			wantOn(t, a, kid, c, w)
			wantState(t, a, kms.KEKEnabled)
		}
	}
}

func testDestruction(t *testing.T, k kek, other kms.Provider, later func(time.Duration)) {
	again := kek{other, k.id}
	kid, c := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, k, kid, c)
	schedule := func() time.Time {
		due, err := k.ScheduleDestruction(t.Context(), k.id)
		if err != nil || due.IsZero() {
			t.Fatalf("ScheduleDestruction: %s, %v", due, err)
		}
		wantOff(t, k, kid, c, w)
		wantOff(t, again, kid, c, w)
		d, err := again.Describe(t.Context(), k.id)
		if err != nil || d.State != kms.KEKPending || d.Destroys.Sub(due).Abs() > time.Minute {
			t.Errorf("Describe: %+v, %v; want it pending until %s", d, err, due)
		}
		return due
	}
	schedule()
	if err := again.Enable(t.Context(), k.id); err != nil {
		t.Fatalf("Enable, to call the destruction back: %v", err)
	}
	wantOn(t, k, kid, c, w)
	wantState(t, k, kms.KEKEnabled)
	due := schedule()
	if err := again.Disable(t.Context(), k.id); err != nil {
		t.Errorf("Disable of a KEK that is off already: %v", err)
	}
	wantState(t, again, kms.KEKPending)
	if later == nil {
		return
	}
	later(time.Until(due) + 48*time.Hour)
	d, err := again.Describe(t.Context(), k.id)
	if !(err == nil && d.State == kms.KEKDestroyed || errors.Is(err, kms.ErrNotFound)) {
		t.Errorf("Describe after the date: %+v, %v; want it destroyed", d, err)
	}
	got, err := k.unwrap(t.Context(), kid, w)
	checkRefused(t, "destroyed", c, got, err)
	if !errors.Is(err, kms.ErrDisabled) && !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("Unwrap after the date: %v, want ErrDisabled or ErrNotFound", err)
	}
	if err := k.Enable(t.Context(), k.id); err == nil {
		t.Error("Enable after the date: no error")
	}
}
