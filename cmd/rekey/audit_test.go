package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// auditLab is a control store with five records, sequenced, its key and its
// checkpoint held beside it.
type auditLab struct {
	t    *testing.T
	root string
}

func newAuditLab(t *testing.T) *auditLab {
	l := &auditLab{t, t.TempDir()}
	if err := os.Mkdir(l.at("control"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenDir(l.at("control"))
	if err != nil {
		t.Fatal(err)
	}
	log := audit.New(s, time.Now, "alice")
	for range 5 {
		if err := log.Append(t.Context(), audit.Record{Action: audit.KeyUnwrap, Outcome: audit.Allowed, Reason: "why\x1b[2J"}); err != nil {
			t.Fatal(err)
		}
	}
	l.rekey(0, "audit", "sequence", "--control", l.at("control"), "--signing-key", l.at("key"), "--ship", l.at("held"), "--verifier-key", l.at("public"))
	return l
}

func (l *auditLab) at(name string) string { return filepath.Join(l.root, name) }

func (l *auditLab) rekey(want int, args ...string) string {
	l.t.Helper()
	var out, errs bytes.Buffer
	if code := run(l.t.Context(), args, strings.NewReader(""), &out, &errs); code != want {
		l.t.Fatalf("rekey %q: exit %d, want %d\n%s%s", args, code, want, &out, &errs)
	}
	return out.String()
}

// holding is a command of somebody who holds the key and the checkpoint.
func (l *auditLab) holding(args ...string) []string {
	return append([]string{"audit", args[0], "--key", l.at("public"), "--checkpoint", l.at("held")}, args[1:]...)
}

func (l *auditLab) write(name string, body []byte) {
	l.t.Helper()
	if err := os.WriteFile(name, body, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// TestAuditProve: every record's proof checks without the store, and not when
// anything in it is changed.
func TestAuditProve(t *testing.T) {
	l := newAuditLab(t)
	var ids []string
	for line := range strings.Lines(l.rekey(0, "audit", "tail", "--json", "--control", l.at("control"))) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	if len(ids) != 5 {
		t.Fatalf("%d records, want 5", len(ids))
	}
	if text := l.rekey(0, "audit", "tail", "--control", l.at("control")); strings.Contains(text, "\x1b") {
		t.Error("a record reaches the terminal unquoted")
	}
	check := l.holding("verify", "--proof", l.at("proof"), "--control", l.at("nowhere"))
	for _, id := range ids {
		proof := l.rekey(0, l.holding("prove", id, "--control", l.at("control"))...)
		l.write(l.at("proof"), []byte(proof))
		if out := l.rekey(0, check...); !strings.Contains(out, id) {
			t.Errorf("the proof of %s is of %s", id, out)
		}
		l.write(l.at("proof"), []byte(strings.Replace(proof, `"index": `, `"index": 1`, 1)))
		l.rekey(1, check...)
	}
}

// TestAuditTampered: each record that is changed is found.
func TestAuditTampered(t *testing.T) {
	l := newAuditLab(t)
	all, err := filepath.Glob(filepath.Join(l.at("control"), "audit/*/*/*/*.json"))
	if err != nil || len(all) != 4 { // the first of the stream stands elsewhere
		t.Fatalf("%d records (%v), want 4", len(all), err)
	}
	for _, name := range all {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		l.write(name, bytes.Replace(body, []byte("alice"), []byte("malic"), 1))
		object, err := filepath.Rel(l.at("control"), name)
		if err != nil {
			t.Fatal(err)
		}
		if out := l.rekey(1, l.holding("verify", "--control", l.at("control"))...); !strings.Contains(out, "changed: "+object) {
			t.Errorf("%s was changed; found: %s", object, out)
		}
		l.write(name, body)
	}
	l.rekey(0, l.holding("verify", "--control", l.at("control"))...)
}
