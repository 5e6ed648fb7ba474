package dashboard_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

// kept asks for what is refused under an approval that could be used, and wants the
// approval whole and the refusal on record.
func (r *released) kept(what, path, request, action string, status int, words string) {
	r.t.Helper()
	r.news()
	got := r.ask(r.olga.token, "POST", path, request, map[string]any{})
	if got.status != status || !strings.Contains(got.body, words) {
		r.t.Errorf("%s: %d %s, want %d and %q", what, got.status, got.body, status, words)
	}
	if r.used(request) {
		r.t.Errorf("%s: the approval is used up", what)
	}
	found := false
	for _, e := range r.news() {
		found = found || e.Action == action && e.Outcome == audit.Refused && e.Request == request && e.Actor == "olga"
	}
	if !found {
		r.t.Errorf("%s: it is not on record", what)
	}
}

// TestRefusedDestroyKeepsApproval: what is refused for the state of things costs no
// second person's approval, and is done under it when things have changed.
func TestRefusedDestroyKeepsApproval(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	path := "/api/v1/keys/" + r.kid.String() + "/destroy"
	id := r.granted(r.olga, r.anna, access.KeysDestroy, r.subject())
	r.kept("an active key", path, id, audit.KeyDestroy, http.StatusConflict, "from active to destroyed")
	r.must(r.engine.Ring.SetState(t.Context(), r.kid, keyring.Deactivated, "test"))
	r.kept("no scan since", path, id, audit.KeyDestroy, http.StatusConflict, "scan")
	r.must(os.MkdirAll(r.media, 0o700))
	r.later(time.Second)
	r.scan()
	if got := r.ask(r.olga.token, "POST", path, id, nil); got.status != http.StatusOK || !r.used(id) {
		t.Errorf("in the end: %d %s", got.status, got.body)
	}
}

// TestRefusedExportKeepsApproval is the same of a key that is shown to nobody, and
// of one that is not there.
func TestRefusedExportKeepsApproval(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	export := func(kid key.KID) (path, id string) {
		return "/api/v1/keys/" + kid.String() + "/export", r.granted(r.olga, r.anna, access.KeysExport, access.Subject{KID: kid})
	}
	path, id := export(r.kid)
	r.must(r.engine.Ring.SetState(t.Context(), r.kid, keyring.Suspended, "test"))
	// The words are those by which an alarm goes off (package watch).
	r.kept("a suspended key", path, id, audit.KeyRefuse, http.StatusConflict, `use export: key may not be used for that: \"export\" of a key that is suspended`)
	r.must(r.engine.Ring.SetState(t.Context(), r.kid, keyring.Active, "test"))
	r.works("active again", r.olga, id)
	path, id = export(r.kid)
	r.must(r.engine.Ring.SetState(t.Context(), r.kid, keyring.Compromised, "test"))
	r.kept("a compromised key", path, id, audit.KeyRefuse, http.StatusConflict, "of a key that is compromised")
	path, id = export(key.NewKID())
	r.kept("no key", path, id, audit.KeyExport, http.StatusNotFound, keyring.ErrNotFound.Error())
}

// TestRefusedKEKKeepsApproval is the same of a KEK.
func TestRefusedKEKKeepsApproval(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	old, err := r.engine.Ring.KEK(t.Context())
	r.must(err)
	next, err := r.kek.Create(t.Context(), "next")
	r.must(err)
	path := "/api/v1/keks/destroy?kek=" + url.QueryEscape(old)
	id := r.granted(r.olga, r.anna, access.KEKDestroy, access.Subject{KEK: old})
	r.kept("the KEK in use", path, id, audit.KEKDestroy, http.StatusConflict, "new keys are wrapped under it")
	r.must(r.engine.Ring.UseKEK(t.Context(), next, "test"))
	r.kept("a KEK with keys under it", path, id, audit.KEKDestroy, http.StatusConflict, "are under it")
	_, err = r.engine.Ring.RewrapAll(t.Context(), "test", func() {})
	r.must(err)
	if got := r.ask(r.olga.token, "POST", path, id, nil); got.status != http.StatusOK || !r.used(id) {
		t.Errorf("in the end: %d %s", got.status, got.body)
	}
	id = r.granted(r.olga, r.anna, access.KEKDestroy, access.Subject{KEK: old})
	r.later(366 * 24 * time.Hour)
	if d, err := r.kek.Describe(t.Context(), old); err != nil || d.State != kms.KEKDestroyed {
		t.Fatalf("a year later: %+v, %v", d, err)
	}
	r.later(-366 * 24 * time.Hour)
	r.kept("a KEK that is destroyed", path, id, audit.KEKDestroy, http.StatusConflict, "it is destroyed")
	const none = "local:00000000"
	id = r.granted(r.olga, r.anna, access.KEKDestroy, access.Subject{KEK: none})
	r.kept("no KEK", "/api/v1/keks/destroy?kek="+none, id, audit.KEKDestroy, http.StatusNotFound, "")
}

// TestFaultsAreLogged: of what went wrong in the server its log has the cause.
func TestFaultsAreLogged(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	var said bytes.Buffer
	r.engine.Log = slog.New(slog.NewTextHandler(&said, nil))
	name := "keys/" + r.kid.String() + ".json"
	r.must(os.WriteFile(r.root+"/"+name, []byte("{"), 0o600))
	if got := r.ask(r.olga.token, "GET", "/api/v1/keys/"+r.kid.String(), "", nil); got.status != http.StatusInternalServerError {
		t.Fatalf("a corrupt record: %d %s", got.status, got.body)
	}
	if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "status=500") || !strings.Contains(text, name) {
		t.Errorf("logged: %s", text)
	}
}
