package aws_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/kms"
)

// first fails the first calls of an action.
func (s *service) first(action string, times int, with *answer) {
	s.set(func() {
		s.fault = func(r *request) *answer {
			if r.action == action && times > 0 {
				times--
				return with
			}
			return nil
		}
	})
}

// TestNewKeyUnseen: AWS may not know a key yet that it has just made.
func TestNewKeyUnseen(t *testing.T) {
	k := newKEK(t)
	unseen := awsError("NotFoundException", "Key 'x' does not exist")
	for _, action := range []string{"CreateAlias", "Encrypt", "Decrypt"} {
		k.first(action, 3, unseen)
		id, err := k.Create(t.Context(), "unseen-"+strings.ToLower(action))
		if err != nil {
			t.Errorf("Create, %s not found three times: %v", action, err)
			continue
		}
		if d, err := k.Describe(t.Context(), id); err != nil || d.State != kms.KEKEnabled {
			t.Errorf("Describe: %+v, %v", d, err)
		}
	}
}

// TestAliasAnswerLost: the alias was made, and nobody heard.
func TestAliasAnswerLost(t *testing.T) {
	k := newKEK(t)
	lost := false
	k.set(func() {
		k.fault = func(r *request) *answer {
			if r.action != "CreateAlias" || lost {
				return nil
			}
			lost = true
			k.set(func() { k.ask(r.action, r.raw) })
			return awsError("KMSInternalException", "")
		}
	})
	id, err := k.Create(t.Context(), "lost")
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if got := k.metadata("alias/rekey-lost")["Arn"]; "aws-kms:"+got.(string) != id {
		t.Errorf("the alias leads to %v, the KEK is %s", got, id)
	}
}

// TestNameTakenMeanwhile: the key that was made in vain does not stay enabled.
func TestNameTakenMeanwhile(t *testing.T) {
	k := newKEK(t)
	if err := k.nameTakenMeanwhile(t, "PendingDeletion"); err != nil {
		t.Error(err)
	}
	if got := k.metadata("alias/rekey-taken")["Arn"]; got != k.arn() {
		t.Errorf("the name leads to %v, not to whose it is", got)
	}
}

// TestPutAway: what was made for a name that could not be given goes, whatever
// stands in the way; where all does, it is named.
func TestPutAway(t *testing.T) {
	k := newKEK(t)
	denied := awsError("AccessDeniedException", "User: x is not authorized")
	unseen := awsError("NotFoundException", "Key 'x' does not exist")
	for _, tt := range []struct {
		name   string
		faults map[string]*answer
		once   bool // each fault
		want   string
	}{
		{"alias-denied", map[string]*answer{"CreateAlias": denied}, false, "PendingDeletion"},
		{"alias-denied-and-unseen", map[string]*answer{"CreateAlias": denied, "ScheduleKeyDeletion": unseen}, true, "PendingDeletion"},
		{"alias-denied-and-faults", map[string]*answer{"CreateAlias": denied, "ScheduleKeyDeletion": awsError("KMSInternalException", "")}, true, "PendingDeletion"},
		{"no-destruction", map[string]*answer{"CreateAlias": denied, "ScheduleKeyDeletion": denied}, false, "Disabled"},
		{"nothing-works", map[string]*answer{"CreateAlias": denied, "ScheduleKeyDeletion": denied, "DisableKey": denied}, false, "Enabled"},
	} {
		var made string
		seen := map[string]bool{}
		k.set(func() {
			k.fault = func(r *request) *answer {
				if r.action == "CreateAlias" {
					made = r.text("TargetKeyId")
				}
				if tt.once && seen[r.action] {
					return nil
				}
				seen[r.action] = true
				return tt.faults[r.action]
			}
		})
		id, err := k.Create(t.Context(), tt.name)
		wantOne(t, tt.name, err, kms.ErrDenied)
		if got := k.metadata(made)["KeyState"]; got != tt.want || id != "" {
			t.Errorf("%s: %q, and the key is %v, want %s", tt.name, id, got, tt.want)
		}
		if named := strings.Contains(err.Error(), made+", made for it, is left enabled"); named != (tt.want == "Enabled") {
			t.Errorf("%s: the error says of the key: %v", tt.name, err)
		}
	}
}

// TestPutAwayAnswerLost: the deletion was scheduled, and nobody heard.
func TestPutAwayAnswerLost(t *testing.T) {
	k := newKEK(t)
	lost := false
	k.set(func() {
		k.fault = func(r *request) *answer {
			switch {
			case r.action == "CreateAlias":
				return awsError("AccessDeniedException", "User: x is not authorized")
			case r.action == "ScheduleKeyDeletion" && !lost:
				lost = true
				k.set(func() { k.ask(r.action, r.raw) })
				return awsError("KMSInternalException", "")
			}
			return nil
		}
	})
	_, err := k.Create(t.Context(), "lost")
	wantOne(t, "Create", err, kms.ErrDenied)
	if !lost || strings.Contains(err.Error(), "left enabled") {
		t.Errorf("the key is pending deletion, and the error says: %v", err)
	}
	if got := k.taken(); slices.Contains(got, "DisableKey") {
		t.Errorf("called %q: nothing was left to disable", got)
	}
}

// TestPutAwayAfterCancellation: the caller goes between the key and its alias.
func TestPutAwayAfterCancellation(t *testing.T) {
	k := newKEK(t)
	ctx, cancel := context.WithCancel(t.Context())
	var made string
	k.set(func() {
		k.fault = func(r *request) *answer {
			if r.action != "CreateAlias" {
				return nil
			}
			made = r.text("TargetKeyId")
			cancel()
			return &answer{err: context.Canceled}
		}
	})
	_, err := k.Create(ctx, "cancelled")
	wantOne(t, "Create", err, context.Canceled)
	if got := k.metadata(made)["KeyState"]; got != "PendingDeletion" {
		t.Errorf("the key is %v", got)
	}
}

// TestMadeButUnusable: the KEK has its name, and the error says its id.
func TestMadeButUnusable(t *testing.T) {
	k := newKEK(t)
	k.faulty(map[string]*answer{"Decrypt": awsError("AccessDeniedException", "User: x is not authorized")})
	_, err := k.Create(t.Context(), "unusable")
	wantOne(t, "Create", err, kms.ErrDenied)
	made, _ := k.metadata("alias/rekey-unusable")["Arn"].(string)
	if made == "" || !strings.Contains(err.Error(), "aws-kms:"+made) {
		t.Errorf("made %q, and the error says: %v", made, err)
	}
}

// TestManyWantOneName: one of them gets it, and nothing else stays enabled.
func TestManyWantOneName(t *testing.T) {
	k := newKEK(t)
	type result struct {
		id  string
		err error
	}
	results := make(chan result)
	const many = 6
	for range many {
		go func() {
			id, err := k.Create(t.Context(), "one")
			results <- result{id, err}
		}()
	}
	var got []string
	for range many {
		if r := <-results; r.err == nil {
			got = append(got, r.id)
		} else if !errors.Is(r.err, kms.ErrExists) {
			t.Errorf("Create: %v", r.err)
		}
	}
	enabled := []string{}
	keys, _ := k.about("ListKeys", map[string]any{})["Keys"].([]any)
	for _, listed := range keys {
		arn, _ := listed.(map[string]any)["KeyArn"].(string)
		if k.metadata(arn)["KeyState"] == "Enabled" {
			enabled = append(enabled, "aws-kms:"+arn)
		}
	}
	slices.Sort(enabled)
	want := append([]string{k.id}, got...)
	slices.Sort(want)
	if len(got) != 1 || !slices.Equal(enabled, want) {
		t.Errorf("made %q; enabled are %q, want %q", got, enabled, want)
	}
}
