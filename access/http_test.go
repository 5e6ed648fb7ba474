package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// served is a handler that says who asks.
func served() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := CallerFrom(r.Context())
		a, approved := ApprovalFrom(r.Context())
		fmt.Fprintf(w, "%v %s %s %s %v %s", ok, c.Person, c.Role, c.Origin, approved, a.Request.ID)
	})
}

// send makes a request from an address of its own to a handler.
func send(t *testing.T, h http.Handler, token string, change ...func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://rekey.example/x", strings.NewReader("{}"))
	r.RemoteAddr = "192.0.2.7:4711"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGuardKeepsTheTable sends every role to every action.
func TestGuardKeepsTheTable(t *testing.T) {
	b := newBench(t)
	_, bob := b.grant(t, "bob", Approver)
	for _, role := range Roles() {
		token, id := b.grant(t, "p-"+role.String(), role)
		for _, a := range Actions() {
			_, want := role.Allows(a)
			what := fmt.Sprintf("%s to %s", a, role)
			res := send(t, Guard(b.ids, a, served()), token)
			if NeedsApproval(a) {
				if res.StatusCode != http.StatusForbidden {
					t.Errorf("%s without a second person: %s", what, res.Status)
				}
				if want {
					res = b.sendApproved(t, id, bob, a, token)
				}
			}
			switch {
			case want && (res.StatusCode != http.StatusOK || !strings.HasPrefix(body(t, res), fmt.Sprintf("true %s %s 192.0.2.7 %v ", id.Person, role, NeedsApproval(a)))):
				t.Errorf("%s: %s", what, res.Status)
			case !want && res.StatusCode != http.StatusForbidden:
				t.Errorf("%s: %s", what, res.Status)
			case !want:
				r := b.wantLast(t, id.Person, audit.RoleRefuse, audit.Refused)
				if r.Object != string(a) || r.Origin != "192.0.2.7" || r.Client != id.ID || r.Role != role.String() {
					t.Errorf("%s: on record: %+v", what, r)
				}
			}
		}
	}
}

func (b *bench) guarded(t *testing.T, a Action) http.Handler {
	t.Helper()
	s := subjectFor(t, a)
	return b.apps.Guard(Deed{Action: a, Subject: func(*http.Request) (Subject, error) { return s, nil }}, served())
}

func (b *bench) sendApproved(t *testing.T, by, approver Identity, a Action, token string) *http.Response {
	t.Helper()
	id, err := b.apps.Request(t.Context(), by, a, subjectFor(t, a), "x")
	if err != nil {
		t.Fatal(err)
	}
	b.approve(t, approver, id)
	return send(t, b.guarded(t, a), token, with(ApprovalHeader, id))
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestApprovalsGuard(t *testing.T) {
	b := newBench(t)
	token, alice := b.grant(t, "alice", Operator)
	_, bob := b.grant(t, "bob", Approver)
	h := b.guarded(t, KeysExport)
	res := send(t, h, token)
	if res.StatusCode != http.StatusForbidden || !strings.Contains(body(t, res), "second person") {
		t.Errorf("without an approval: %s", res.Status)
	}
	b.wantLast(t, "alice", audit.RoleRefuse, audit.Refused)
	id := b.ask(t, alice)
	for _, step := range []struct {
		name   string
		header string
		status int
	}{
		{"not granted", id, http.StatusForbidden},
		{"no id", "x", http.StatusBadRequest},
		{"not there", id[:len(id)-4] + "0000", http.StatusNotFound},
	} {
		if res := send(t, h, token, with(ApprovalHeader, step.header)); res.StatusCode != step.status {
			t.Errorf("%s: %s", step.name, res.Status)
		}
	}
	b.approve(t, bob, id)
	if res := send(t, b.guarded(t, KeysDestroy), token, with(ApprovalHeader, id)); res.StatusCode != http.StatusForbidden {
		t.Errorf("for another action: %s", res.Status)
	}
	if res := send(t, h, token, with(ApprovalHeader, id)); res.StatusCode != http.StatusOK || body(t, res) != "true alice operator 192.0.2.7 true "+id {
		t.Errorf("approved: %s", res.Status)
	}
	if r := b.wantLast(t, "alice", audit.ApprovalUse, audit.Allowed); r.Origin != "192.0.2.7" {
		t.Errorf("on record from %q", r.Origin)
	}
	if res := send(t, h, token, with(ApprovalHeader, id)); res.StatusCode != http.StatusConflict {
		t.Errorf("again: %s", res.Status)
	}
	for class, want := range map[error]int{
		ErrInvalid: http.StatusBadRequest, store.ErrUnavailable: http.StatusServiceUnavailable, errors.New("a fault"): http.StatusInternalServerError,
	} {
		bad := b.apps.Guard(Deed{Action: KeysExport, Subject: func(*http.Request) (Subject, error) { return Subject{}, fmt.Errorf("%w: no KID", class) }}, served())
		if res := send(t, bad, token, with(ApprovalHeader, id)); res.StatusCode != want {
			t.Errorf("no subject: %v: %s", class, res.Status)
		}
	}
}

// TestApprovalsGuardBefore: what is looked at before is looked at for an approval
// that could be used, and costs none where it refuses.
func TestApprovalsGuardBefore(t *testing.T) {
	b := newBench(t)
	token, alice := b.grant(t, "alice", Operator)
	_, bob := b.grant(t, "bob", Approver)
	s := subjectFor(t, KeysDestroy)
	asked, good := 0, false
	type seen struct{}
	d := Deed{Action: KeysDestroy, Subject: func(*http.Request) (Subject, error) { return s, nil }}
	d.Before = func(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
		asked++
		if !good {
			http.Error(w, "in use", http.StatusConflict)
		}
		return context.WithValue(r.Context(), seen{}, true), good
	}
	h := b.apps.Guard(d, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Context().Value(seen{}) == nil {
			t.Error("what Before has seen is not handed on")
		}
	}))
	id, err := b.apps.Request(t.Context(), alice, KeysDestroy, s, "x")
	if err != nil {
		t.Fatal(err)
	}
	step := func(what, header string, status, times int) {
		t.Helper()
		if res := send(t, h, token, with(ApprovalHeader, header)); res.StatusCode != status || asked != times {
			t.Errorf("%s: %s, Before was asked %d times, want %d and %d", what, res.Status, asked, status, times)
		}
	}
	step("no approval", "", http.StatusForbidden, 0)
	step("not granted", id, http.StatusForbidden, 0)
	b.wantLast(t, "alice", audit.ApprovalUse, audit.Refused)
	b.approve(t, bob, id)
	step("refused", id, http.StatusConflict, 1)
	step("refused again", id, http.StatusConflict, 2)
	good = true
	step("done", id, http.StatusOK, 3)
	step("used", id, http.StatusConflict, 3)
}

// TestGuardTellsFaults: what a client is not told, whoever runs the server hears.
func TestGuardTellsFaults(t *testing.T) {
	b := newBench(t)
	token, id := b.grant(t, "alice", Auditor)
	var heard []string
	b.ids.o.Fault = func(r *http.Request, status int, err error) {
		heard = append(heard, fmt.Sprint(r.Method, " ", status, " ", err))
	}
	h := Guard(b.ids, KeysList, served())
	if send(t, h, token); len(heard) != 0 {
		t.Errorf("of what went well: %q", heard)
	}
	if send(t, h, "x"); len(heard) != 0 {
		t.Errorf("of a refusal: %q", heard)
	}
	name := identityName(id.ID)
	if err := b.store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Put(t.Context(), name, []byte("forged\n"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	res := send(t, h, token)
	if text := body(t, res); res.StatusCode != http.StatusInternalServerError || strings.Contains(text, name) {
		t.Errorf("answered: %s %s", res.Status, text)
	}
	if len(heard) != 1 || !strings.Contains(heard[0], "POST 500 ") || !strings.Contains(heard[0], name) {
		t.Errorf("heard %q", heard)
	}
	found := 0
	for got, err := range b.ids.List(t.Context()) {
		if found++; got.ID != id.ID || !errors.Is(err, ErrForged) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("listed: %v, %v", got, err)
		}
	}
	if found != 1 {
		t.Errorf("%d are listed", found)
	}
}

func TestFromRequest(t *testing.T) {
	b := newBench(t)
	token, id := b.grant(t, "alice", Auditor)
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	tests := []struct {
		name   string
		change func(*http.Request)
		ok     bool
	}{
		{"bearer", with("Authorization", "Bearer "+token), true},
		{"bearer in another case", with("Authorization", "bEARER  "+token+" "), true},
		{"password", basic("", token), true},
		{"password of any user", basic("alice", token), true},
		{"user name", basic(token, ""), false},
		{"nothing", func(*http.Request) {}, false},
		{"empty", with("Authorization", ""), false},
		{"scheme alone", with("Authorization", "Bearer"), false},
		{"another scheme", with("Authorization", "Digest "+token), false},
		{"no scheme", with("Authorization", token), false},
		{"basic that is none", with("Authorization", "Basic "+token), false},
		{"several", func(r *http.Request) {
			r.Header.Add("Authorization", "Bearer "+token)
			r.Header.Add("Authorization", "Bearer "+token)
		}, false},
		{"another header", with("Proxy-Authorization", "Bearer "+token), false},
		{"the query", func(r *http.Request) { r.URL.RawQuery = "access_token=" + token }, false},
		{"a cookie", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "token", Value: token}) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			tt.change(r)
			got, err := b.ids.FromRequest(r)
			check(t, "FromRequest", err, tt.ok, ErrUnauthenticated)
			if tt.ok && got != id {
				t.Errorf("it is %v", got)
			}
		})
	}
}

// TestGuardRefusesAlike: what is wrong with a token is on record, and not told.
func TestGuardRefusesAlike(t *testing.T) {
	b := newBench(t)
	b.ids.o.Limiter = NewLimiter(b.clock)
	revoked, gone := b.grant(t, "carol", Auditor)
	if err := b.ids.Revoke(t.Context(), b.console(t), gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	expired, old, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "dan", Roles: Auditor, Expires: b.clock().Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	b.later(time.Second)
	var answers []string
	for _, tt := range []struct{ token, client, reason string }{
		{"", "", "unknown"},
		{"rekey_" + gone.ID + revoked[22:], gone.ID, "revoked"},
		{expired.RevealSecretText(), old.ID, "expired"},
		{"rekey_0123456789abcdef" + revoked[22:], "0123456789abcdef", "unknown"},
	} {
		res := send(t, Guard(b.ids, KeysList, served()), tt.token)
		answers = append(answers, fmt.Sprintln(res.StatusCode, res.Header, body(t, res)))
		r := b.wantLast(t, unknownActor, audit.RoleRefuse, audit.Refused)
		if !strings.Contains(r.Reason, tt.reason) || r.Client != tt.client || r.Origin != "192.0.2.7" || r.Object != "keys.list" {
			t.Errorf("on record: %+v", r)
		}
	}
	for _, a := range answers {
		if a != answers[0] || !strings.HasPrefix(a, "401 ") || !strings.Contains(a, "Bearer realm") {
			t.Errorf("answered\n%swant\n%s", a, answers[0])
		}
	}
}

func TestGuardSlowsDown(t *testing.T) {
	b := newBench(t)
	b.ids.o.Limiter = NewLimiter(b.clock)
	token, _ := b.grant(t, "alice", Auditor)
	h := Guard(b.ids, KeysList, served())
	for n := range freeFailures {
		if res := send(t, h, "x"); res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("failure %d: %s", n, res.Status)
		}
	}
	logged := len(b.records(t))
	res := send(t, h, token)
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" {
		t.Errorf("then: %s, after %s", res.Status, res.Header.Get("Retry-After"))
	}
	if n := len(b.records(t)); n != logged {
		t.Errorf("%d more records", n-logged)
	}
	if res := send(t, h, token, func(r *http.Request) { r.RemoteAddr = "192.0.2.8:1" }); res.StatusCode != http.StatusOK {
		t.Errorf("from elsewhere: %s", res.Status)
	}
	b.later(time.Second)
	if res := send(t, h, token); res.StatusCode != http.StatusOK {
		t.Errorf("a second later: %s", res.Status)
	}
	if res := send(t, h, "x"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after a success: %s", res.Status)
	}
}

// TestGuardFaults: a store that fails is no refusal, and opens nothing.
func TestGuardFaults(t *testing.T) {
	b := newBench(t)
	token, _ := b.grant(t, "alice", Auditor)
	h := Guard(b.ids, KeysList, served())
	logged := len(b.records(t))
	b.on(func(op, name string) error {
		if op == "get" && strings.HasPrefix(name, identityPrefix) {
			return store.ErrUnavailable
		}
		return nil
	}, nil)
	for range freeFailures + 3 {
		if res := send(t, h, token); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("store down: %s", res.Status)
		}
	}
	b.on(auditDown, nil)
	if res := send(t, h, "x"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("log down: %s", res.Status)
	}
	if res := send(t, Guard(b.ids, KeysImport, served()), token); res.StatusCode != http.StatusForbidden {
		t.Errorf("log down: %s", res.Status)
	}
	b.on(nil, nil)
	if n := len(b.records(t)); n != logged {
		t.Errorf("%d more records", n-logged)
	}
}

func TestGuardRefusesOtherSites(t *testing.T) {
	b := newBench(t)
	token, _ := b.grant(t, "alice", Operator)
	h := Guard(b.ids, KeysImport, served())
	if res := send(t, h, token, with("Sec-Fetch-Site", "cross-site")); res.StatusCode != http.StatusForbidden {
		t.Errorf("another site: %s", res.Status)
	}
	b.wantLast(t, "alice", audit.RoleRefuse, audit.Refused)
	if res := send(t, h, token, with("Sec-Fetch-Site", "same-origin")); res.StatusCode != http.StatusOK {
		t.Errorf("the same site: %s", res.Status)
	}
}

// TestOrigin: a header says nothing unless it was said to.
func TestOrigin(t *testing.T) {
	b := newBench(t)
	token, _ := b.grant(t, "alice", Auditor)
	spoof := with("X-Forwarded-For", "198.51.100.1")
	if got := body(t, send(t, Guard(b.ids, KeysList, served()), token, spoof)); !strings.Contains(got, " 192.0.2.7 ") {
		t.Errorf("by default: %s", got)
	}
	o := b.ids.o
	o.Origin = func(r *http.Request) string { return r.Header.Get("X-Forwarded-For") }
	if got := body(t, send(t, Guard(NewIdentities(o), KeysList, served()), token, spoof)); !strings.Contains(got, " 198.51.100.1 ") {
		t.Errorf("behind a proxy: %s", got)
	}
	if got := connectionOrigin(&http.Request{RemoteAddr: "@"}); got != "@" {
		t.Errorf("a Unix socket is from %q", got)
	}
}

func TestHTTPStatus(t *testing.T) {
	for err, want := range map[error]int{
		ErrExpired: 401, ErrForbidden: 403, ErrNotFound: 404, ErrUsed: 409, ErrLapsed: 410, ErrInvalid: 400, ErrFull: 507,
		store.ErrUnavailable: 503, ErrForged: 500, ErrCorrupt: 500, errDown: 500, context.Canceled: 500,
	} {
		w := httptest.NewRecorder()
		(&Identities{}).answer(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), fmt.Errorf("x: %w", err))
		if w.Code != want {
			t.Errorf("%v: %d, want %d", err, w.Code, want)
		}
		if want >= 500 && bytes.Contains(w.Body.Bytes(), []byte("x:")) {
			t.Errorf("%v: the answer tells what failed: %s", err, w.Body)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := start
	l := NewLimiter(func() time.Time { return now })
	var waits []time.Duration
	for range 15 {
		l.Failed("192.0.2.1")
		waits = append(waits, l.Wait("192.0.2.1"))
	}
	want := "[0s 0s 0s 0s 1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s 1m0s 1m0s]"
	if got := fmt.Sprint(waits); got != want {
		t.Errorf("waits %s, want %s", got, want)
	}
	if l.Wait("192.0.2.2") != 0 || l.Wait("::ffff:192.0.2.1") != time.Minute {
		t.Error("addresses are mixed up")
	}
	now = now.Add(40 * time.Second)
	if w := l.Wait("192.0.2.1"); w != 20*time.Second {
		t.Errorf("40 s later: %s", w)
	}
	now = now.Add(forgetAfter)
	l.Failed("192.0.2.1")
	if w := l.Wait("192.0.2.1"); w != 0 {
		t.Errorf("long after: %s", w)
	}
	for range 20 {
		l.Failed("2001:db8::1")
	}
	if l.Wait("2001:db8::ffff:1") == 0 || l.Wait("2001:db8:0:1::1") != 0 {
		t.Error("an IPv6 network of 64 bits is not one address")
	}
	l.Succeeded("2001:db8::2")
	if l.Wait("2001:db8::1") != 0 {
		t.Error("a success is not counted")
	}
	for range 2000 {
		l.Failed("192.0.2.9")
	}
	if w := l.Wait("192.0.2.9"); w != longestWait {
		t.Errorf("after 2000 failures: %s", w)
	}
}

// TestLimiterIsBounded in memory, and in what it lets go on record.
func TestLimiterIsBounded(t *testing.T) {
	now := start
	l := NewLimiter(func() time.Time { return now })
	recorded, told := 0, 0
	count := func(origin string) {
		record, unrecorded := l.Failed(origin)
		if record {
			recorded++
		}
		told += unrecorded
	}
	for n := range 3 * maxAddresses {
		count(fmt.Sprintf("2001:db8:%x::1", n))
		if n%100 == 0 {
			now = now.Add(time.Second)
		}
		if held := len(l.recent) + len(l.earlier); held > maxAddresses || n > maxAddresses && held < maxAddresses/2 {
			t.Fatalf("%d addresses are held", held)
		}
	}
	seconds := int(now.Sub(start) / time.Second)
	if recorded < seconds || recorded > recordBurst+seconds {
		t.Errorf("%d failures on record in %d s", recorded, seconds)
	}
	now = now.Add(time.Hour)
	count("192.0.2.1")
	if told+recorded != 3*maxAddresses+1 {
		t.Errorf("%d on record and %d counted, of %d", recorded, told, 3*maxAddresses+1)
	}
	for n := range 20 {
		count(fmt.Sprintf("@%d", n))
	}
	if l.Wait("@other") == 0 {
		t.Error("what is no address is not one")
	}
}
