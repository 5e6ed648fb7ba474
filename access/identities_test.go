package access

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

func TestTokenLife(t *testing.T) {
	b := newBench(t)
	token, id, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "Alice@Example.org", Name: "Alice's laptop", Roles: Operator | Approver})
	if err != nil {
		t.Fatal(err)
	}
	text := token.RevealSecretText()
	if parts := strings.Split(text, "_"); parts[0] != "rekey" || parts[1] != id.ID || len(text) != len("rekey__")+16+43 {
		t.Errorf("the token is not rekey_<id>_<43 characters> but %d characters", len(text))
	}
	if id.Person != "alice@example.org" || id.GrantedBy != "root" || id.Expires.Sub(id.Created) != DefaultLife {
		t.Errorf("granted %+v", id)
	}
	r := b.wantLast(t, "root", audit.RoleGrant, audit.Allowed)
	if r.Object != "identity/"+id.ID || r.Role != "admin" || !strings.Contains(r.Reason, "operator,approver") {
		t.Errorf("on record: %+v", r)
	}
	got, err := b.ids.Authenticate(t.Context(), text)
	if err != nil || got != id {
		t.Errorf("Authenticate: %+v, %v; want %+v", got, err, id)
	}
	other, _ := b.process(t, b.skey)
	if got, err := other.Authenticate(t.Context(), text); err != nil || got != id {
		t.Errorf("another process: %+v, %v", got, err)
	}
	b.later(DefaultLife - time.Second)
	if _, err := b.ids.Authenticate(t.Context(), text); err != nil {
		t.Errorf("a second before it expires: %v", err)
	}
	b.later(time.Second)
	_, err = b.ids.Authenticate(t.Context(), text)
	wantClass(t, "expired", err, ErrExpired)
}

// TestTwoTokensOfOneName: a name is no key; each grant is an identity.
func TestTwoTokensOfOneName(t *testing.T) {
	b := newBench(t)
	one, first := b.grant(t, "alice", Operator)
	two, second := b.grant(t, "alice", Auditor)
	if one == two || first.ID == second.ID || first.Name != second.Name {
		t.Fatalf("%v and %v", first, second)
	}
	if err := b.ids.Revoke(t.Context(), b.console(t), first.ID, "laptop lost"); err != nil {
		t.Fatal(err)
	}
	_, err := b.ids.Authenticate(t.Context(), one)
	wantClass(t, "revoked", err, ErrRevoked)
	if got, err := b.ids.Authenticate(t.Context(), two); err != nil || got.Roles != Auditor {
		t.Errorf("the other token: %v, %v", got, err)
	}
}

// TestRefusedTokens: whoever presents a token learns only that it is not accepted.
func TestRefusedTokens(t *testing.T) {
	b := newBench(t)
	good, id := b.grant(t, "alice", Operator)
	other, _ := b.grant(t, "bob", Operator)
	revoked, gone := b.grant(t, "carol", Operator)
	if err := b.ids.Revoke(t.Context(), b.console(t), gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	expires := b.clock().Add(time.Minute)
	short, _, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "dan", Roles: Auditor, Expires: expires})
	if err != nil {
		t.Fatal(err)
	}
	b.later(time.Minute)
	secret := good[len(good)-43:]
	last := good[len(good)-1]
	tests := []struct {
		name, token string
		class       error
	}{
		{"none", "", ErrUnauthenticated},
		{"prefix", "rekey_", ErrUnauthenticated},
		{"unknown id", "rekey_0123456789abcdef_" + secret, ErrUnauthenticated},
		{"another's secret", "rekey_" + id.ID + "_" + other[len(other)-43:], ErrUnauthenticated},
		{"cut", good[:len(good)-1], ErrUnauthenticated},
		{"longer", good + "A", ErrUnauthenticated},
		{"padded", good + "=", ErrUnauthenticated},
		{"line feed", good[:len(good)-1] + "\n", ErrUnauthenticated},
		{"id of upper case", strings.Replace(good, id.ID, strings.ToUpper(id.ID), 1), ErrUnauthenticated},
		{"id is a path", "rekey_" + "../audit/x/../yz" + "_" + secret, ErrUnauthenticated},
		{"loose last bits", good[:len(good)-1] + string(looser(last)), ErrUnauthenticated},
		{"huge", good + strings.Repeat("A", 1<<20), ErrUnauthenticated},
		{"revoked", revoked, ErrRevoked},
		{"revoked with a wrong secret", "rekey_" + gone.ID + "_" + secret, ErrUnauthenticated},
		{"expired", short.RevealSecretText(), ErrExpired},
	}
	said := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := b.ids.Authenticate(t.Context(), tt.token)
			wantClass(t, "Authenticate", err, tt.class)
			if got != (Identity{}) {
				t.Errorf("it is %v", got)
			}
			for _, c := range []error{ErrUnauthenticated, ErrExpired, ErrRevoked} {
				if errors.Is(err, c) != errors.Is(tt.class, c) {
					t.Error("it is of another class, too")
				}
			}
			if err != nil {
				said[err.Error()] = true
			}
		})
	}
	if len(said) != 1 {
		t.Errorf("refusals can be told apart: %v", said)
	}
}

// looser spells the same byte with another of the four last characters that stand
// for it where the spare bits are not looked at.
func looser(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// TestTokenIsNowhere: not in the store, the log, an error, or what prints.
func TestTokenIsNowhere(t *testing.T) {
	b := newBench(t)
	token, id, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "alice", Roles: Operator})
	if err != nil {
		t.Fatal(err)
	}
	text := token.RevealSecretText()
	secret := text[len(text)-43:]
	raw, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T", "%p"} {
		fmt.Fprintf(&out, verb+"\n", token)
		fmt.Fprintf(&out, verb+"\n", &token)
		fmt.Fprintf(&out, verb+"\n", struct{ t Token }{token})
		fmt.Fprintf(&out, verb+"\n", id)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("granted", "token", token, "identity", id)
	if err := json.NewEncoder(&out).Encode(map[string]any{"token": token, "identity": id}); err != nil {
		t.Fatal(err)
	}
	_, wrong := b.ids.Authenticate(t.Context(), text+"x")
	fmt.Fprintln(&out, wrong)
	for name, body := range b.objects(t) {
		fmt.Fprintln(&out, name, body)
	}
	for _, r := range b.records(t) {
		fmt.Fprintln(&out, r)
	}
	if !strings.Contains(out.String(), redacted) || !strings.Contains(out.String(), id.ID) {
		t.Fatal("the test looks at nothing")
	}
	for _, form := range []string{secret, string(raw), fmt.Sprintf("%x", raw)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret shows")
		}
	}
	if (Token{}).RevealSecretText() != "" || !(Token{}).IsZero() || token.IsZero() {
		t.Error("the zero token is not none")
	}
}

func TestGrantRefuses(t *testing.T) {
	b := newBench(t)
	_, admin := b.grant(t, "ann", Admin)
	_, operator := b.grant(t, "olaf", Operator)
	now := b.clock()
	tests := []struct {
		name  string
		by    Identity
		grant Grant
		class error
	}{
		{"by an operator", operator, Grant{Person: "bob", Roles: Approver}, ErrForbidden},
		{"by who claims to be admin", Identity{ID: operator.ID, Person: "olaf", Roles: Admin}, Grant{Person: "bob", Roles: Approver}, ErrForbidden},
		{"by nobody", Identity{}, Grant{Person: "bob", Roles: Approver}, ErrUnauthenticated},
		{"by who is not there", Identity{ID: "0123456789abcdef", Roles: Admin}, Grant{Person: "bob", Roles: Approver}, ErrUnauthenticated},
		{"to themself", admin, Grant{Person: "ANN", Roles: Approver}, ErrForbidden},
		{"to nobody", admin, Grant{Roles: Approver}, ErrInvalid},
		{"person with a space", admin, Grant{Person: "bob b", Roles: Approver}, ErrInvalid},
		{"person that looks like another", admin, Grant{Person: "аlice", Roles: Approver}, ErrInvalid},
		{"person that folds to another", admin, Grant{Person: "\u212Aim", Roles: Approver}, ErrInvalid},
		{"person of great length", admin, Grant{Person: strings.Repeat("b", 65), Roles: Approver}, ErrInvalid},
		{"name with a line feed", admin, Grant{Person: "bob", Name: "a\nb", Roles: Approver}, ErrInvalid},
		{"name that turns the writing", admin, Grant{Person: "bob", Name: "a\u202Eb", Roles: Approver}, ErrInvalid},
		{"name that is no text", admin, Grant{Person: "bob", Name: "a\xff", Roles: Approver}, ErrInvalid},
		{"no role", admin, Grant{Person: "bob"}, ErrInvalid},
		{"admin and more", admin, Grant{Person: "bob", Roles: Admin | Approver}, ErrInvalid},
		{"worker and more", admin, Grant{Person: "bob", Roles: Worker | Approver}, ErrInvalid},
		{"expired at once", admin, Grant{Person: "bob", Roles: Approver, Expires: now}, ErrInvalid},
		{"for two years", admin, Grant{Person: "bob", Roles: Approver, Expires: now.Add(2 * MaxLife)}, ErrInvalid},
		{"for ever", admin, Grant{Person: "bob", Roles: Approver, Expires: time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC)}, ErrInvalid},
	}
	before := b.objects(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			logged := len(b.records(t))
			token, id, err := b.ids.Grant(t.Context(), tt.by, tt.grant)
			wantClass(t, "Grant", err, tt.class)
			if !token.IsZero() || id != (Identity{}) {
				t.Error("there is a token")
			}
			if all := b.records(t); len(all) != logged+1 || all[logged].Outcome != audit.Refused {
				t.Errorf("%d records of the refusal", len(all)-logged)
			}
		})
	}
	wantSameObjects(t, before, b.objects(t))
	if _, _, err := b.ids.Grant(t.Context(), admin, Grant{Person: "bob", Roles: Approver, Expires: now.AddDate(1, 0, 0)}); err != nil {
		t.Errorf("for one year: %v", err)
	}
}

func wantSameObjects(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, body := range after {
		if before[name] != body {
			t.Errorf("%s was written", name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
}

func TestRevoke(t *testing.T) {
	b := newBench(t)
	_, admin := b.grant(t, "ann", Admin)
	_, operator := b.grant(t, "olaf", Operator)
	token, bob := b.grant(t, "bob", Operator)
	wantClass(t, "by an operator", b.ids.Revoke(t.Context(), operator, bob.ID, ""), ErrForbidden)
	wantClass(t, "not there", b.ids.Revoke(t.Context(), admin, "0123456789abcdef", ""), ErrNotFound)
	wantClass(t, "no id", b.ids.Revoke(t.Context(), admin, "../x", ""), ErrInvalid)
	wantClass(t, "reason", b.ids.Revoke(t.Context(), admin, bob.ID, "a\x00"), ErrInvalid)
	if _, err := b.ids.Authenticate(t.Context(), token); err != nil {
		t.Fatalf("after revocations that were refused: %v", err)
	}
	if err := b.ids.Revoke(t.Context(), admin, bob.ID, "left"); err != nil {
		t.Fatal(err)
	}
	if r := b.wantLast(t, "ann", audit.RoleRevoke, audit.Allowed); r.Object != "identity/"+bob.ID || r.Reason != "left" {
		t.Errorf("on record: %+v", r)
	}
	if err := b.ids.Revoke(t.Context(), admin, bob.ID, "again"); err != nil {
		t.Errorf("again: %v", err)
	}
	b.wantLast(t, "ann", audit.RoleRevoke, audit.Unchanged)
	_, err := b.ids.Authenticate(t.Context(), token)
	wantClass(t, "revoked", err, ErrRevoked)
	wantClass(t, "by who is revoked", b.ids.Revoke(t.Context(), bob, operator.ID, ""), ErrRevoked)
	// Whoever lost a token may end it.
	if err := b.ids.Revoke(t.Context(), operator, operator.ID, "lost"); err != nil {
		t.Errorf("their own: %v", err)
	}
	// The old bytes, put back, change nothing: what is written is never replaced.
	b.writeObject(t, identityName(bob.ID), b.readObject(t, identityName(bob.ID)))
	_, err = b.ids.Authenticate(t.Context(), token)
	wantClass(t, "put back", err, ErrRevoked)
}

func TestList(t *testing.T) {
	b := newBench(t)
	want := map[string]bool{}
	for n := range 5 {
		_, id := b.grant(t, fmt.Sprintf("p%d", n), Operator)
		want[id.ID] = n == 2
		if n == 2 {
			if err := b.ids.Revoke(t.Context(), b.console(t), id.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, bad := b.grant(t, "mallory", Operator)
	b.writeObject(t, identityName(bad.ID), []byte("{}"))
	b.writeObject(t, "identities/README", []byte("hello"))
	last, broken := "", 0
	for id, err := range b.ids.List(t.Context()) {
		if err != nil {
			wantClass(t, "List", err, ErrCorrupt)
			broken++
			continue
		}
		if revoked, ok := want[id.ID]; !ok || revoked != id.Revoked || id.ID <= last {
			t.Errorf("%v, revoked %v, after %s", id, id.Revoked, last)
		}
		last = id.ID
		delete(want, id.ID)
	}
	if len(want) != 0 || broken != 1 {
		t.Errorf("not listed: %v; %d broken", want, broken)
	}
	b.on(func(op, _ string) error {
		if op == "list" {
			return store.ErrUnavailable
		}
		return nil
	}, nil)
	n := 0
	for _, err := range b.ids.List(t.Context()) {
		n++
		wantClass(t, "List", err, store.ErrUnavailable)
	}
	if n != 1 {
		t.Errorf("%d results of a store that is down", n)
	}
}

// TestIdentitiesAreBounded fills the store with names: only they are counted.
func TestIdentitiesAreBounded(t *testing.T) {
	b := newBench(t)
	for n := range MaxIdentities {
		b.writeObject(t, identityName(fmt.Sprintf("%016x", n)), nil)
	}
	_, _, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "alice", Roles: Operator})
	wantClass(t, "one too many", err, ErrFull)
	b.wantLast(t, "root", audit.RoleGrant, audit.Refused)
	if err := b.ids.Revoke(t.Context(), b.console(t), fmt.Sprintf("%016x", 7), "makes room"); err != nil {
		t.Fatal(err)
	}
	b.grant(t, "alice", Operator)
}

// TestForgedIdentities: who can write the store and has no signing key makes no
// identity.
func TestForgedIdentities(t *testing.T) {
	b := newBench(t)
	token, id := b.grant(t, "mallory", Operator)
	_, other := b.grant(t, "alice", Approver)
	mine := b.readObject(t, identityName(id.ID))
	otherKey, _ := generate(t, "test")
	stranger, _ := b.process(t, otherKey)
	rec, err := b.ids.read(t.Context(), id.ID)
	if err != nil {
		t.Fatal(err)
	}
	rec.Roles = Approver
	resigned, _, err := seal(stranger.o.Signer, kindIdentity, &rec)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := append(bytes.Clone(mine[:bytes.LastIndex(mine, []byte("\n\n"))+2]), resigned[bytes.LastIndex(resigned, []byte("\n\n"))+2:]...)
	tests := []struct {
		name  string
		body  []byte
		class error
	}{
		{"another role", bytes.Replace(mine, []byte("operator"), []byte("approver"), 1), ErrForged},
		{"another expiry", bytes.Replace(mine, []byte(`"expires": "2026`), []byte(`"expires": "2029`), 1), ErrForged},
		{"another person", bytes.Replace(mine, []byte("mallory"), []byte("bob"), 1), ErrForged},
		{"another key", resigned, ErrForged},
		{"signature of another key", unsigned, ErrForged},
		{"another's identity", b.readObject(t, identityName(other.ID)), ErrForged},
		{"no signature", mine[:bytes.LastIndex(mine, []byte("\n\n"))+1], ErrCorrupt},
		{"empty", nil, ErrCorrupt},
		{"large", make([]byte, maxObject+1), ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if bytes.Equal(tt.body, mine) {
				t.Fatal("the test changes nothing")
			}
			b.writeObject(t, identityName(id.ID), tt.body)
			got, err := b.ids.Authenticate(t.Context(), token)
			wantClass(t, "Authenticate", err, tt.class)
			if e, ok := errors.AsType[*Error](err); !ok || e.Object != identityName(id.ID) || got != (Identity{}) {
				t.Errorf("%v, %v; want an *Error that names the object", got, err)
			}
		})
	}
	b.writeObject(t, identityName(id.ID), mine)
	if _, err := b.ids.Authenticate(t.Context(), token); err != nil {
		t.Errorf("put back: %v", err)
	}
}

// TestGrantFaults: no token where the record, or the identity, may not stand.
func TestGrantFaults(t *testing.T) {
	b := newBench(t)
	_, id := b.grant(t, "alice", Operator)
	before := b.objects(t)
	b.on(auditDown, nil)
	token, _, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: "bob", Roles: Approver})
	wantClass(t, "Grant with the log down", err, errDown)
	if !token.IsZero() {
		t.Error("there is a token that is not on record")
	}
	wantClass(t, "Revoke with the log down", b.ids.Revoke(t.Context(), b.console(t), id.ID, ""), errDown)
	if _, err := b.ids.Authorize(t.Context(), id, IdentityGrant); !errors.Is(err, ErrForbidden) || !errors.Is(err, errDown) {
		t.Errorf("refused with the log down: %v", err)
	}
	b.on(nil, nil)
	wantSameObjects(t, before, b.objects(t))
	b.on(func(op, name string) error {
		if op == "put" && strings.HasPrefix(name, identityPrefix) {
			return store.ErrDenied
		}
		return nil
	}, nil)
	token, _, err = b.ids.Grant(t.Context(), b.console(t), Grant{Person: "bob", Roles: Approver})
	wantClass(t, "Grant", err, store.ErrDenied)
	if !token.IsZero() {
		t.Error("there is a token for what does not stand")
	}
	b.wantLast(t, "root", audit.RoleGrant, audit.Failed)
	wantClass(t, "Revoke", b.ids.Revoke(t.Context(), b.console(t), id.ID, ""), store.ErrDenied)
	b.wantLast(t, "root", audit.RoleRevoke, audit.Failed)
	// What cannot be read is neither accepted nor refused.
	b.on(func(op, name string) error {
		if op == "stat" && strings.HasSuffix(name, revokedSuffix) {
			return store.ErrUnavailable
		}
		return nil
	}, nil)
	text, _ := b.grant(t, "carol", Operator)
	_, err = b.ids.Authenticate(t.Context(), text)
	wantClass(t, "Authenticate", err, store.ErrUnavailable)
	if isOneOf(err, refusals...) {
		t.Errorf("%v is a refusal", err)
	}
}

// TestNoSigner: a process without the key reads and decides nothing.
func TestNoSigner(t *testing.T) {
	b := newBench(t)
	token, _ := b.grant(t, "alice", Operator)
	o := b.ids.o
	o.Signer = nil
	reader := NewIdentities(o)
	if _, err := reader.Authenticate(t.Context(), token); err != nil {
		t.Errorf("Authenticate: %v", err)
	}
	got, _, err := reader.Grant(t.Context(), b.console(t), Grant{Person: "bob", Roles: Approver})
	wantClass(t, "Grant", err, ErrNoSigner)
	if !got.IsZero() {
		t.Error("there is a token")
	}
}

func TestConsole(t *testing.T) {
	for _, bad := range []string{"", "DOMAIN\\user", "a b"} {
		if c, err := Console(bad); !errors.Is(err, ErrInvalid) || c.console {
			t.Errorf("Console(%q): %v", bad, err)
		}
	}
}
