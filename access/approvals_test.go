package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

func TestApproval(t *testing.T) {
	for a := range needsApproval {
		t.Run(string(a), func(t *testing.T) {
			b := newBench(t)
			alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
			s := subjectFor(t, a)
			id, err := b.apps.Request(t.Context(), alice, a, s, "because")
			if err != nil {
				t.Fatal(err)
			}
			if r := b.wantLast(t, "alice", audit.ApprovalRequest, audit.Allowed); r.Request != id || !strings.Contains(r.Reason, "because") || !strings.Contains(r.Reason, string(a)) {
				t.Errorf("on record: %+v", r)
			}
			_, err = b.apps.Use(t.Context(), alice, id, a, s)
			wantClass(t, "not granted yet", err, ErrApprovalNeeded)
			granted := b.approve(t, bob, id)
			r := b.wantLast(t, "bob", audit.ApprovalGrant, audit.Allowed)
			if r.Request != id || r.Role != "approver" || r.Rotation != s.Rotation || (r.KID == "") != s.KID.IsZero() {
				t.Errorf("on record: %+v", r)
			}
			used, err := b.apps.Use(t.Context(), alice, id, a, s)
			if err != nil {
				t.Fatal(err)
			}
			if used.Request != granted.Request || used.Approver != party(bob) || used.Request.Requester != party(alice) || used.Request.Reason != "because" || string(used.Note()) != string(granted.Note()) {
				t.Errorf("used %+v\ngranted %+v", used, granted)
			}
			if r := b.wantLast(t, "alice", audit.ApprovalUse, audit.Allowed); r.Request != id || !strings.Contains(r.Reason, "bob") {
				t.Errorf("on record: %+v", r)
			}
			_, err = b.apps.Use(t.Context(), alice, id, a, s)
			wantClass(t, "a second time", err, ErrUsed)
			b.wantLast(t, "alice", audit.ApprovalUse, audit.Refused)
		})
	}
}

// TestSignedText: the object alone says to a reader what was approved.
func TestSignedText(t *testing.T) {
	b := newBench(t)
	alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
	a := b.approve(t, bob, b.ask(t, alice))
	text := string(a.Note())
	for _, want := range []string{
		kindDecision + "\n", `"action": "keys.export"`, `"kid": "` + kidA.String(), `"person": "alice"`, `"person": "bob"`,
		alice.ID, bob.ID, a.Nonce, a.Request.ID, `"verdict": "granted"`, a.Expires.Format(time.RFC3339Nano), "\n— test ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the signed text has no %q:\n%s", want, text)
		}
	}
}

// TestWhoApproves goes through who may ask, release and use, role by role.
func TestWhoApproves(t *testing.T) {
	b := newBench(t)
	alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
	people := map[Role]Identity{}
	for _, r := range append(Roles(), Operator|Approver, Approver|Auditor) {
		people[r] = b.identity(t, "p-"+strings.ReplaceAll(r.String(), ",", "-"), r)
	}
	for r, who := range people {
		t.Run(r.String(), func(t *testing.T) {
			asks, releases := r&Operator != 0, r&Approver != 0
			id, err := b.apps.Request(t.Context(), who, KeysExport, Subject{KID: kidA}, "x")
			check(t, "Request", err, asks, ErrForbidden)
			if !asks {
				b.wantLast(t, who.Person, audit.RoleRefuse, audit.Refused)
				id = b.ask(t, alice)
			}
			other := b.ask(t, alice)
			_, err = b.apps.Grant(t.Context(), who, other)
			check(t, "Grant", err, releases, ErrForbidden)
			err = b.apps.Refuse(t.Context(), who, b.ask(t, alice), "no")
			check(t, "Refuse", err, releases, ErrForbidden)
			b.approve(t, bob, id)
			err = b.useIt(t, who, id)
			check(t, "Use", err, asks, ErrForbidden)
		})
	}
	console := b.console(t)
	_, err := b.apps.Request(t.Context(), console, KeysExport, Subject{KID: kidA}, "x")
	wantClass(t, "the console asks", err, ErrForbidden)
	_, err = b.apps.Grant(t.Context(), console, b.ask(t, alice))
	wantClass(t, "the console releases", err, ErrForbidden)
}

func check(t *testing.T, what string, err error, allowed bool, class error) {
	t.Helper()
	if allowed && err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if !allowed {
		wantClass(t, what, err, class)
	}
}

// TestSelfApproval: one person, however many tokens.
func TestSelfApproval(t *testing.T) {
	b := newBench(t)
	both := b.identity(t, "alice", Operator|Approver)
	second := b.identity(t, "ALICE", Approver)
	for name, who := range map[string]Identity{"the same token": both, "a second token": second} {
		id := b.ask(t, both)
		_, err := b.apps.Grant(t.Context(), who, id)
		wantClass(t, name, err, ErrSelfApproval)
		if errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v: only noticed where it was to be signed", name, err)
		}
		b.wantLast(t, "alice", audit.ApprovalGrant, audit.Refused)
		wantClass(t, name+", used", b.useIt(t, both, id), ErrApprovalNeeded)
	}
	// Whoever lies about who they are is looked up.
	id := b.ask(t, both)
	liar := second
	liar.Person = "bob"
	_, err := b.apps.Grant(t.Context(), liar, id)
	wantClass(t, "under another name", err, ErrSelfApproval)
	// The other way round: what one asks for, the other may not use for themself.
	carol := b.identity(t, "carol", Operator)
	b.approve(t, b.identity(t, "bob", Approver), id)
	wantClass(t, "another operator", b.useIt(t, carol, id), ErrMismatch)
	// With a renewed token it is still the person who asked.
	renewed := b.identity(t, "alice", Operator)
	if err := b.useIt(t, renewed, id); err != nil {
		t.Errorf("a renewed token: %v", err)
	}
}

// TestUseIsExact: what is done is what was released, to the letter.
func TestUseIsExact(t *testing.T) {
	b := newBench(t)
	alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
	s := Subject{Object: "backup-7", Digest: strings.Repeat("0f", 32)}
	id, err := b.apps.Request(t.Context(), alice, KeysRestore, s, "disk lost")
	if err != nil {
		t.Fatal(err)
	}
	b.approve(t, bob, id)
	changed := func(f func(*Subject)) Subject { c := s; f(&c); return c }
	tests := []struct {
		name    string
		action  Action
		subject Subject
		class   error
	}{
		{"another action", KeysExport, Subject{KID: kidA}, ErrMismatch},
		{"another digest", KeysRestore, changed(func(c *Subject) { c.Digest = strings.Repeat("f0", 32) }), ErrMismatch},
		{"another name", KeysRestore, changed(func(c *Subject) { c.Object = "backup-8" }), ErrMismatch},
		{"more", KeysRestore, changed(func(c *Subject) { c.KID = kidA }), ErrMismatch},
		{"less", KeysRestore, changed(func(c *Subject) { c.Object = "" }), ErrMismatch},
		{"no digest", KeysRestore, changed(func(c *Subject) { c.Digest = "" }), ErrInvalid},
		{"what needs none", KeysImport, s, ErrInvalid},
		{"what there is not", "keys.reveal", s, ErrForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := b.apps.Use(t.Context(), alice, id, tt.action, tt.subject)
			wantClass(t, "Use", err, tt.class)
			if r := b.last(t); r.Outcome != audit.Refused || r.Actor != "alice" {
				t.Errorf("on record: %+v", r)
			}
		})
	}
	for _, bad := range []string{"", "x", id + "/", "../" + id, strings.ToUpper(id), id[:len(id)-1] + "g"} {
		_, err := b.apps.Use(t.Context(), alice, bad, KeysRestore, s)
		wantClass(t, "id "+bad, err, ErrInvalid)
	}
	_, err = b.apps.Use(t.Context(), alice, id[:len(id)-4]+"0000", KeysRestore, s)
	wantClass(t, "no such request", err, ErrNotFound)
	if _, err := b.apps.Use(t.Context(), alice, id, KeysRestore, s); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestRequestRefuses(t *testing.T) {
	b := newBench(t)
	alice := b.identity(t, "alice", Operator)
	tests := []struct {
		name    string
		action  Action
		subject Subject
		reason  string
		class   error
	}{
		{"no reason", KeysExport, Subject{KID: kidA}, "", ErrInvalid},
		{"reason of two lines", KeysExport, Subject{KID: kidA}, "a\nb", ErrInvalid},
		{"reason of great length", KeysExport, Subject{KID: kidA}, strings.Repeat("a", maxReason+1), ErrInvalid},
		{"no subject", KeysExport, Subject{}, "x", ErrInvalid},
		{"another's subject", KeysExport, Subject{Rotation: "r1"}, "x", ErrInvalid},
		{"digest of upper case", KeysRestore, Subject{Digest: strings.Repeat("0F", 32)}, "x", ErrInvalid},
		{"digest that is short", KeysRestore, Subject{Digest: "0f"}, "x", ErrInvalid},
		{"rotation of two lines", RotationPurge, Subject{Rotation: "r1\nr2"}, "x", ErrInvalid},
		{"asset of great length", RotationInPlace, Subject{Asset: strings.Repeat("a", maxField+1)}, "x", ErrInvalid},
		{"what needs none", KeysImport, Subject{KID: kidA}, "x", ErrInvalid},
		{"what there is not", "keys.reveal", Subject{KID: kidA}, "x", ErrForbidden},
		{"what is another role's", WorkerUnwrap, Subject{KID: kidA}, "x", ErrForbidden},
	}
	before := b.objects(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := b.apps.Request(t.Context(), alice, tt.action, tt.subject, tt.reason)
			wantClass(t, "Request", err, tt.class)
			if id != "" {
				t.Error("there is a request")
			}
			if r := b.last(t); r.Outcome != audit.Refused || len(r.Reason) > 1000 {
				t.Errorf("on record: %+v", r)
			}
		})
	}
	wantSameObjects(t, before, b.objects(t))
}

func TestTime(t *testing.T) {
	b := newBench(t)
	alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
	id := b.ask(t, alice)
	b.later(24*time.Hour - time.Second)
	granted := b.approve(t, bob, id)
	if granted.Expires.Sub(granted.Time) != time.Hour {
		t.Errorf("the approval lives for %s", granted.Expires.Sub(granted.Time))
	}
	b.later(time.Hour - time.Second)
	if err := b.useIt(t, alice, id); err != nil {
		t.Errorf("a second before it ends: %v", err)
	}
	id = b.ask(t, alice)
	b.later(24 * time.Hour)
	_, err := b.apps.Grant(t.Context(), bob, id)
	wantClass(t, "a request of a day ago", err, ErrLapsed)
	b.wantLast(t, "bob", audit.ApprovalGrant, audit.Refused)
	id = b.ask(t, alice)
	b.approve(t, bob, id)
	b.later(time.Hour)
	wantClass(t, "an approval of an hour ago", b.useIt(t, alice, id), ErrLapsed)
	b.apps = NewApprovals(b.ids, ApprovalOptions{RequestLife: time.Minute, ApprovalLife: time.Second})
	id = b.ask(t, alice)
	b.approve(t, bob, id)
	b.later(time.Second)
	wantClass(t, "an approval of a second ago", b.useIt(t, alice, id), ErrLapsed)
	long := NewApprovals(b.ids, ApprovalOptions{RequestLife: 1e6 * time.Hour, ApprovalLife: 1e6 * time.Hour})
	if long.life != (ApprovalOptions{MaxRequestLife, MaxApprovalLife}) {
		t.Errorf("lives are not bounded: %+v", long.life)
	}
}

// TestApproverAtUse: whoever approved must still be able to when it is used.
func TestApproverAtUse(t *testing.T) {
	b := newBench(t)
	alice := b.identity(t, "alice", Operator)
	bob := b.identity(t, "bob", Approver)
	id := b.ask(t, alice)
	b.approve(t, bob, id)
	if err := b.ids.Revoke(t.Context(), b.console(t), bob.ID, "left"); err != nil {
		t.Fatal(err)
	}
	err := b.useIt(t, alice, id)
	wantClass(t, "revoked approver", err, ErrApprover)
	if isOneOf(err, ErrRevoked, ErrExpired, ErrUnauthenticated) {
		t.Errorf("%v reads as if alice's token were meant", err)
	}
	b.wantLast(t, "alice", audit.ApprovalUse, audit.Refused)
	_, err = b.apps.Grant(t.Context(), bob, b.ask(t, alice))
	wantClass(t, "a revoked approver approves", err, ErrRevoked)

	_, carol, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "carol", Roles: Approver, Expires: b.clock().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	id = b.ask(t, alice)
	b.approve(t, carol, id)
	b.later(time.Minute)
	wantClass(t, "expired approver", b.useIt(t, alice, id), ErrApprover)
	_, err = b.apps.Grant(t.Context(), carol, b.ask(t, alice))
	wantClass(t, "an expired approver approves", err, ErrExpired)

	id = b.ask(t, alice)
	b.approve(t, b.identity(t, "dan", Approver), id)
	if err := b.ids.Revoke(t.Context(), b.console(t), alice.ID, ""); err != nil {
		t.Fatal(err)
	}
	wantClass(t, "revoked requester", b.useIt(t, alice, id), ErrRevoked)
	_, err = b.apps.Request(t.Context(), alice, KeysExport, Subject{KID: kidA}, "x")
	wantClass(t, "a revoked requester asks", err, ErrRevoked)
}

func TestRefuseAndWithdraw(t *testing.T) {
	b := newBench(t)
	alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
	id := b.ask(t, alice)
	wantClass(t, "a reason of two lines", b.apps.Refuse(t.Context(), bob, id, "a\nb"), ErrInvalid)
	if err := b.apps.Refuse(t.Context(), bob, id, "no need"); err != nil {
		t.Fatal(err)
	}
	if r := b.wantLast(t, "bob", audit.ApprovalRefuse, audit.Allowed); !strings.Contains(r.Reason, "no need") {
		t.Errorf("on record: %+v", r)
	}
	wantClass(t, "used", b.useIt(t, alice, id), ErrRefused)
	_, err := b.apps.Grant(t.Context(), b.identity(t, "carol", Approver), id)
	wantClass(t, "granted after all", err, ErrDecided)
	wantClass(t, "refused again", b.apps.Refuse(t.Context(), bob, id, "no"), ErrDecided)

	id = b.ask(t, alice)
	if err := b.apps.Refuse(t.Context(), alice, id, "not needed any more"); err != nil {
		t.Errorf("withdraw: %v", err)
	}
	wantClass(t, "withdrawn, used", b.useIt(t, alice, id), ErrRefused)
	id = b.ask(t, alice)
	b.approve(t, bob, id)
	wantClass(t, "refused after it was granted", b.apps.Refuse(t.Context(), bob, id, "no"), ErrDecided)
	if err := b.useIt(t, alice, id); err != nil {
		t.Errorf("granted once: %v", err)
	}
}

func TestRecent(t *testing.T) {
	b := newBench(t)
	alice, bob := b.identity(t, "alice", Operator), b.identity(t, "bob", Approver)
	want := map[string]Standing{}
	lapsed := b.ask(t, alice)
	stale := b.ask(t, alice)
	b.approve(t, bob, stale)
	b.later(24 * time.Hour)
	want[lapsed], want[stale] = StandingLapsed, StandingLapsed
	open, granted, used, refused := b.ask(t, alice), b.ask(t, alice), b.ask(t, alice), b.ask(t, alice)
	b.approve(t, bob, granted)
	b.approve(t, bob, used)
	if err := b.useIt(t, alice, used); err != nil {
		t.Fatal(err)
	}
	if err := b.apps.Refuse(t.Context(), bob, refused, ""); err != nil {
		t.Fatal(err)
	}
	want[open], want[granted], want[used], want[refused] = StandingOpen, StandingGranted, StandingUsed, StandingRefused
	forgery := b.ask(t, alice)
	b.writeObject(t, approvalObject(forgery, requestObject), []byte("rubbish"))
	broken, last := 0, ""
	for s, err := range b.apps.Recent(t.Context()) {
		if err != nil {
			wantClass(t, "Recent", err, ErrCorrupt)
			broken++
			continue
		}
		id := s.Request.ID
		if want[id] != s.Standing || id[:15] < last {
			t.Errorf("%s is %s, want %s", id, s.Standing, want[id])
		}
		if got, err := b.apps.Get(t.Context(), id); err != nil || got.Standing != s.Standing {
			t.Errorf("Get: %v, %v", got.Standing, err)
		}
		if (s.Decision == nil) != (s.Standing == StandingOpen || id == lapsed) {
			t.Errorf("%s: decision %v", s.Standing, s.Decision)
		}
		delete(want, id)
		last = id[:15]
	}
	if len(want) != 0 || broken != 1 {
		t.Errorf("not listed: %v; %d broken", want, broken)
	}
	b.later(MaxRequestLife + MaxApprovalLife + 24*time.Hour)
	for s, err := range b.apps.Recent(t.Context()) {
		t.Errorf("long after: %+v, %v", s, err)
	}
	if s, err := b.apps.Get(t.Context(), used); err != nil || s.Standing != StandingUsed {
		t.Errorf("long after: %v, %v", s.Standing, err)
	}
	if _, err := json.Marshal(Status{}); err != nil {
		t.Error(err)
	}
}

// crowded is a store that lists n requests of today besides what it has.
type crowded struct {
	store.Store
	day string
	n   int
}

func (c crowded) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for n := range c.n {
			id := fmt.Sprintf("%sT000000Z-%016x", c.day, n)
			if name := approvalObject(id, requestObject); strings.HasPrefix(name, prefix) && !yield(store.Info{Key: name}, nil) {
				return
			}
		}
		c.Store.List(ctx, prefix)(yield)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	b := newBench(t)
	alice := b.identity(t, "alice", Operator)
	o := b.ids.o
	for n, class := range map[int]error{MaxRequests - 100: nil, MaxRequests: ErrFull} {
		o.Store = crowded{b.store, dayOf(b.clock()), n}
		_, err := NewApprovals(NewIdentities(o), ApprovalOptions{}).Request(t.Context(), alice, KeysExport, Subject{KID: kidA}, "x")
		if !errors.Is(err, class) {
			t.Errorf("with %d others: %v, want %v", n, err, class)
		}
		outcome := map[bool]string{true: audit.Allowed, false: audit.Refused}[class == nil]
		b.wantLast(t, "alice", audit.ApprovalRequest, outcome)
	}
}

// TestRaces: of two approvers at once one decides, of many uses at once one wins.
func TestRaces(t *testing.T) {
	b := newBench(t)
	alice := b.identity(t, "alice", Operator)
	var approvers []Identity
	for n := range 8 {
		approvers = append(approvers, b.identity(t, fmt.Sprintf("bob%d", n), Approver))
	}
	_, other := b.process(t, b.skey)
	for range 5 {
		id := b.ask(t, alice)
		decided := atOnce(t, len(approvers), ErrDecided, func(n int) error {
			apps := []*Approvals{b.apps, other}[n%2]
			if n%4 == 3 {
				return apps.Refuse(t.Context(), approvers[n], id, "no")
			}
			_, err := apps.Grant(t.Context(), approvers[n], id)
			return err
		})
		s, err := b.apps.Get(t.Context(), id)
		if err != nil || s.Decision == nil || s.Decision.Approver != party(approvers[decided]) {
			t.Fatalf("%d decided, but it is %+v, %v", decided, s, err)
		}
		if s.Standing == StandingRefused {
			id = b.ask(t, alice)
			b.approve(t, approvers[0], id)
		}
		atOnce(t, 8, ErrUsed, func(n int) error {
			_, err := []*Approvals{b.apps, other}[n%2].Use(t.Context(), alice, id, KeysExport, Subject{KID: kidA})
			return err
		})
	}
}

// atOnce runs f n times at once, of which one succeeds and all others are of the
// class, and returns which one.
func atOnce(t *testing.T, n int, class error, f func(n int) error) int {
	t.Helper()
	begin := make(chan struct{})
	errs := make([]error, n)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			<-begin
			errs[k] = f(k)
		})
	}
	close(begin)
	wg.Wait()
	winner := -1
	for k, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("%d and %d both won", winner, k)
		case err == nil:
			winner = k
		case !errors.Is(err, class):
			t.Fatalf("%d: %v, want %v", k, err, class)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	return winner
}
