package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// bench is a ring on a directory, with everything a test may want to turn.
type bench struct {
	*Ring
	root  string // of the control store
	store *faulty
	kek   string
	kms   *kms.Local
	log   *audit.Log
	clock func() time.Time
	// open are the rotations that may open compromised keys.
	open rotations
	keks int // that anotherKEK made
	made int // audit records of the first use
}

// rotations are the starts of open rotations, by name.
type rotations map[string]time.Time

func (r rotations) Opened(_ context.Context, rotation string, _ key.KID) (time.Time, error) {
	if t, ok := r[rotation]; ok {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%w: there is no such rotation", ErrForbidden)
}

var start = time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC)

func newBench(t *testing.T) *bench {
	t.Helper()
	root := t.TempDir()
	dir, err := store.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	local := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master")})
	kek, err := local.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &faulty{Store: dir}
	var mu sync.Mutex
	now := start
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Millisecond)
		return now
	}
	b := &bench{root: root, store: s, kek: kek, kms: local, log: audit.New(s, clock, "alice"), clock: clock, open: rotations{"r1": start}}
	b.Ring = b.ring(s, local)
	// The first KEK, and the fingerprints' secret, are made by the first use.
	if _, err := b.fingerprint(t.Context(), key.NewContentKey()); err != nil {
		t.Fatal(err)
	}
	b.made = len(b.entries(t))
	return b
}

// ring is another ring over the same store.
func (b *bench) ring(s store.Store, w Wrapper) *Ring {
	r := New(Options{Store: s, KMS: w, KEK: b.kek, Log: b.log, Clock: b.clock, Rotations: b.open})
	return r.AsWorker()
}

// rival is a ring that does not pass the bench's faults.
func (b *bench) rival() *Ring { return b.ring(b.store.Store, b.kms) }

// logOver is another process's log, over that process's store.
func (b *bench) logOver(s store.Store) *audit.Log { return audit.New(s, b.clock, "alice") }

// anotherKEK is a KEK that nothing is under yet.
func (b *bench) anotherKEK(t *testing.T) string {
	t.Helper()
	b.keks++
	kek, err := b.kms.Create(t.Context(), fmt.Sprintf("kek-%d", b.keks))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// forget takes an object away behind the ring's back.
func (b *bench) forget(t *testing.T, name string) {
	t.Helper()
	if _, err := b.store.Stat(t.Context(), name); err != nil {
		t.Fatalf("there is nothing to take away: %v", err)
	}
	if err := b.store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// putBack writes an object behind the ring's back, over whatever stands.
func (b *bench) putBack(t *testing.T, name string, body []byte) {
	t.Helper()
	if _, err := b.store.Put(t.Context(), name, body, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// object is what stands under a name.
func (b *bench) object(t *testing.T, name string) []byte {
	t.Helper()
	body, _, err := store.ReadAll(t.Context(), b.store, name, "", maxRecord, nil)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// copyOf is a key's copy, as a backup has it.
func (b *bench) copyOf(t *testing.T, kid key.KID) Copy {
	t.Helper()
	for c, err := range b.Copies(t.Context(), "backup") {
		if err != nil {
			t.Fatal(err)
		}
		if c.KID == kid {
			return c
		}
	}
	t.Fatalf("no copy of %s", kid)
	return Copy{}
}

// faulty is a store whose calls a test may fail or watch.
type faulty struct {
	store.Store
	mu     sync.Mutex
	before func(op, name string) error // nil: none; may return nil to pass
}

func (f *faulty) on(hook func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

func (f *faulty) check(op, name string) error {
	f.mu.Lock()
	hook := f.before
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op, name)
}

func (f *faulty) Put(ctx context.Context, name string, body []byte, o store.PutOptions) (store.Info, error) {
	if err := f.check("put", name); err != nil {
		return store.Info{}, &store.Error{Op: "put", Key: name, Err: err}
	}
	return f.Store.Put(ctx, name, body, o)
}

func (f *faulty) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := f.check("stat", name); err != nil {
		return store.Info{}, &store.Error{Op: "stat", Key: name, Err: err}
	}
	return f.Store.Stat(ctx, name)
}

var errAudit = errors.New("audit store is full")

// auditDown fails every write of an audit record.
func auditDown(op, name string) error {
	if op == "put" && strings.HasPrefix(name, "audit/") {
		return errAudit
	}
	return nil
}

// entries reads the whole audit log as "action outcome" lines.
func (b *bench) entries(t *testing.T) []string {
	t.Helper()
	var out []string
	for r, err := range audit.Read(t.Context(), b.store) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.Action+" "+r.Outcome)
	}
	return out[b.made:]
}

func (b *bench) lastEntry(t *testing.T) audit.Record {
	t.Helper()
	var last audit.Record
	for r, err := range audit.Read(t.Context(), b.store) {
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	return last
}

func (b *bench) mustImport(t *testing.T, kid key.KID, k key.ContentKey) {
	t.Helper()
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || !created {
		t.Fatalf("Import: %v, %v; want true, nil", created, err)
	}
}

func (b *bench) mustSet(t *testing.T, kid key.KID, to State) {
	t.Helper()
	if err := b.set(t, kid, to, "test"); err != nil {
		t.Fatalf("to %s: %v", to, err)
	}
}

func (b *bench) set(t *testing.T, kid key.KID, to State, reason string) error {
	if to == Destroyed {
		return b.Destroy(t.Context(), kid, reason)
	}
	return b.SetState(t.Context(), kid, to, reason)
}

func (b *bench) path(kid key.KID) string {
	return filepath.Join(b.root, filepath.FromSlash(objectName(kid)))
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// spellings are the ways a key could show itself in an object or an error.
func spellings(k key.ContentKey) []string {
	raw := k.RevealSecretBytes()
	h := hex.EncodeToString(raw[:])
	return []string{
		string(raw[:]), h, strings.ToUpper(h), fmt.Sprint(raw[:]), strings.Trim(fmt.Sprint(raw[:]), "[]"),
		base64.RawStdEncoding.EncodeToString(raw[:]), base64.RawURLEncoding.EncodeToString(raw[:]),
	}
}

func wantHidden(t *testing.T, where string, text []byte, k key.ContentKey) {
	t.Helper()
	for i, form := range spellings(k) {
		if bytes.Contains(text, []byte(form)) {
			t.Errorf("%s shows the key (spelling %d)", where, i)
		}
	}
}
