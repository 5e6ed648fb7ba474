package dashboard_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/dashboard"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/rotation"
)

// approvedRow marks the row of a route whose request names an approval that the
// operator was granted; the row without the mark names none.
const approvedRow = "+approval"

// endRoute is guarded by less than what it does: who sees a request is let in, and
// an approver may end it, or whoever asked.
const endRoute = "POST /api/v1/requests/{id}/refuse"

// pageRoutes are those that are not the API's. They are served behind the token of
// the pages, or to everybody.
func pageRoutes() []string {
	return []string{"GET /healthz", "GET /metrics", "GET /", "GET /queue", "GET /queue/api/queues"}
}

// row is a line of testdata/routes.txt.
type row struct {
	route    string // METHOD PATH
	approved bool
	action   string // that the role is asked for; - where no role is
	record   string // the audit action that it comes to; - for none
	status   map[string]int
}

func (r row) String() string {
	if r.approved {
		return r.route + " " + approvedRow
	}
	return r.route
}

// readRows reads the table; its last columns are who asks.
func readRows(t *testing.T) (rows []row, who []string) {
	t.Helper()
	b, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "#":
			continue
		case f[0] == "METHOD":
			who = f[5:]
			continue
		case len(f) != 5+len(who) || len(who) == 0:
			t.Fatalf("routes.txt: %q has %d columns", line, len(f))
		}
		r := row{route: f[0] + " " + f[1], approved: f[2] == approvedRow, action: f[3], record: f[4], status: map[string]int{}}
		for i, name := range who {
			if r.status[name], err = strconv.Atoi(f[5+i]); err != nil {
				t.Fatalf("routes.txt: %q: %v", line, err)
			}
		}
		rows = append(rows, r)
	}
	return rows, who
}

// settle makes everybody who asks, and the library with a rotation in it.
func (w *world) settle() {
	w.t.Helper()
	w.people["expired"] = w.join("eve", "operator,approver,auditor")
	w.later(access.DefaultLife + time.Hour)
	for _, r := range access.Roles() {
		w.people[r.String()] = w.join("p-"+r.String(), r.String())
	}
	w.people["revoked"] = w.join("rex", "operator,approver,auditor")
	w.revoke(w.people["revoked"])
	good := w.people["operator"].token
	w.people["unknown"] = holder{token: good[:len(good)-8] + "AAAAAAAA"}
	w.people["pages"] = holder{token: pagesToken}
	w.people["none"] = holder{}

	w.must(os.CopyFS(w.media, fixtures.Library()))
	entries, err := keyring.ParseImport(bytes.NewReader(fixtures.Keys()))
	w.must(err)
	for _, e := range entries {
		w.keys = append(w.keys, e.Key.RevealSecretBytes())
		_, err := w.engine.Ring.Import(w.t.Context(), e.KID, e.Key, keyring.ImportOptions{})
		w.must(err)
	}
	w.scan()
}

func (w *world) scan() {
	w.t.Helper()
	_, err := catalog.Rescan(w.t.Context(), w.engine.Media, w.engine.Index(), register{w}, w.engine.Options(), w.clock)
	w.must(err)
}

// begun is a rotation that stands.
func (w *world) begun(kid string) string {
	w.t.Helper()
	k, err := key.ParseKID(kid)
	w.must(err)
	p, err := w.engine.Start(w.t.Context(), rotation.Request{Kind: journal.Compromise, KIDs: []key.KID{k}, Reason: "test"})
	w.must(err)
	return p.Rotation
}

// call is a request that is well formed and about something that is there.
type call struct {
	path    string
	body    any
	subject access.Subject // of an approved route
	request string         // that approved it
	// check looks at what an allowed one has come to. It may be nil.
	check func(answered) error
}

// calls prepares the requests: a subject of its own for each that changes one.
func (w *world) calls() map[string]func() call {
	other := w.begun("6f746865720000000f1e2d3c4b5a6978")
	vault := w.backup()
	return map[string]func() call{
		"GET /healthz": w.get("/healthz", ""), "GET /metrics": w.get("/metrics", "rekey_up"),
		"GET /": w.get("/", ""), "GET /queue": w.get("/queue", ""), "GET /queue/api/queues": w.get("/queue/api/queues", "queues"),

		"GET /api/v1/keys":                    w.get("/api/v1/keys", `"state":"compromised"`),
		"GET /api/v1/keys/{kid}":              w.get("/api/v1/keys/6d6f766965000000a1b2c3d4e5f60718", `"history":[`),
		"GET /api/v1/restore/key":             w.get("/api/v1/restore/key", "BEGIN PUBLIC KEY"),
		"GET /api/v1/keks":                    w.get("/api/v1/keks", "local:"),
		"GET /api/v1/rotations":               w.get("/api/v1/rotations", other),
		"GET /api/v1/rotations/{id}":          w.get("/api/v1/rotations/"+other, `"old_kid"`),
		"GET /api/v1/audit":                   w.get("/api/v1/audit?n=5", `"outcome"`),
		"GET /api/v1/requests":                w.get("/api/v1/requests", `[`),
		"GET /api/v1/identities":              w.get("/api/v1/identities", `"revoked":true`),
		"POST /api/v1/keks/destroy":           w.kekDestroyed,
		"POST /api/v1/restore":                vault,
		"POST /api/v1/rotations":              w.started,
		"GET /api/v1/requests/{id}":           w.requestSeen,
		"POST /api/v1/identities":             w.joined,
		"POST /api/v1/requests":               w.requested,
		"POST /api/v1/keys/{kid}/state":       w.suspended,
		"POST /api/v1/keys/{kid}/export":      w.exported,
		"POST /api/v1/keys/{kid}/destroy":     w.destroyed,
		"POST /api/v1/requests/{id}/grant":    w.decided("grant", access.StandingGranted),
		"POST /api/v1/requests/{id}/refuse":   w.decided("refuse", access.StandingRefused),
		"POST /api/v1/identities/{id}/revoke": w.revoked,
	}
}

func (w *world) get(path, holds string) func() call {
	return func() call { return call{path: path, check: contains(holds)} }
}

func contains(text string) func(answered) error {
	return func(a answered) error {
		if !strings.Contains(a.body, text) {
			return fmt.Errorf("no %s in the answer %s", text, a.body)
		}
		return nil
	}
}

// inState checks what a key has become.
func (w *world) inState(kid key.KID, s keyring.State) func(answered) error {
	return func(answered) error {
		rec, err := w.engine.Ring.Get(w.t.Context(), kid)
		if err == nil && rec.State != s {
			err = fmt.Errorf("key is %s, want %s", rec.State, s)
		}
		return err
	}
}

func (w *world) suspended() call {
	kid := w.newKey(keyring.Active)
	body := map[string]any{"state": "suspended", "reason": "test"}
	return call{path: "/api/v1/keys/" + kid.String() + "/state", body: body, check: w.inState(kid, keyring.Suspended)}
}

func (w *world) exported() call {
	kid := w.newKey(keyring.Active)
	k := w.keys[len(w.keys)-1]
	return call{path: "/api/v1/keys/" + kid.String() + "/export", subject: access.Subject{KID: kid}, check: contains(hex.EncodeToString(k[:]))}
}

func (w *world) destroyed() call {
	kid := w.newKey(keyring.Deactivated)
	w.later(time.Second)
	w.scan() // shows that nothing depends on it
	return call{path: "/api/v1/keys/" + kid.String() + "/destroy", subject: access.Subject{KID: kid}, check: w.inState(kid, keyring.Destroyed)}
}

func (w *world) kekDestroyed() call {
	w.asked++
	kek, err := w.kek.Create(w.t.Context(), "spare-"+strconv.Itoa(w.asked))
	w.must(err)
	return call{path: "/api/v1/keks/destroy?kek=" + url.QueryEscape(kek), subject: access.Subject{KEK: kek}, check: func(answered) error {
		d, err := w.kek.Describe(w.t.Context(), kek)
		if err == nil && d.State != "pending-destruction" {
			err = fmt.Errorf("KEK is %s", d.State)
		}
		return err
	}}
}

func (w *world) started() call {
	kid, err := key.ParseKID("6d6f766965000000a1b2c3d4e5f60718")
	w.must(err)
	body := dashboard.NewRotation{KIDs: []key.KID{kid}, Reason: "test"}
	return call{path: "/api/v1/rotations", body: body, check: w.inState(kid, keyring.Compromised)}
}

// wish is a request of the operator's that waits.
func (w *world) wish() string {
	return w.request(w.people["operator"], access.KeysExport, access.Subject{KID: w.newKey(keyring.Active)})
}

func (w *world) requestSeen() call {
	id := w.wish()
	return call{path: "/api/v1/requests/" + id, check: contains(id)}
}

func (w *world) requested() call {
	body := dashboard.Wanted{Action: access.KeysExport, Subject: access.Subject{KID: w.newKey(keyring.Active)}, Reason: "test"}
	return call{path: "/api/v1/requests", body: body, check: contains(`"request":"`)}
}

func (w *world) decided(verb string, s access.Standing) func() call {
	return func() call {
		id := w.wish()
		return call{path: "/api/v1/requests/" + id + "/" + verb, body: map[string]string{"reason": "test"}, check: func(answered) error {
			got := w.ask(w.people["auditor"].token, "GET", "/api/v1/requests/"+id, "", nil)
			return contains(`"standing":"` + string(s) + `"`)(got)
		}}
	}
}

func (w *world) joined() call {
	body := map[string]any{"person": "newcomer", "roles": "auditor"}
	return call{path: "/api/v1/identities", body: body, check: contains(`"token":"rekey_`)}
}

func (w *world) revoked() call {
	h := w.join("gone", "auditor")
	return call{path: "/api/v1/identities/" + h.ID + "/revoke", body: map[string]string{"reason": "test"}, check: func(answered) error {
		if got := w.ask(h.token, "GET", "/api/v1/keys", "", nil); got.status != http.StatusUnauthorized {
			return fmt.Errorf("the token is good for %d", got.status)
		}
		return nil
	}}
}

// backup writes one of all keys, and says how it is restored.
func (w *world) backup() func() call {
	w.t.Helper()
	o := backup.Options{Threshold: 2, Created: w.clock()}
	var private []*ecdh.PrivateKey
	for _, name := range []string{"anna", "ben"} {
		p, err := ecdh.P256().GenerateKey(rand.Reader)
		w.must(err)
		private = append(private, p)
		o.Holders = append(o.Holders, backup.Holder{Name: name, Key: p.PublicKey()})
	}
	var file bytes.Buffer
	made, err := backup.Write(&file, w.entries(), o)
	w.must(err)
	sum := sha256.Sum256(file.Bytes())
	digest := hex.EncodeToString(sum[:])
	return func() call {
		b := dashboard.Bundle{Backup: file.Bytes(), Shares: w.shares(made.Header, private), Code: w.code(made)}
		return call{path: "/api/v1/restore?digest=" + digest, body: b, subject: access.Subject{Digest: digest}, check: contains(`"created":0`)}
	}
}

func (w *world) entries() iter.Seq2[backup.Entry, error] {
	return func(yield func(backup.Entry, error) bool) {
		for c, err := range w.engine.Ring.Copies(w.t.Context(), "test") {
			if !yield(backup.Entry(c), err) {
				return
			}
		}
	}
}

// shares are sealed to the server, as their holders send them.
func (w *world) shares(h *backup.Header, private []*ecdh.PrivateKey) (out []string) {
	w.t.Helper()
	pem, err := w.restorer.PublicKey()
	w.must(err)
	to, err := backup.ParsePublicKey(pem)
	w.must(err)
	for i, p := range private {
		share, err := h.OpenShare(h.Shares[i], p)
		w.must(err)
		sealed, err := share.SealTo(to)
		w.must(err)
		text, err := sealed.MarshalText()
		w.must(err)
		out = append(out, string(text))
	}
	return out
}

func (w *world) code(m backup.Made) string {
	w.t.Helper()
	k, err := otp.NewKeyFromURL(m.Enrolment.RevealURL())
	w.must(err)
	code, err := totp.GenerateCodeCustom(k.Secret(), w.clock(), totp.ValidateOpts{
		Period: uint(k.Period()), Digits: k.Digits(), Algorithm: k.Algorithm(), //nolint:gosec // 30
	})
	w.must(err)
	return code
}

// TestRoutesTable: the table has a row for each route, with the action that the
// route asks for, and what the table of roles says to it; two for an approved one.
func TestRoutesTable(t *testing.T) {
	rows, who := readRows(t)
	for _, r := range access.Roles() {
		if !slices.Contains(who, r.String()) {
			t.Errorf("no column of role %s", r)
		}
	}
	want := map[string]string{}
	for _, name := range pageRoutes() {
		want[name] = "-"
	}
	want["GET /metrics"] = string(access.MetricsRead)
	for _, r := range (&dashboard.API{}).Routes() {
		want[r.Method+" "+r.Path] = string(r.Action)
		if r.Approved {
			want[r.Method+" "+r.Path+" "+approvedRow] = string(r.Action)
		}
		if r.Approved != access.NeedsApproval(r.Action) {
			t.Errorf("%s %s: approved %v, %s needs it: %v", r.Method, r.Path, r.Approved, r.Action, access.NeedsApproval(r.Action))
		}
	}
	for _, r := range rows {
		if action, ok := want[r.String()]; !ok || action != r.action {
			t.Errorf("row %s: action %s, the route's is %q, or it stands twice", r, r.action, action)
		}
		delete(want, r.String())
		r.agree(t)
	}
	for name := range want {
		t.Errorf("no row of %s", name)
	}
}

// agree holds a row against the table of roles.
func (r row) agree(t *testing.T) {
	t.Helper()
	for name, status := range r.status {
		role, err := access.ParseRole(name)
		if err != nil || r.action == "-" {
			continue
		}
		_, may := role.Allows(access.Action(r.action))
		if access.NeedsApproval(access.Action(r.action)) {
			may = may && r.approved
		}
		if r.route == endRoute {
			may = role == access.Operator || role == access.Approver
		}
		if may != (status < 300) {
			t.Errorf("row %s: %s gets %d, and the table of roles says %v", r, name, status, may)
		}
	}
}

// TestEveryRouteAndRole makes every request of the table, over HTTP, by everybody.
// What is refused changes nothing and is on record; what is allowed is done, in the
// name of who asked.
func TestEveryRouteAndRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle()
	rows, who := readRows(t)
	calls := w.calls()
	w.listen()
	exports := map[string][16]byte{}
	for _, r := range rows {
		prepare, ok := calls[r.route]
		if !ok {
			t.Errorf("nobody knows how to ask for %s", r)
			continue
		}
		c := w.prepared(r, prepare)
		// Those who are refused change nothing, so that one subject does for all.
		for _, allowed := range []bool{false, true} {
			for _, name := range who {
				if (r.status[name] < http.StatusBadRequest) != allowed {
					continue
				}
				if allowed && r.record != "-" {
					c = w.prepared(r, prepare)
				}
				w.cell(r, name, c, exports)
			}
		}
	}
	if len(exports) != 1 {
		t.Errorf("%d keys were exported", len(exports))
	}
	w.tellsNoKey(exports)
	w.tellsNoToken()
}

// prepared is a call, approved where the row says so.
func (w *world) prepared(r row, prepare func() call) call {
	w.t.Helper()
	c := prepare()
	if r.approved {
		c.request = w.granted(w.people["operator"], w.people["approver"], access.Action(r.action), c.subject)
	}
	return c
}

// cell is one request of one holder.
func (w *world) cell(r row, name string, c call, exports map[string][16]byte) {
	w.t.Helper()
	before := w.stands()
	w.news()
	method, _, _ := strings.Cut(r.route, " ")
	want := r.status[name]
	if want == http.StatusOK && r.action == string(access.KeysExport) {
		exports["POST "+c.path] = w.keys[len(w.keys)-1]
	}
	got := w.ask(w.people[name].token, method, c.path, c.request, c.body)
	what := fmt.Sprintf("%s by %s", r, name)
	if got.status != want {
		w.t.Errorf("%s: status %d, want %d: %s", what, got.status, want, got.body)
		return
	}
	records := w.news()
	if want >= http.StatusBadRequest || r.record == "-" {
		for name, digest := range w.stands() {
			if before[name] != digest {
				w.t.Errorf("%s: %s was written", what, name)
			}
			delete(before, name)
		}
		for name := range before {
			w.t.Errorf("%s: %s is gone", what, name)
		}
	}
	if want >= http.StatusBadRequest {
		w.refusedRight(what, r, name, got, records)
		return
	}
	w.allowedRight(what, r, name, records)
	if c.check != nil {
		if err := c.check(got); err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	}
}

// refusedRight: one record says who was refused what, and the answer why.
func (w *world) refusedRight(what string, r row, name string, got answered, records []audit.Record) {
	w.t.Helper()
	h, class, reason := w.people[name], access.ErrForbidden, access.ErrForbidden.Error()
	if got.status == http.StatusUnauthorized {
		class, reason = access.ErrUnauthenticated, "token is "+name
		if name == "none" || name == "pages" {
			reason = "token is unknown"
		}
	} else if name == "operator" && !r.approved && access.NeedsApproval(access.Action(r.action)) {
		class, reason = access.ErrApprovalNeeded, access.ErrApprovalNeeded.Error()
	}
	if r.action == "-" { // behind the token of the pages, which is nobody's
		if len(records) != 0 || !strings.Contains(got.body, "token") {
			w.t.Errorf("%s: %d records, answer %s", what, len(records), got.body)
		}
		return
	}
	if !strings.Contains(got.body, class.Error()) {
		w.t.Errorf("%s: refused with %q, want %q", what, got.body, class)
	}
	if len(records) != 1 {
		w.t.Errorf("%s: %d records, want 1: %+v", what, len(records), records)
		return
	}
	e, object := records[0], r.action
	if r.route == endRoute && name == "auditor" {
		object = string(access.ApprovalGrant)
	}
	if e.Action != audit.RoleRefuse || e.Outcome != audit.Refused || e.Object != object || !strings.Contains(e.Reason, reason) || !strings.HasPrefix(e.Origin, "10.0.") {
		w.t.Errorf("%s: on record: %+v", what, e)
	}
	if got.status == http.StatusForbidden && (e.Actor != h.Person || e.Client != h.ID || e.Role != h.Roles.String()) {
		w.t.Errorf("%s: on record as %s (%s) in role %s", what, e.Actor, e.Client, e.Role)
	}
	if got.status == http.StatusUnauthorized && (e.Actor != "unknown" || e.Role != "") {
		w.t.Errorf("%s: on record as %s in role %q", what, e.Actor, e.Role)
	}
}

// allowedRight: the deed is on record, and everything on record names who asked.
func (w *world) allowedRight(what string, r row, name string, records []audit.Record) {
	w.t.Helper()
	h, found := w.people[name], false
	for _, e := range records {
		found = found || e.Action == r.record && e.Outcome == audit.Allowed
		if e.Action == "rotation.start" && e.Actor == h.Person {
			continue // the engine knows the person alone
		}
		if e.Actor != h.Person || e.Client != h.ID || e.Role != h.Roles.String() || e.Origin == "" {
			w.t.Errorf("%s: on record as %s (%s) in role %q from %q: %+v", what, e.Actor, e.Client, e.Role, e.Origin, e)
		}
	}
	if found == (r.record == "-") || r.record == "-" && len(records) != 0 {
		w.t.Errorf("%s: %d records, %s among them: %v: %+v", what, len(records), r.record, found, records)
	}
}

// TestNobodyWithoutARole: a token of no role, or of roles that are not given
// together, is not made, and is not let in where somebody makes its object.
func TestNobodyWithoutARole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.join("ada", "admin")
	for _, roles := range []string{"", "none", "root", "operator,admin", "worker,approver", "auditor,operator"} {
		got := w.ask(admin.token, "POST", "/api/v1/identities", "", map[string]any{"person": "x", "roles": roles})
		if got.status != http.StatusBadRequest {
			t.Errorf("roles %q: status %d: %s", roles, got.status, got.body)
		}
	}
	if got := w.ask(admin.token, "POST", "/api/v1/identities", "", map[string]any{"person": "ADA", "roles": "approver"}); got.status != http.StatusForbidden {
		t.Errorf("an admin's grant to themself: status %d: %s", got.status, got.body)
	}
	var all []dashboard.IdentityLine
	if err := json.Unmarshal([]byte(w.ask(admin.token, "GET", "/api/v1/identities", "", nil).body), &all); err != nil || len(all) != 1 {
		t.Errorf("%d identities (%v), want the admin's alone", len(all), err)
	}
}
