package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
)

// commandRow is a line of testdata/roles/commands.txt.
type commandRow struct {
	command string
	action  string // that the server asks the role for; - where there is no server
	record  string // the audit action that it comes to; - for none
	alone   int    // exit code without identities and without a server
	inForce int    // with identities, still without a server
	// through is the exit code through a server by role; nil where the command asks
	// no server, whether or not one is given.
	through map[string]int
}

const commandsTable = "testdata/roles/commands.txt"

func readCommands(t *testing.T) []commandRow {
	t.Helper()
	b, err := os.ReadFile(commandsTable)
	if err != nil {
		t.Fatal(err)
	}
	var rows []commandRow
	var roles []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if ok && name == "COMMAND" {
			roles = f[4:]
			continue
		}
		if !ok || len(roles) == 0 || len(f) != 4+len(roles) {
			t.Fatalf("%s: %q has %d columns", commandsTable, line, len(f))
		}
		r := commandRow{command: name, action: f[0], record: f[1]}
		r.alone, r.inForce = number(t, f[2]), number(t, f[3])
		for i, cell := range f[4:] {
			if cell == "-" {
				continue
			}
			if r.through == nil {
				r.through = map[string]int{}
			}
			r.through[roles[i]] = number(t, cell)
		}
		if r.through != nil && len(r.through) != len(access.Roles()) {
			t.Errorf("%s: %s through a server: %d roles of %d", commandsTable, name, len(r.through), len(access.Roles()))
		}
		rows = append(rows, r)
	}
	return rows
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", commandsTable, err)
	}
	return n
}

// commandNames are the commands that do something, from the tree of them.
func commandNames(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		names = append(names, commandNames(sub)...)
	}
	if !c.HasSubCommands() {
		names = append(names, strings.TrimPrefix(c.CommandPath(), "rekey "))
	}
	return names
}

// TestCommandsTable: the table has a row for each command, and what it says of
// roles is what the table of roles says.
func TestCommandsTable(t *testing.T) {
	want := commandNames((&app{}).rootCommand())
	if len(want) < 30 {
		t.Fatalf("only %d commands: %v", len(want), want)
	}
	l := roleLab{}
	known := l.commands()
	for _, r := range readCommands(t) {
		i := slices.Index(want, r.command)
		if i < 0 {
			t.Errorf("%s: %q is no command, or stands twice", commandsTable, r.command)
			continue
		}
		want = slices.Delete(want, i, i+1)
		if known[r.command] == nil {
			t.Errorf("nobody knows how to run %q", r.command)
		}
		if (r.action == "-") != (r.through == nil) {
			t.Errorf("%s: %s: action %s, through a server %v", commandsTable, r.command, r.action, r.through)
		}
		for role, code := range r.through {
			one, err := access.ParseRole(role)
			if err != nil {
				t.Fatal(err)
			}
			_, may := one.Allows(access.Action(r.action))
			if r.command == "refuse" { // whoever asked, and approvers
				may = one == access.Operator || one == access.Approver
			}
			if may != (code == exitDone) {
				t.Errorf("%s: %s by %s: exit %d, and the table of roles says %v", commandsTable, r.command, role, code, may)
			}
		}
	}
	for _, name := range want {
		t.Errorf("%s has no row of %q", commandsTable, name)
	}
}

// TestEveryCommandAndRole runs every command of the table: without identities, with
// them, and through a server by every role.
func TestEveryCommandAndRole(t *testing.T) {
	l := newRoleLab(t)
	rows, commands := readCommands(t), l.commands()
	for _, r := range rows {
		l.direct(r, "alone", r.alone, commands[r.command]())
	}
	for _, role := range access.Roles() {
		l.join(role.String())
	}
	for _, r := range rows {
		c := commands[r.command]()
		if r.through == nil {
			// Nobody is there: a command that asked would fail.
			c.args = append([]string{"--server", "http://127.0.0.1:1", "--token-file", l.tokens["worker"]}, c.args...)
		}
		l.direct(r, "with roles in force", r.inForce, c)
	}
	stop := l.serve()
	defer stop()
	for _, r := range rows {
		l.everyRole(r, commands[r.command])
	}
	stop()
}

// everyRole runs a command through the server. Those who are refused change
// nothing, so that one subject does for all of them.
func (l *roleLab) everyRole(r commandRow, prepare func() command) {
	l.t.Helper()
	if r.through == nil {
		return
	}
	c := prepare()
	for _, allowed := range []bool{false, true} {
		for _, role := range access.Roles() {
			if (r.through[role.String()] == exitDone) != allowed {
				continue
			}
			if allowed && r.record != "-" {
				c = prepare()
			}
			l.through(r, role.String(), c)
		}
	}
}

// direct runs a command without a server.
func (l *roleLab) direct(r commandRow, when string, want int, c command) {
	l.t.Helper()
	l.news()
	got := c.run(l)
	what := fmt.Sprintf("%s, %s", r.command, when)
	if got.code != want {
		l.t.Errorf("%s: exit %d, want %d: %s%s", what, got.code, want, got.out, got.err)
		return
	}
	record := r.record
	if want != exitDone {
		record = "-"
	}
	if want == exitApproval {
		records := l.news()
		if len(records) != 1 || records[0].Action != audit.RoleRefuse || records[0].Outcome != audit.Refused || records[0].Object != r.command || records[0].Actor != actorName() {
			l.t.Errorf("%s: on record: %+v", what, records)
		}
		if !strings.Contains(got.err, errApproval.Error()) {
			l.t.Errorf("%s: %s", what, got.err)
		}
		return
	}
	l.onRecord(what, record, actorName(), "", l.news())
}

// onRecord looks for a record, and that all name who asked.
func (l *roleLab) onRecord(what, action, actor, client string, records []audit.Record) {
	l.t.Helper()
	found := 0
	for _, e := range records {
		if e.Action == action && e.Outcome != audit.Refused && e.Outcome != audit.Failed {
			found++
		}
		if e.Actor != actor || e.Client != client {
			l.t.Errorf("%s: on record as %q (%q), want %q (%q): %+v", what, e.Actor, e.Client, actor, client, e)
		}
	}
	if action == "-" && len(records) > 0 || action != "-" && found == 0 {
		l.t.Errorf("%s: want %s on record, and there is %+v", what, action, records)
	}
}

// through runs a command through the server; where a second person has to agree it
// asks, is approved, and runs again.
func (l *roleLab) through(r commandRow, role string, c command) {
	l.t.Helper()
	what, want := r.command+" by "+role, r.through[role]
	person, id := "p-"+role, l.ids[role]
	l.news()
	got := l.by(role, c.stdin, c.args...)
	if want != exitDone {
		l.refusedThrough(what, role, got, want)
		return
	}
	if access.NeedsApproval(access.Action(r.action)) {
		request := strings.TrimSpace(got.out)
		if got.code != exitApproval || !strings.Contains(got.err, "rekey approve "+request) {
			l.t.Errorf("%s: asks: exit %d: %s%s", what, got.code, got.out, got.err)
			return
		}
		l.onRecord(what, audit.ApprovalRequest, person, id, l.news())
		if ok := l.by("approver", "", "approve", request); ok.code != exitDone {
			l.t.Errorf("%s: approve: exit %d: %s", what, ok.code, ok.err)
		}
		released := append(slices.Clone(c.args), "--request", request)
		for _, other := range []string{"approver", "auditor", "worker", "admin"} {
			l.news()
			l.refusedThrough(what+", used by "+other, other, l.by(other, c.stdin, released...), exitFailed)
		}
		l.news()
		got = l.by(role, c.stdin, released...)
		defer func() {
			for _, name := range c.makes {
				l.must(os.Remove(name))
			}
			if again := l.by(role, c.stdin, released...); again.code != exitFailed || !strings.Contains(again.err, access.ErrUsed.Error()) {
				l.t.Errorf("%s: again: exit %d: %s", what, again.code, again.err)
			}
		}()
	}
	if got.code != want {
		l.t.Errorf("%s: exit %d, want %d: %s%s", what, got.code, want, got.out, got.err)
		return
	}
	l.onRecord(what, r.record, person, id, l.news())
}

// refusedThrough: the program says why, and the server has it on record.
func (l *roleLab) refusedThrough(what, role string, got ran, want int) {
	l.t.Helper()
	if got.code != want || !strings.Contains(got.err, access.ErrForbidden.Error()) || got.out != "" {
		l.t.Errorf("%s: exit %d, want %d: %s%s", what, got.code, want, got.out, got.err)
	}
	records := l.news()
	if len(records) != 1 || records[0].Action != audit.RoleRefuse || records[0].Client != l.ids[role] || records[0].Actor != "p-"+role {
		l.t.Errorf("%s: on record: %+v", what, records)
	}
}
