package aws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
)

// TestOffWhereverAsked: nil from Disable and ScheduleDestruction says that no
// front end that was met lets the KEK be used any more.
func TestOffWhereverAsked(t *testing.T) {
	s := newService(t)
	for _, spread := range []time.Duration{0, time.Second, time.Minute, 5 * time.Minute} {
		for name, change := range map[string]func(kek) error{
			"disable":  func(k kek) error { return k.Disable(t.Context(), k.id) },
			"schedule": func(k kek) error { _, err := k.ScheduleDestruction(t.Context(), k.id); return err },
			"unwaited": func(k kek) error { // a Disable that nobody waited for, and another
				ctx, cancel := context.WithCancel(t.Context())
				impatient := k.open(t, func(o *aws.Options) {
					o.Wait = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
				})
				if err := impatient.Disable(ctx, k.id); !errors.Is(err, context.Canceled) {
					t.Errorf("Disable without waiting: %v", err)
				}
				return k.Disable(t.Context(), k.id)
			},
		} {
			t.Run(name+" "+spread.String(), func(t *testing.T) {
				k := s.kek(t, name+"-"+spread.String())
				kid, c := key.NewKID(), key.NewContentKey()
				w := k.wrapped(t, kid, c)
				s.set(func() { s.spread = spread })
				defer s.set(func() { s.spread = 0 })
				start := k.clock()
				if err := change(k); err != nil {
					t.Fatal(err)
				}
				if took := k.clock().Sub(start); took < spread || took > spread+30*time.Second {
					t.Errorf("took %s, spreading takes %s", took, spread)
				}
				for range 4 {
					if _, err := k.Unwrap(t.Context(), k.id, kid, w); !errors.Is(err, kms.ErrDisabled) {
						t.Errorf("Unwrap: %v, want ErrDisabled", err)
					}
				}
			})
		}
	}
}

// TestOnWhereverAsked: Enable waits for front ends that still refuse.
func TestOnWhereverAsked(t *testing.T) {
	k := newKEK(t)
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	k.set(func() { k.spread = time.Minute })
	if err := k.Enable(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKEnabled {
		t.Errorf("Describe: %+v, %v", d, err)
	}
	// Refused all the while.
	k.faulty(map[string]*answer{"Encrypt": awsError("DisabledException", k.arn()+" is disabled.")})
	start := k.clock()
	err := k.Enable(t.Context(), k.id)
	wantOne(t, "Enable", err, kms.ErrUnavailable)
	if took := k.clock().Sub(start); took < 10*time.Minute || took > 11*time.Minute {
		t.Errorf("waited %s, want 10m", took)
	}
}

// TestStillUsable: the wait has an end, and what it found is said.
func TestStillUsable(t *testing.T) {
	k := newKEK(t)
	k.set(func() { k.spread = time.Hour })
	start := k.clock()
	err := k.Disable(t.Context(), k.id)
	wantOne(t, "Disable", err, kms.ErrUnavailable)
	if !strings.Contains(err.Error(), "a use still worked after 10m") {
		t.Errorf("does not say what was seen: %v", err)
	}
	if took := k.clock().Sub(start); took < 10*time.Minute || took > 11*time.Minute {
		t.Errorf("waited %s, want 10m", took)
	}
	if d, err := k.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKDisabled {
		t.Errorf("Describe: %+v, %v; want it disabled", d, err)
	}
	k.pass(time.Hour)
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Errorf("Disable again: %v", err)
	}
}

// TestDenialProvesNothing: who may not use the KEK has not seen it off.
func TestDenialProvesNothing(t *testing.T) {
	k := newKEK(t)
	off := false
	denied := awsError("AccessDeniedException", "User: x is not authorized to perform: kms:Decrypt")
	for _, action := range []string{"Encrypt", "Decrypt"} {
		off = false
		k.set(func() {
			k.fault = func(r *request) *answer {
				off = off || r.action == "DisableKey"
				if off && r.action == action {
					return denied
				}
				return nil
			}
		})
		wantOne(t, "Disable, and then no "+action, k.Disable(t.Context(), k.id), kms.ErrDenied)
		k.sound()
		if err := k.Enable(t.Context(), k.id); err != nil {
			t.Fatal(err)
		}
	}
	// Denied from the start: nothing is switched.
	k.faulty(map[string]*answer{"Encrypt": denied})
	wantOne(t, "Disable without Encrypt", k.Disable(t.Context(), k.id), kms.ErrDenied)
	_, err := k.ScheduleDestruction(t.Context(), k.id)
	wantOne(t, "ScheduleDestruction without Encrypt", err, kms.ErrDenied)
	if got := k.metadata(k.arn())["KeyState"]; got != "Enabled" {
		t.Errorf("the key is %v", got)
	}
}

// TestChangeDenied: a change is denied however the key stands.
func TestChangeDenied(t *testing.T) {
	k := newKEK(t)
	denied := awsError("AccessDeniedException", "User: x is not authorized")
	k.faulty(map[string]*answer{"DisableKey": denied, "ScheduleKeyDeletion": denied})
	wantOne(t, "Disable", k.Disable(t.Context(), k.id), kms.ErrDenied)
	_, err := k.ScheduleDestruction(t.Context(), k.id)
	wantOne(t, "ScheduleDestruction", err, kms.ErrDenied)
	k.sound()
	if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"CancelKeyDeletion", "EnableKey"} {
		k.faulty(map[string]*answer{action: denied})
		wantOne(t, "Enable without "+action, k.Enable(t.Context(), k.id), kms.ErrDenied)
		if got := k.metadata(k.arn())["KeyState"]; got == "Enabled" {
			t.Errorf("the key is enabled")
		}
	}
}

// TestChangeRefused: the key's state stops a change, and the state says why.
func TestChangeRefused(t *testing.T) {
	k := newKEK(t)
	state := func(s string) *answer {
		return &answer{status: 200, body: `{"KeyMetadata":{"KeyId":"x","KeyState":"` + s + `"}}`}
	}
	invalid := awsError("KMSInvalidStateException", "not now")
	off := awsError("DisabledException", "x is disabled.")
	for _, tt := range []struct {
		name   string
		call   string
		faults map[string]*answer
		want   error
	}{
		{"disable what awaits import", "Disable", map[string]*answer{"DescribeKey": state("PendingImport"), "Encrypt": invalid, "DisableKey": invalid}, kms.ErrDisabled},
		{"disable what was enabled meanwhile", "Disable", map[string]*answer{"DescribeKey": state("Enabled"), "DisableKey": invalid}, kms.ErrUnavailable},
		{"enable what awaits import", "Enable", map[string]*answer{"DescribeKey": state("PendingImport"), "EnableKey": invalid}, kms.ErrDisabled},
		{"enable what is disconnected", "Enable", map[string]*answer{"DescribeKey": state("Unavailable"), "EnableKey": invalid}, kms.ErrUnavailable},
		{"enable what was deleted meanwhile", "Enable", map[string]*answer{"DescribeKey": state("PendingDeletion"), "CancelKeyDeletion": awsError("NotFoundException", "no")}, kms.ErrNotFound},
		{"never known as called back", "Enable", map[string]*answer{"DescribeKey": state("Disabled"), "EnableKey": invalid}, kms.ErrUnavailable},
		{"pending deletion of replicas", "ScheduleDestruction", map[string]*answer{"DescribeKey": state("PendingReplicaDeletion"), "Encrypt": off, "Decrypt": off}, kms.ErrUnavailable},
		{"schedule what is scheduled meanwhile", "ScheduleDestruction", map[string]*answer{"DescribeKey": state("Disabled"), "Encrypt": off, "ScheduleKeyDeletion": invalid}, kms.ErrDisabled},
	} {
		k.faulty(tt.faults)
		wantOne(t, tt.name, everyCall(t, k, "")[tt.call](), tt.want)
	}
}

// TestEnabledMeanwhile: somebody switches the key on again while its uses are
// still refused; it must not count as off.
func TestEnabledMeanwhile(t *testing.T) {
	k := newKEK(t)
	off := awsError("DisabledException", k.arn()+" is disabled.")
	k.faulty(map[string]*answer{
		"Encrypt": off, "Decrypt": off,
		"DescribeKey": {status: 200, body: `{"KeyMetadata":{"KeyId":"x","KeyState":"Enabled"}}`},
	})
	wantOne(t, "Disable", k.Disable(t.Context(), k.id), kms.ErrUnavailable)
}

// TestCalls pins what is called for each change, and in which order.
func TestCalls(t *testing.T) {
	k := newKEK(t)
	round := func(calls ...string) []string { return slices.Concat(calls, calls, calls) }
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"Wrap", func() error { _, err := k.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey()); return err }, []string{"Encrypt"}},
		{"Describe", func() error { _, err := k.Describe(t.Context(), k.id); return err }, []string{"DescribeKey"}},
		{"Enable", func() error { return k.Enable(t.Context(), k.id) }, []string{"DescribeKey", "Encrypt", "Decrypt"}},
		{"Disable", func() error { return k.Disable(t.Context(), k.id) },
			append([]string{"DescribeKey", "Encrypt", "DisableKey"}, round("DescribeKey", "Encrypt", "Decrypt")...)},
		{"Disable again", func() error { return k.Disable(t.Context(), k.id) },
			append([]string{"DescribeKey", "Encrypt"}, round("DescribeKey", "Encrypt")...)},
		{"ScheduleDestruction", func() error { _, err := k.ScheduleDestruction(t.Context(), k.id); return err },
			append([]string{"DescribeKey", "Encrypt", "ScheduleKeyDeletion"}, round("DescribeKey", "Encrypt")...)},
		{"Disable while pending", func() error { return k.Disable(t.Context(), k.id) },
			append([]string{"DescribeKey", "Encrypt"}, round("DescribeKey", "Encrypt")...)},
		{"Enable from pending", func() error { return k.Enable(t.Context(), k.id) },
			[]string{"DescribeKey", "CancelKeyDeletion", "EnableKey", "Encrypt", "Decrypt"}},
		{"ScheduleDestruction from enabled", func() error { _, err := k.ScheduleDestruction(t.Context(), k.id); return err },
			append([]string{"DescribeKey", "Encrypt", "ScheduleKeyDeletion"}, round("DescribeKey", "Encrypt", "Decrypt")...)},
		{"Create", func() error { _, err := k.Create(t.Context(), "other"); return err },
			[]string{"DescribeKey", "CreateKey", "CreateAlias", "Encrypt", "Decrypt"}},
		{"Create again", func() error {
			if _, err := k.Create(t.Context(), "other"); !errors.Is(err, kms.ErrExists) {
				return err
			}
			return nil
		}, []string{"DescribeKey"}},
	} {
		k.taken()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := k.taken(); !slices.Equal(got, step.want) {
			t.Errorf("%s calls %q, want %q", step.name, got, step.want)
		}
	}
}

// TestBearsFaultsWhilePolling: once the change is made, errors that pass are
// waited out.
func TestBearsFaultsWhilePolling(t *testing.T) {
	k := newKEK(t)
	fail := func(after string, times int, with *answer) {
		armed := false
		k.set(func() {
			k.fault = func(r *request) *answer {
				if r.action == after {
					armed = true
					return nil
				}
				if armed && times > 0 {
					times--
					return with
				}
				return nil
			}
		})
	}
	for _, with := range []*answer{awsError("KMSInternalException", ""), awsError("ThrottlingException", "Rate exceeded")} {
		fail("DisableKey", 5, with)
		if err := k.Disable(t.Context(), k.id); err != nil {
			t.Errorf("Disable through faults: %v", err)
		}
		fail("EnableKey", 5, with)
		if err := k.Enable(t.Context(), k.id); err != nil {
			t.Errorf("Enable through faults: %v", err)
		}
	}
	fail("DisableKey", 1e6, awsError("DependencyTimeoutException", ""))
	wantOne(t, "Disable through faults for ever", k.Disable(t.Context(), k.id), kms.ErrUnavailable)
}

// TestWindow: the date is the one asked for, AWS's least where none is.
func TestWindow(t *testing.T) {
	s := newService(t)
	for _, days := range []int{0, 7, 30} {
		k := s.kek(t, fmt.Sprintf("window-%d", days))
		k.Provider = s.open(t, func(o *aws.Options) { o.PendingWindowInDays = days })
		start := k.clock()
		due, err := k.ScheduleDestruction(t.Context(), k.id)
		want := max(days, 7)
		if got := due.Sub(start); err != nil || (got-time.Duration(want)*24*time.Hour).Abs() > 2*time.Hour {
			t.Errorf("%d days: due in %s, %v; want %d days", days, got, err, want)
		}
		again, err := s.open(t, func(o *aws.Options) { o.PendingWindowInDays = 13 }).ScheduleDestruction(t.Context(), k.id)
		if err != nil || !again.Equal(due) {
			t.Errorf("again: %s, %v; want %s as it was", again, err, due)
		}
	}
}
