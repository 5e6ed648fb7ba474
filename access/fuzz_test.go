package access

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// samples are one value of each kind, as the program makes them.
func samples() (*storedIdentity, *Request, *Approval) {
	_, sum := newToken("0123456789abcdef")
	id := &storedIdentity{Identity: Identity{
		ID: "0123456789abcdef", Person: "alice@example.org", Name: "Alice's “laptop”", Roles: staff,
		Created: start, Expires: start.Add(DefaultLife), GrantedBy: "root",
	}, TokenSHA256: sum}
	req := &Request{
		ID: start.Format(requestStamp) + "-0123456789abcdef", Action: RotationInPlace,
		Subject: Subject{KID: kidA, Rotation: "r1", Asset: "films/A & B"}, Reason: "offline <since> May",
		Requester: party(id.Identity), Time: start, Expires: start.Add(time.Hour),
	}
	return id, req, &Approval{
		Request: *req, RequestSHA256: sum, Verdict: Granted, Approver: Party{"fedcba9876543210", "bob"},
		Time: start, Expires: start.Add(time.Hour), Nonce: newNonce(),
	}
}

// seeds adds the signed object of v, the text of it, and damaged ones.
func seeds(f *testing.F, kind string, v value) note.Verifiers {
	f.Helper()
	skey, vkey := generate(f, "fuzz")
	signer, err := note.NewSigner(skey)
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		f.Fatal(err)
	}
	object, text, err := seal(signer, kind, v)
	if err != nil {
		f.Fatal(err)
	}
	body := strings.TrimPrefix(text, kind+"\n")
	f.Add([]byte(text))
	f.Add(object)
	f.Add([]byte(kind + "\n" + strings.Replace(body, "{", `{"id":"x",`, 1)))
	f.Add([]byte(kind + "\n" + strings.Replace(body, "2026", "0000", 1)))
	f.Add([]byte(kind + "\n" + strings.Replace(body, "approver", "admin", 1)))
	f.Add([]byte(kind + "\nnull\n"))
	f.Add([]byte("rekey access other v1\n" + body))
	return note.VerifierList(verifier)
}

// fuzzStored holds two promises on any bytes: what is not signed is not believed,
// and, once a signature holds, the text reads as something valid that is written
// as it was read, or is refused with its place.
func fuzzStored[T any, P interface {
	*T
	value
}](f *testing.F, kind string, v P) {
	trusted := seeds(f, kind, v)
	skey, _ := generate(f, "fuzz")
	signer, err := note.NewSigner(skey)
	if err != nil {
		f.Fatal(err)
	}
	genuine, _, err := seal(signer, kind, v)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := unseal("x", trusted, kind, genuine, P(new(T))); !errors.Is(err, ErrForged) {
		f.Fatalf("another's signature: %v", err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := unseal("x", trusted, kind, b, P(new(T))); err != nil {
			wantPlaced(t, err, len(b))
		}
		first := P(new(T))
		if err := decode("x", kind, string(b), first); err != nil {
			wantPlaced(t, err, len(b))
			return
		}
		_, text, err := seal(signer, kind, first)
		if err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		second := P(new(T))
		if err := decode("x", kind, text, second); err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, text)
		}
		if _, again, err := seal(signer, kind, second); err != nil || again != text {
			t.Fatalf("%v\n%s\nwas\n%s", err, again, text)
		}
	})
}

func wantPlaced(t *testing.T, err error, size int) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || !isOneOf(err, ErrForged, ErrCorrupt) || e.Object != "x" || e.Offset < -1 || e.Offset > int64(size)+1 {
		t.Fatalf("%v: no *Error of a class, with the object and a place in it", err)
	}
}

func FuzzIdentity(f *testing.F) { v, _, _ := samples(); fuzzStored(f, kindIdentity, v) }

func FuzzRequest(f *testing.F) { _, v, _ := samples(); fuzzStored(f, kindRequest, v) }

func FuzzDecision(f *testing.F) { _, _, v := samples(); fuzzStored(f, kindDecision, v) }

// FuzzToken: what is taken for a token has one spelling, and its id can be an
// object's name.
func FuzzToken(f *testing.F) {
	token, _ := newToken("0123456789abcdef")
	text := token.RevealSecretText()
	f.Add(text)
	f.Add(text + "\n")
	f.Add(text[:23] + strings.Repeat("A", secretChars-1) + "\n")
	f.Add(strings.ToUpper(text))
	f.Add("rekey_../../etc/passwd0_" + text[23:])
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := tokenID(s)
		if ok != (len(s) == len(text) && strings.HasPrefix(s, "rekey_"+id+"_") && isID(id) && strictSecret(s[23:])) {
			t.Fatalf("%q: %q, %v", s, id, ok)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.SetBasicAuth("", s)
		if credentials(r) != s {
			t.Fatalf("%q as a password is %q", s, credentials(r))
		}
		r.Header["Authorization"] = []string{s}
		_ = credentials(r)
	})
}

// strictSecret is base64url of 32 bytes, written as it is encoded.
func strictSecret(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return len(s) == 43 && strings.Trim(s, alphabet) == "" && strings.IndexByte(alphabet, s[42])%4 == 0
}

// FuzzPerson: two that are let in are one person only if they are spelled alike
// but for the case of ASCII letters.
func FuzzPerson(f *testing.F) {
	f.Add("alice", "ALICE")
	f.Add("\u212Aim", "kim")
	f.Add("a\u0301", "\u00e1")
	f.Add("stra\u00dfe", "STRASSE")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errA := parsePerson(a)
		y, errB := parsePerson(b)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
		}
		if errA != nil || errB != nil {
			return
		}
		if len(x) != len(a) || (x == y) != bytes.EqualFold([]byte(a), []byte(b)) {
			t.Fatalf("%q and %q are %q and %q", a, b, x, y)
		}
		if again, err := parsePerson(x); err != nil || again != x {
			t.Fatalf("%q is %q, then %q", a, x, again)
		}
	})
}
