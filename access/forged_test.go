package access

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// forgery is a bench with an approval of alice's by bob, and mallory, who can
// write the store and is an operator too.
type forgery struct {
	*bench
	alice, bob, mallory Identity
	id, other           string // alice's, approved; mallory's, not
}

func newForgery(t *testing.T) *forgery {
	b := newBench(t)
	f := &forgery{bench: b, alice: b.identity(t, "alice", Operator), bob: b.identity(t, "bob", Approver), mallory: b.identity(t, "mallory", Operator)}
	f.id, f.other = b.ask(t, f.alice), b.ask(t, f.mallory)
	b.approve(t, f.bob, f.id)
	return f
}

func (f *forgery) object(t *testing.T, id, object string) []byte {
	t.Helper()
	return f.readObject(t, approvalObject(id, object))
}

func (f *forgery) put(t *testing.T, id, object string, body []byte) {
	t.Helper()
	f.writeObject(t, approvalObject(id, object), body)
}

// TestForgedApprovals is what whoever can write the store, without the signing
// key, may try.
func TestForgedApprovals(t *testing.T) {
	tests := []struct {
		name  string
		forge func(t *testing.T, f *forgery)
		who   func(f *forgery) (Identity, string)
		class error
	}{
		{"the request is edited after the approval", func(t *testing.T, f *forgery) {
			f.put(t, f.id, requestObject, bytes.Replace(f.object(t, f.id, requestObject), []byte("vendor"), []byte("vandal"), 1))
		}, asAlice, ErrForged},
		{"the request's requester is edited", func(t *testing.T, f *forgery) {
			edited := bytes.ReplaceAll(f.object(t, f.id, requestObject), []byte("alice"), []byte("mallory"))
			f.put(t, f.id, requestObject, bytes.ReplaceAll(edited, []byte(f.alice.ID), []byte(f.mallory.ID)))
		}, asMallory, ErrForged},
		{"the approval of another request is copied", func(t *testing.T, f *forgery) {
			f.put(t, f.other, decisionObject, f.object(t, f.id, decisionObject))
		}, ofMallory, ErrForged},
		{"request and approval are copied to another id", func(t *testing.T, f *forgery) {
			f.put(t, f.other, requestObject, f.object(t, f.id, requestObject))
			f.put(t, f.other, decisionObject, f.object(t, f.id, decisionObject))
		}, func(f *forgery) (Identity, string) { return f.alice, f.other }, ErrForged},
		{"the approval is edited", func(t *testing.T, f *forgery) {
			f.put(t, f.id, decisionObject, bytes.Replace(f.object(t, f.id, decisionObject), []byte(`"expires": "2026`), []byte(`"expires": "2027`), 2))
		}, asAlice, ErrForged},
		{"a refusal is turned", func(t *testing.T, f *forgery) {
			if err := f.apps.Refuse(t.Context(), f.bob, f.other, "no"); err != nil {
				t.Fatal(err)
			}
			f.put(t, f.other, decisionObject, bytes.Replace(f.object(t, f.other, decisionObject), []byte("refused"), []byte("granted"), 1))
		}, ofMallory, ErrForged},
		{"another key signs", func(t *testing.T, f *forgery) {
			skey, _ := generate(t, "test")
			f.sign(t, skey, f.decision(t, f.other))
		}, ofMallory, ErrForged},
		{"another key signs under another name", func(t *testing.T, f *forgery) {
			skey, _ := generate(t, "mallory.example")
			f.sign(t, skey, f.decision(t, f.other))
		}, ofMallory, ErrForged},
		{"a request signed by the right key stands for the approval", func(t *testing.T, f *forgery) {
			f.put(t, f.other, decisionObject, f.object(t, f.other, requestObject))
		}, ofMallory, ErrForged},
		{"an identity signed by the right key stands for the approval", func(t *testing.T, f *forgery) {
			f.put(t, f.other, decisionObject, f.readObject(t, identityName(f.bob.ID)))
		}, ofMallory, ErrForged},
		{"a checkpoint signed by the right key stands for the approval", func(t *testing.T, f *forgery) {
			signed, err := note.Sign(&note.Note{Text: "rekey.example/log\n1\nAAAA\n"}, f.ids.o.Signer)
			if err != nil {
				t.Fatal(err)
			}
			f.put(t, f.other, decisionObject, signed)
		}, ofMallory, ErrForged},
		{"no signature", func(t *testing.T, f *forgery) {
			signed := f.object(t, f.id, decisionObject)
			f.put(t, f.id, decisionObject, signed[:bytes.LastIndex(signed, []byte("\n\n"))+1])
		}, asAlice, ErrCorrupt},
		{"cut", func(t *testing.T, f *forgery) {
			f.put(t, f.id, decisionObject, f.object(t, f.id, decisionObject)[:100])
		}, asAlice, ErrCorrupt},
		{"large", func(t *testing.T, f *forgery) {
			f.put(t, f.id, decisionObject, append(f.object(t, f.id, decisionObject), bytes.Repeat([]byte{'\n'}, maxObject)...))
		}, asAlice, ErrCorrupt},
		{"the approver's identity is another's", func(t *testing.T, f *forgery) {
			f.writeObject(t, identityName(f.bob.ID), f.readObject(t, identityName(f.mallory.ID)))
		}, asAlice, ErrForged},
		{"replayed", func(t *testing.T, f *forgery) {
			if err := f.useIt(t, f.alice, f.id); err != nil {
				t.Fatal(err)
			}
			f.put(t, f.id, decisionObject, f.object(t, f.id, decisionObject))
		}, asAlice, ErrUsed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newForgery(t)
			before := f.objects(t)
			tt.forge(t, f)
			if same(before, f.objects(t)) {
				t.Fatal("the test changes nothing")
			}
			who, id := tt.who(f)
			wantClass(t, "Use", f.useIt(t, who, id), tt.class)
			f.wantLast(t, who.Person, audit.ApprovalUse, audit.Refused)
			used, err := exists(t.Context(), f.store, approvalObject(id, usedObject))
			if err != nil || used != errors.Is(tt.class, ErrUsed) {
				t.Errorf("it is marked as used: %v, %v", used, err)
			}
		})
	}
}

func asAlice(f *forgery) (Identity, string)   { return f.alice, f.id }
func asMallory(f *forgery) (Identity, string) { return f.mallory, f.id }
func ofMallory(f *forgery) (Identity, string) { return f.mallory, f.other }

func same(a, b map[string]string) bool {
	for name, body := range b {
		if a[name] != body {
			return false
		}
	}
	return len(a) == len(b)
}

// decision is the approval of a request that nobody gave.
func (f *forgery) decision(t *testing.T, id string) Approval {
	t.Helper()
	req, text, err := f.apps.readRequest(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	now := f.ids.now()
	return Approval{Request: req, RequestSHA256: digest(text), Verdict: Granted, Approver: party(f.bob), Time: now, Expires: now.Add(MaxApprovalLife), Nonce: newNonce()}
}

func (f *forgery) sign(t *testing.T, skey string, d Approval) {
	t.Helper()
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := seal(signer, kindDecision, &d)
	if err != nil {
		t.Fatal(err)
	}
	f.put(t, d.Request.ID, decisionObject, body)
}

// TestForgeryWouldWork: what the tests above forge is refused for its signature
// alone.
func TestForgeryWouldWork(t *testing.T) {
	f := newForgery(t)
	f.sign(t, f.skey, f.decision(t, f.other))
	if err := f.useIt(t, f.mallory, f.other); err != nil {
		t.Errorf("with the right key: %v", err)
	}
}

// TestForgedRequest: an approver is not shown what nobody asked for.
func TestForgedRequest(t *testing.T) {
	f := newForgery(t)
	f.put(t, f.other, requestObject, bytes.Replace(f.object(t, f.other, requestObject), []byte(kidA.String()), []byte(kidB.String()), 1))
	_, err := f.apps.Grant(t.Context(), f.bob, f.other)
	wantClass(t, "Grant", err, ErrForged)
	f.wantLast(t, "bob", audit.ApprovalGrant, audit.Refused)
	_, err = f.apps.Get(t.Context(), f.other)
	wantClass(t, "Get", err, ErrForged)
}

// TestSelfApprovalSigned: not even the right key makes one that counts.
func TestSelfApprovalSigned(t *testing.T) {
	f := newForgery(t)
	both := f.identity(t, "eve", Operator|Approver)
	id := f.ask(t, both)
	d := f.decision(t, id)
	d.Approver = party(both)
	if _, _, err := seal(f.ids.o.Signer, kindDecision, &d); err == nil {
		t.Error("it is signed")
	}
	// As bob's, under the id of eve's token.
	d.Approver = Party{Identity: both.ID, Person: "bob"}
	f.sign(t, f.skey, d)
	wantClass(t, "Use", f.useIt(t, both, id), ErrApprover)
}

// TestAnotherSigner: what an earlier key signed counts while it is trusted.
func TestAnotherSigner(t *testing.T) {
	f := newForgery(t)
	skey, _ := generate(t, "next")
	next, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	o := f.ids.o
	o.Signer, o.Verifiers = next, append([]note.Verifier{next.Verifier()}, o.Verifiers...)
	if _, err := NewApprovals(NewIdentities(o), ApprovalOptions{}).Use(t.Context(), f.alice, f.id, KeysExport, Subject{KID: kidA}); err != nil {
		t.Errorf("the key before is trusted: %v", err)
	}
	o.Verifiers = o.Verifiers[:1]
	_, err = NewApprovals(NewIdentities(o), ApprovalOptions{}).Use(t.Context(), f.alice, f.id, KeysExport, Subject{KID: kidA})
	wantClass(t, "the key before is not trusted", err, ErrForged)
}

// TestApprovalFaults: where the log, or the store, fails, nothing is released.
func TestApprovalFaults(t *testing.T) {
	f := newForgery(t)
	before := f.objects(t)
	ask := func() error {
		_, err := f.apps.Request(t.Context(), f.alice, KeysExport, Subject{KID: kidA}, "x")
		return err
	}
	grant := func() error { _, err := f.apps.Grant(t.Context(), f.bob, f.other); return err }
	refuse := func() error { return f.apps.Refuse(t.Context(), f.bob, f.other, "no") }
	use := func() error { return f.useIt(t, f.alice, f.id) }
	faults := []struct {
		name   string
		before func(op, name string) error
		class  error
	}{
		{"log down", auditDown, errDown},
		{"writes denied", func(op, name string) error {
			if op == "put" && strings.HasPrefix(name, approvalPrefix) {
				return store.ErrDenied
			}
			return nil
		}, store.ErrDenied},
		{"reads denied", func(op, _ string) error {
			if op != "put" {
				return store.ErrDenied
			}
			return nil
		}, store.ErrDenied},
	}
	for _, fault := range faults {
		for name, step := range map[string]func() error{"Request": ask, "Grant": grant, "Refuse": refuse, "Use": use} {
			t.Run(fault.name+"/"+name, func(t *testing.T) {
				f.on(fault.before, nil)
				err := step()
				f.on(nil, nil)
				wantClass(t, name, err, fault.class)
				if isOneOf(err, refusals...) {
					t.Errorf("%v is a refusal", err)
				}
				wantSameObjects(t, before, f.objects(t))
			})
		}
	}
	for name, step := range map[string]func() error{"Request": ask, "Grant": grant, "Use": use} {
		if err := step(); err != nil {
			t.Errorf("%s after the faults: %v", name, err)
		}
	}
}

// TestLostAnswers: a write whose answer was lost is made again, and is one write.
func TestLostAnswers(t *testing.T) {
	f := newForgery(t)
	lost := map[string]bool{}
	f.on(nil, func(op, name string) error {
		if op == "put" && !lost[name] {
			lost[name] = true
			return store.ErrUnavailable
		}
		return nil
	})
	f.approve(t, f.bob, f.other)
	if err := f.useIt(t, f.mallory, f.other); err != nil {
		t.Errorf("Use: %v", err)
	}
	wantClass(t, "again", f.useIt(t, f.mallory, f.other), ErrUsed)
	if len(lost) < 4 {
		t.Errorf("%d answers were lost", len(lost))
	}
}
