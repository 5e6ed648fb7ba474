package dashboard_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

// released is a world with an operator and an approver, and what the tests change.
type released struct {
	*world
	olga, otto, anna holder
	kid              key.KID
}

func newReleased(t *testing.T) *released {
	r := &released{world: newWorld(t)}
	r.olga, r.otto, r.anna = r.join("olga", "operator"), r.join("otto", "operator"), r.join("anna", "approver")
	r.kid = r.newKey(keyring.Active)
	r.listen()
	return r
}

// subject is the key of r.
func (r *released) subject() access.Subject { return access.Subject{KID: r.kid} }

// refused makes a request that must be refused with the status and the class, and
// leave no key opened, nothing changed and a record behind.
func (r *released) refused(what string, ask func() answered, status int, class error) {
	r.t.Helper()
	before := r.stands()
	r.news()
	got := ask()
	if got.status != status || class != nil && !strings.Contains(got.body, class.Error()) {
		r.t.Errorf("%s: %d %s, want %d %v", what, got.status, got.body, status, class)
	}
	after := r.stands()
	for name := range after {
		if before[name] != after[name] {
			r.t.Errorf("%s: %s was written", what, name)
		}
	}
	found := false
	for _, e := range r.news() {
		found = found || e.Outcome == audit.Refused
		if e.Action == audit.KeyExport || e.Action == audit.KeyUnwrap || e.Outcome == audit.Allowed {
			r.t.Errorf("%s: on record: %+v", what, e)
		}
	}
	if !found {
		r.t.Errorf("%s: no refusal is on record", what)
	}
}

// exports is an export by a holder under a request.
func (r *released) exports(by holder, request string) func() answered {
	return func() answered { return r.export(by, r.kid, request) }
}

func (r *released) grants(by holder, request string) func() answered {
	return func() answered { return r.grant(by, request) }
}

// works: an approval that others could not use is still good for its own.
func (r *released) works(what string, by holder, request string) {
	r.t.Helper()
	if got := r.export(by, r.kid, request); got.status != http.StatusOK || !strings.Contains(got.body, r.kid.String()) {
		r.t.Errorf("%s: the approval is no longer good for what it is for: %d %s", what, got.status, got.body)
	}
	if !r.used(request) {
		r.t.Errorf("%s: the approval is not used up", what)
	}
}

// TestOwnRequest: nobody approves what they asked for, by whatever token and
// however their name is written.
func TestOwnRequest(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	both := r.join("Bert", "operator,approver")
	again := r.join("BERT", "approver")
	id := r.request(both, access.KeysExport, r.subject())
	r.refused("own token", r.grants(both, id), http.StatusForbidden, access.ErrSelfApproval)
	r.refused("own other token", r.grants(again, id), http.StatusForbidden, access.ErrSelfApproval)
	r.refused("operator's token", r.grants(r.olga, id), http.StatusForbidden, access.ErrForbidden)
	r.refused("used all the same", r.exports(both, id), http.StatusForbidden, access.ErrApprovalNeeded)
	if got := r.grant(r.anna, id); got.status != http.StatusOK {
		t.Fatalf("another approver: %d %s", got.status, got.body)
	}
	r.works("self-approval", both, id)
}

// TestApprovalIsForOneThing: for its action, its subject, by who asked.
func TestApprovalIsForOneThing(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	id := r.granted(r.olga, r.anna, access.KeysExport, r.subject())
	other := r.newKey(keyring.Active)
	off := r.newKey(keyring.Deactivated)
	post := func(by holder, path string) func() answered {
		return func() answered { return r.ask(by.token, "POST", "/api/v1/"+path, id, map[string]any{}) }
	}
	for what, ask := range map[string]func() answered{
		"another key":         post(r.olga, "keys/"+other.String()+"/export"),
		"another action":      post(r.olga, "keys/"+r.kid.String()+"/destroy"),
		"both":                post(r.olga, "keys/"+off.String()+"/destroy"),
		"a restore":           post(r.olga, "restore?backup="+strings.Repeat("cd", 32)+"&digest="+strings.Repeat("ab", 32)),
		"the end of a KEK":    post(r.olga, "keks/destroy?kek=local:00000000"),
		"another's request":   r.exports(r.otto, id),
		"approved for others": post(r.otto, "keys/"+other.String()+"/export"),
	} {
		r.refused(what, ask, http.StatusForbidden, access.ErrMismatch)
	}
	r.refused("the approver's own use", r.exports(r.anna, id), http.StatusForbidden, access.ErrForbidden)
	r.works("mismatches", r.olga, id)
	// The person counts, not the token.
	id = r.granted(r.olga, r.anna, access.KeysExport, r.subject())
	r.works("another token of the same person", r.join("Olga", "operator"), id)
}

// TestApprovalIsUsedOnce: again it is refused, and of many at once one is served.
func TestApprovalIsUsedOnce(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	id := r.granted(r.olga, r.anna, access.KeysExport, r.subject())
	const many = 8
	statuses := make([]int, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { statuses[i] = r.export(r.olga, r.kid, id).status })
	}
	wg.Wait()
	served := 0
	for _, s := range statuses {
		switch s {
		case http.StatusOK:
			served++
		case http.StatusConflict:
		default:
			t.Errorf("status %d", s)
		}
	}
	if served != 1 {
		t.Errorf("%d of %d at once were served", served, many)
	}
	r.refused("used again", r.exports(r.olga, id), http.StatusConflict, access.ErrUsed)
	r.refused("granted again", r.grants(r.anna, id), http.StatusConflict, access.ErrDecided)
}

// TestApprovalEnds: out of time, refused, withdrawn, or not there.
func TestApprovalEnds(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	waits := r.request(r.olga, access.KeysExport, r.subject())
	r.refused("not granted", r.exports(r.olga, waits), http.StatusForbidden, access.ErrApprovalNeeded)
	r.refused("no request", r.exports(r.olga, waits[:len(waits)-4]+"0000"), http.StatusNotFound, access.ErrNotFound)
	r.refused("no id", r.exports(r.olga, "../../keys/x"), http.StatusBadRequest, access.ErrInvalid)

	end := func(by holder, id string) func() answered {
		return func() answered {
			return r.ask(by.token, "POST", "/api/v1/requests/"+id+"/refuse", "", map[string]string{"reason": "no"})
		}
	}
	r.refused("ended by another operator", end(r.otto, waits), http.StatusForbidden, access.ErrForbidden)
	for what, by := range map[string]holder{"refused": r.anna, "withdrawn": r.olga} {
		id := r.request(r.olga, access.KeysExport, r.subject())
		if got := end(by, id)(); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		r.refused(what+", then granted", r.grants(r.anna, id), http.StatusConflict, access.ErrDecided)
		r.refused(what+", then used", r.exports(r.olga, id), http.StatusForbidden, access.ErrRefused)
	}
	late := r.granted(r.olga, r.anna, access.KeysExport, r.subject())
	r.rounds = 16
	r.later(time.Hour)
	r.refused("an hour later", r.exports(r.olga, late), http.StatusGone, access.ErrLapsed)
	r.later(24 * time.Hour)
	r.refused("granted a day later", r.grants(r.anna, waits), http.StatusGone, access.ErrLapsed)
}

// TestApproverStands: an approval falls with the token of who gave it, and with
// that of who asked.
func TestApproverStands(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	id := r.granted(r.olga, r.anna, access.KeysExport, r.subject())
	r.revoke(r.anna)
	r.refused("approver revoked", r.exports(r.olga, id), http.StatusForbidden, access.ErrApprover)

	brief := r.brief("berta", access.Approver, 30*time.Minute)
	id = r.granted(r.olga, brief, access.KeysExport, r.subject())
	r.later(40 * time.Minute)
	r.refused("approver expired", r.exports(r.olga, id), http.StatusForbidden, access.ErrApprover)

	carl := r.join("carl", "approver")
	id = r.granted(r.olga, carl, access.KeysExport, r.subject())
	r.revoke(r.olga)
	r.refused("requester revoked", r.exports(r.olga, id), http.StatusUnauthorized, access.ErrRevoked)
	r.refused("requester revoked, used by another", r.exports(r.otto, id), http.StatusForbidden, access.ErrMismatch)
	r.works("requester's other token", r.join("olga", "operator"), id)
}

// brief grants a role for some time.
func (w *world) brief(person string, role access.Role, life time.Duration) holder {
	w.t.Helper()
	by, err := access.Console("root")
	w.must(err)
	token, id, err := w.ids.Grant(w.t.Context(), by, access.Grant{Person: person, Roles: role, Expires: w.clock().Add(life)})
	w.must(err)
	return holder{id, token.RevealSecretText()}
}

// TestForgedApproval: what a writer of the control store puts there releases
// nothing.
func TestForgedApproval(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	granted := r.granted(r.olga, r.anna, access.KeysExport, r.subject())
	waits := r.request(r.olga, access.KeysExport, r.subject())
	decision := r.read(granted, "decision.note")
	forger := signer(t, "rekey-audit")
	text := strings.ReplaceAll(string(decision), granted, waits)
	for what, body := range map[string][]byte{
		"another request's":          decision,
		"another's, its id changed":  []byte(text),
		"signed by somebody":         sign(t, text[:strings.Index(text, "\n\n")+1], forger),
		"the request for a decision": r.read(waits, "request.note"),
		"not signed":                 []byte(text[:strings.Index(text, "\n\n")+2]),
		"nothing":                    {},
		"long":                       bytes.Repeat([]byte{'a'}, 70_000),
	} {
		r.write(waits, "decision.note", body)
		r.refused(what, r.exports(r.olga, waits), http.StatusInternalServerError, nil)
	}
	r.flip(granted, "decision.note")
	r.flip(granted, "request.note")
	r.works("forgeries", r.olga, granted)
}

// flip changes each of many bits of an object's signed text.
func (r *released) flip(request, object string) {
	r.t.Helper()
	whole := r.read(request, object)
	end := bytes.Index(whole, []byte("\n\n"))
	flipped := 0
	for i := 0; i < end; i += 7 {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		r.write(request, object, bad)
		if got := r.export(r.olga, r.kid, request); got.status != http.StatusInternalServerError {
			r.t.Errorf("bit %d of byte %d of %s: %d %s", i%8, i, object, got.status, got.body)
		}
		flipped++
	}
	if flipped < 40 {
		r.t.Errorf("only %d bits of %s were changed", flipped, object)
	}
	for cut := 1; cut < len(whole); cut += 211 {
		r.write(request, object, whole[:cut])
		if got := r.export(r.olga, r.kid, request); got.status != http.StatusInternalServerError {
			r.t.Errorf("%s cut after %d bytes: %d %s", object, cut, got.status, got.body)
		}
	}
	if r.used(request) {
		r.t.Errorf("an approval whose %s was changed was used up", object)
	}
	r.write(request, object, whole)
}

// TestForgedIdentity: a token whose object was made or changed without the signing
// key lets nobody in.
func TestForgedIdentity(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	w := r.join("wim", "worker")
	name := r.root + "/identities/" + w.ID + ".note"
	whole, err := os.ReadFile(name)
	r.must(err)
	raised := strings.Replace(string(whole), `"roles": "worker"`, `"roles": "auditor"`, 1)
	if raised == string(whole) {
		t.Fatalf("no role in %s", whole)
	}
	forger := signer(t, "rekey-audit")
	for what, body := range map[string][]byte{
		"raised":              []byte(raised),
		"signed by somebody":  sign(t, raised[:strings.Index(raised, "\n\n")+1], forger),
		"another's":           mustRead(t, r.root+"/identities/"+r.olga.ID+".note"),
		"of no role, by ours": sign(t, strings.Replace(string(whole[:bytes.Index(whole, []byte("\n\n"))+1]), `"worker"`, `""`, 1), r.signer),
	} {
		r.must(os.WriteFile(name, body, 0o600))
		for _, path := range []string{"keys", "audit", "identities", "requests", "rotations"} {
			if got := r.ask(w.token, "GET", "/api/v1/"+path, "", nil); got.status < 400 {
				t.Errorf("%s: %s: %d %s", what, path, got.status, got.body)
			}
		}
	}
	r.must(os.WriteFile(name, whole, 0o600))
	if got := r.ask(w.token, "GET", "/api/v1/keys", "", nil); got.status != http.StatusForbidden {
		t.Errorf("put back: %d %s", got.status, got.body)
	}
}

func (w *world) read(request, object string) []byte {
	w.t.Helper()
	return mustRead(w.t, w.noteFile(request, object))
}

func (w *world) write(request, object string, body []byte) {
	w.t.Helper()
	w.must(os.WriteFile(w.noteFile(request, object), body, 0o600))
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sign makes a signed object of a text.
func sign(t *testing.T, text string, s note.Signer) []byte {
	t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(fmt.Errorf("sign %q: %w", text, err))
	}
	return b
}
