package access

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

var start = time.Date(2026, 5, 4, 23, 50, 1, 987654321, time.UTC)

// bench is a control store with everything that a test may want to turn.
type bench struct {
	ids   *Identities
	apps  *Approvals
	root  string
	store *storetest.Faulty
	skey  string

	mu     sync.Mutex
	now    time.Time
	newest string                      // audit record
	hook   func(op, name string) error // before a call of the store
	lost   func(op, name string) error // after it
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{root: t.TempDir(), now: start}
	dir, err := store.OpenDir(b.root)
	if err != nil {
		t.Fatal(err)
	}
	b.store = &storetest.Faulty{
		Store: dir,
		Before: func(op, name string) error {
			b.mu.Lock()
			hook := b.hook
			b.mu.Unlock()
			if hook == nil {
				return nil
			}
			return hook(op, name)
		},
		After: func(op, name string) error {
			b.mu.Lock()
			hook := b.lost
			if op == "put" && strings.HasPrefix(name, "audit/") {
				b.newest = name
			}
			b.mu.Unlock()
			if hook == nil {
				return nil
			}
			return hook(op, name)
		},
	}
	b.skey, _ = generate(t, "test")
	b.ids, b.apps = b.process(t, b.skey)
	return b
}

// process is another process on the same store, with a signing key.
func (b *bench) process(t *testing.T, skey string) (*Identities, *Approvals) {
	t.Helper()
	s, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	ids := NewIdentities(Options{
		Store: b.store, Log: audit.New(b.store, b.clock, "serve"), Clock: b.clock,
		Signer: s, Verifiers: []note.Verifier{s.Verifier()},
	})
	return ids, NewApprovals(ids, ApprovalOptions{})
}

func generate(t testing.TB, name string) (skey, vkey string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	return skey, vkey
}

// clock never says the same twice, so that records have an order.
func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(time.Microsecond)
	return b.now
}

func (b *bench) later(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// on fails calls of the store, before or after they are done.
func (b *bench) on(before, after func(op, name string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook, b.lost = before, after
}

func (b *bench) console(t *testing.T) Identity {
	t.Helper()
	c, err := Console("root")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// grant gives roles to a person, from the console.
func (b *bench) grant(t *testing.T, person string, roles Role) (string, Identity) {
	t.Helper()
	token, id, err := b.ids.Grant(t.Context(), b.console(t), Grant{Person: person, Roles: roles})
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	return token.RevealSecretText(), id
}

func (b *bench) identity(t *testing.T, person string, roles Role) Identity {
	t.Helper()
	_, id := b.grant(t, person, roles)
	return id
}

var (
	kidA = key.KIDFromURI("a")
	kidB = key.KIDFromURI("b")
)

// subjectFor is a subject that an action's approval may have.
func subjectFor(t *testing.T, a Action) Subject {
	t.Helper()
	s, ok := map[Action]Subject{
		KeysExport:      {KID: kidA},
		KeysDestroy:     {KID: kidA},
		KeysBackup:      {Object: "any 2 of 3: " + strings.Repeat("x", maxField), Digest: strings.Repeat("0f", 32)},
		KeysRestore:     {Object: "backup-7", Digest: strings.Repeat("0f", 32)},
		KEKDestroy:      {KEK: "local:0a0b0c0d"},
		RotationPurge:   {Rotation: "r1"},
		RotationInPlace: {Rotation: "r1", Asset: "movie"},
	}[a]
	if !ok {
		t.Fatalf("the test has no subject for %s", a)
	}
	return s
}

// ask requests the export of kidA.
func (b *bench) ask(t *testing.T, by Identity) string {
	t.Helper()
	id, err := b.apps.Request(t.Context(), by, KeysExport, Subject{KID: kidA}, "player vendor's test")
	if err != nil {
		t.Fatalf("Request: %v", err)
	}
	return id
}

func (b *bench) approve(t *testing.T, by Identity, id string) Approval {
	t.Helper()
	a, err := b.apps.Grant(t.Context(), by, id)
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	return a
}

// useIt uses an approval of what ask asks for.
func (b *bench) useIt(t *testing.T, by Identity, id string) error {
	t.Helper()
	a, err := b.apps.Use(t.Context(), by, id, KeysExport, Subject{KID: kidA})
	if err == nil && (a.Request.ID != id || a.Request.Action != KeysExport || len(a.Note()) == 0) {
		t.Errorf("Use returned another approval: %+v", a)
	}
	if err != nil && a.Request.ID != "" {
		t.Error("Use returned an approval with an error")
	}
	return err
}

// records reads the whole audit log, in the order of time.
func (b *bench) records(t *testing.T) []audit.Record {
	t.Helper()
	var out []audit.Record
	for r, err := range audit.Read(t.Context(), b.store) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// last is the newest record, as it stands in the store.
func (b *bench) last(t *testing.T) audit.Record {
	t.Helper()
	if b.newest == "" {
		t.Fatal("nothing is on the audit log")
	}
	var entry struct{ Record audit.Record }
	if err := json.Unmarshal(b.readObject(t, b.newest), &entry); err != nil {
		t.Fatal(err)
	}
	return entry.Record
}

func (b *bench) wantLast(t *testing.T, actor, action, outcome string) audit.Record {
	t.Helper()
	r := b.last(t)
	if r.Actor != actor || r.Action != action || r.Outcome != outcome {
		t.Errorf("last on the log: %s %s %s (%s); want %s %s %s", r.Actor, r.Action, r.Outcome, r.Reason, actor, action, outcome)
	}
	return r
}

// objects are what stands in the control store besides the audit log, with bytes.
func (b *bench) objects(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(b.root, path)
		if err != nil || strings.HasPrefix(name, "audit/") {
			return err
		}
		body, err := os.ReadFile(path)
		out[filepath.ToSlash(name)] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (b *bench) readObject(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(b.root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// writeObject does what whoever can write the store can.
func (b *bench) writeObject(t *testing.T, name string, body []byte) {
	t.Helper()
	path := filepath.Join(b.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

var errDown = errors.New("the disk is full")

func auditDown(op, name string) error {
	if op == "put" && strings.HasPrefix(name, "audit/") {
		return errDown
	}
	return nil
}

func wantClass(t *testing.T, what string, err error, classes ...error) {
	t.Helper()
	for _, c := range classes {
		if !errors.Is(err, c) {
			t.Errorf("%s: %v; want class %v", what, err, c)
		}
	}
}
