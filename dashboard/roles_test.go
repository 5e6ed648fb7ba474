package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/dashboard"
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
