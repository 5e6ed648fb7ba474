package access

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestTable holds the whole table against what was agreed on.
func TestTable(t *testing.T) {
	golden := filepath.Join("testdata", "table.md")
	if *update {
		if err := os.WriteFile(golden, []byte(Table()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := Table(); got != string(want) {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

// TestEveryActionIsInTheTable reads the constants from the source.
func TestEveryActionIsInTheTable(t *testing.T) {
	src, err := os.ReadFile("role.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\t\w+ +Action = "([^"]+)"`).FindAllSubmatch(src, -1)
	if len(found) < 40 {
		t.Fatalf("found %d actions in the source", len(found))
	}
	all := Actions()
	for _, m := range found {
		if !slices.Contains(all, Action(m[1])) {
			t.Errorf("%s is not in the table", m[1])
		}
	}
	if len(all) != len(found) {
		t.Errorf("the table has %d rows for %d actions", len(all), len(found))
	}
}

// TestTableKeepsDutiesApart holds what no row may break.
func TestTableKeepsDutiesApart(t *testing.T) {
	for _, a := range Actions() {
		for _, r := range Roles() {
			_, ok := r.Allows(a)
			if NeedsApproval(a) && ok != (r == Operator) {
				t.Errorf("%s does %s: %v", r, a, ok)
			}
			if ok && r == Worker && a != WorkerUnwrap {
				t.Errorf("worker does %s", a)
			}
			if ok && r == Admin && a != IdentityGrant && a != IdentityRevoke && a != IdentityList {
				t.Errorf("admin does %s", a)
			}
			if ok && r == Approver && a != ApprovalGrant && Auditor.mayNot(a) {
				t.Errorf("approver does %s, which is more than to look", a)
			}
			if ok && a == ApprovalGrant && r != Approver {
				t.Errorf("%s approves", r)
			}
		}
	}
	for a := range needsApproval {
		if !slices.Contains(Actions(), a) {
			t.Errorf("%s needs approval and is not in the table", a)
		}
		if err := subjectFor(t, a).check(a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if err := (Subject{Object: "x"}).check(a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s of nothing: %v, want ErrInvalid", a, err)
		}
	}
	if _, ok := Role(0xff).Allows("keys.reveal"); ok {
		t.Error("an action that is not in the table is allowed")
	}
	if role, ok := (Operator | Approver).Allows(KeysList); !ok || role != Operator {
		t.Errorf("operator,approver lists keys as %q, %v", role, ok)
	}
}

func (r Role) mayNot(a Action) bool { _, ok := r.Allows(a); return !ok }

func TestRoleText(t *testing.T) {
	tests := []struct {
		text string
		role Role
		ok   bool
	}{
		{"operator", Operator, true},
		{"operator,approver,auditor", staff, true},
		{"worker", Worker, true},
		{"admin", Admin, true},
		{"", 0, false},
		{"root", 0, false},
		{"Operator", 0, false},
		{"operator,", 0, false},
		{"operator, approver", 0, false},
	}
	for _, tt := range tests {
		got, err := ParseRole(tt.text)
		if got != tt.role || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseRole(%q) = %v, %v", tt.text, got, err)
		}
		if tt.ok && got.String() != tt.text {
			t.Errorf("%q prints as %q", tt.text, got)
		}
	}
	var r Role
	for _, bad := range []string{`"approver,operator"`, `"operator,operator"`, `""`, `1`} {
		if err := json.Unmarshal([]byte(bad), &r); err == nil {
			t.Errorf("%s reads as %s", bad, r)
		}
	}
	if s := Role(0xe1).String(); s != "operator,Role(0xe0)" {
		t.Errorf("unknown roles print as %s", s)
	}
	for _, r := range []Role{0, 1 << 7, Admin | Operator, Admin | Worker, Worker | Auditor, Worker | Approver} {
		if err := r.check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("one token holds %q: %v", r, err)
		}
	}
}
