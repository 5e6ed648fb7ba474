package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	kek   *kms.Local
}

var start = time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC)

func newBench(t *testing.T) *bench {
	t.Helper()
	root := t.TempDir()
	dir, err := store.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	kek, err := kms.OpenLocal(filepath.Join(t.TempDir(), "master"))
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
	return &bench{
		Ring: New(s, kek, audit.New(s, clock, "alice"), clock),
		root: root, store: s, kek: kek,
	}
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
	return out
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
	if err := b.SetState(t.Context(), kid, to, "test"); err != nil {
		t.Fatalf("SetState: %v", err)
	}
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

func TestImport(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "keys/a.key"})
	if err != nil || !created {
		t.Fatalf("Import: %v, %v", created, err)
	}
	rec, err := b.Get(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	if rec.KID != kid || rec.State != Active || rec.URI != "keys/a.key" || rec.KEK != b.kek.ID() || rec.Rotation != "" {
		t.Errorf("record %+v", rec)
	}
	if len(rec.History) != 1 || rec.History[0].Actor != "alice" || rec.History[0].Reason != "imported" || !rec.Created.Equal(rec.History[0].Time) {
		t.Errorf("history %+v", rec.History)
	}
	for _, uri := range []string{"", "keys/a.key"} {
		if created, err = b.Import(t.Context(), kid, k, ImportOptions{URI: uri}); err != nil || created {
			t.Errorf("again with URI %q: %v, %v; want false, nil", uri, created, err)
		}
	}
	if _, err = b.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("another key: %v, want ErrExists", err)
	}
	if _, err = b.Import(t.Context(), kid, k, ImportOptions{URI: "keys/b.key"}); !errors.Is(err, ErrExists) {
		t.Errorf("another URI: %v, want ErrExists", err)
	}
	wantSame(t, "audit", b.entries(t), []string{
		"key.import allowed", "key.import exists", "key.import exists", "key.import refused", "key.import refused",
	})
}

func TestImportKeepsState(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	b.mustSet(t, kid, Compromised)
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created {
		t.Fatalf("Import: %v, %v; want false, nil", created, err)
	}
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.State != Compromised {
		t.Errorf("state %s, %v; want compromised", rec.State, err)
	}
}

func TestImportAddsURI(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "keys/a.key"}); err != nil || created {
		t.Fatalf("Import: %v, %v; want false, nil", created, err)
	}
	rec, err := b.Get(t.Context(), kid)
	if err != nil || rec.URI != "keys/a.key" || len(rec.History) != 2 {
		t.Errorf("record %+v, %v; want the URI and two events", rec, err)
	}
}

func TestImportWeak(t *testing.T) {
	kid := key.NewKID()
	same := func(c byte) []byte { return bytes.Repeat([]byte{c}, 16) }
	for name, raw := range map[string][]byte{"zeros": same(0), "ones": same(0xff), "one byte": same('a'), "the KID": kid[:]} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k, err := key.ContentKeyFromBytes(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Import(t.Context(), kid, k, ImportOptions{}); !errors.Is(err, ErrWeak) {
				t.Fatalf("Import: %v, want ErrWeak", err)
			}
			if _, err := b.Get(t.Context(), kid); !errors.Is(err, ErrNotFound) {
				t.Fatalf("Get: %v, want ErrNotFound", err)
			}
			if created, err := b.Import(t.Context(), kid, k, ImportOptions{AllowWeak: true}); err != nil || !created {
				t.Fatalf("Import with AllowWeak: %v, %v", created, err)
			}
			if got, err := b.Unwrap(t.Context(), kid, Verify, ""); err != nil || !got.Equal(k) {
				t.Errorf("Unwrap: %v, or another key", err)
			}
			wantSame(t, "audit", b.entries(t), []string{"key.import refused", "key.import allowed", "key.unwrap allowed"})
		})
	}
}

func TestImportRefusesNonsense(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	for name, f := range map[string]func() error{
		"zero KID":      func() error { _, err := b.Import(t.Context(), key.KID{}, k, ImportOptions{}); return err },
		"no key":        func() error { _, err := b.Import(t.Context(), kid, key.ContentKey{}, ImportOptions{}); return err },
		"URI":           func() error { _, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a b"}); return err },
		"create KID":    func() error { _, err := b.Create(t.Context(), key.KID{}, "", "r"); return err },
		"create URI":    func() error { _, err := b.Create(t.Context(), kid, "a\"b", "r"); return err },
		"wrap zero KID": func() error { _, err := b.WrapKey(t.Context(), key.KID{}, k, "r"); return err },
	} {
		if err := f(); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v, want ErrSyntax", name, err)
		}
	}
	for _, err := range b.List(t.Context()) {
		t.Errorf("something stands in the ring (%v)", err)
	}
}

func TestCreate(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	rec, err := b.Create(t.Context(), kid, "keys/n.key", "r1")
	if err != nil {
		t.Fatal(err)
	}
	stands, err := b.Get(t.Context(), kid)
	if err != nil || fmt.Sprintf("%+v", rec) != fmt.Sprintf("%+v", stands) {
		t.Errorf("returned %+v, stands %+v, %v", rec, stands, err)
	}
	if rec.State != Active || rec.Rotation != "r1" || rec.History[0].Rotation != "r1" {
		t.Errorf("record %+v", rec)
	}
	again, err := b.Create(t.Context(), kid, "keys/n.key", "r1")
	if err != nil || !bytes.Equal(again.Wrapped, rec.Wrapped) {
		t.Errorf("again: another key, or %v", err)
	}
	for _, c := range []struct{ uri, rotation string }{{"keys/n.key", "r2"}, {"keys/n.key", ""}, {"keys/o.key", "r1"}} {
		if _, err := b.Create(t.Context(), kid, c.uri, c.rotation); !errors.Is(err, ErrExists) {
			t.Errorf("Create %q for %q: %v, want ErrExists", c.uri, c.rotation, err)
		}
	}
	wantSame(t, "audit", b.entries(t), []string{
		"key.create allowed", "key.create exists", "key.create refused", "key.create refused", "key.create refused",
	})
}

// TestCreateNeverAdopts: without a rotation, what stands is never taken for new:
// an imported key may have leaked.
func TestCreateNeverAdopts(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	if _, err := b.Create(t.Context(), kid, "", ""); !errors.Is(err, ErrExists) {
		t.Errorf("Create over an imported key: %v, want ErrExists", err)
	}
}

func TestCreateRace(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	var wg sync.WaitGroup
	wrapped := make([]string, 8)
	for i := range wrapped {
		wg.Go(func() {
			rec, err := b.Create(t.Context(), kid, "", "r1")
			if err != nil {
				t.Errorf("Create: %v", err)
			}
			wrapped[i] = string(rec.Wrapped)
		})
	}
	wg.Wait()
	for _, w := range wrapped {
		if w != wrapped[0] {
			t.Fatal("two keys for one KID")
		}
	}
}

func TestImportRace(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		wg.Go(func() {
			created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"})
			if err != nil {
				t.Errorf("Import: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("created %d times", made)
	}
}

func TestGetNotFound(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	_, err := b.Get(t.Context(), kid)
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), kid.String()) {
		t.Errorf("Get: %v, want ErrNotFound and the KID", err)
	}
	if _, err := b.Unwrap(t.Context(), kid, Verify, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("Unwrap: %v, want ErrNotFound", err)
	}
	if err := b.SetState(t.Context(), kid, Compromised, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("SetState: %v, want ErrNotFound", err)
	}
	wantSame(t, "audit", b.entries(t), []string{"key.unwrap failed", "key.state failed"})
}

// TestOtherKEK: a ring with another master says so, and the record stays.
func TestOtherKEK(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	other, err := kms.OpenLocal(filepath.Join(t.TempDir(), "master"))
	if err != nil {
		t.Fatal(err)
	}
	r := New(b.store, other, b.log, b.clock)
	_, err = r.Unwrap(t.Context(), kid, Verify, "")
	if !errors.Is(err, ErrOtherKEK) || !strings.Contains(err.Error(), b.kek.ID()) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("Unwrap: %v, want ErrOtherKEK and both ids", err)
	}
	if _, err := r.Import(t.Context(), kid, k, ImportOptions{}); !errors.Is(err, ErrOtherKEK) {
		t.Errorf("Import: %v, want ErrOtherKEK", err)
	}
}

// TestKeysNeverInControl does everything with two keys and then reads every
// byte that stands in the control directory.
func TestKeysNeverInControl(t *testing.T) {
	b := newBench(t)
	kid, k, secret := key.NewKID(), key.NewContentKey(), key.NewContentKey()
	b.mustImport(t, kid, k)
	_, err := b.Import(t.Context(), kid, secret, ImportOptions{})
	wantHidden(t, "an error", []byte(err.Error()), secret)
	made, err := b.Create(t.Context(), key.NewKID(), "", "r1")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := b.Unwrap(t.Context(), made.KID, Export, "")
	if err != nil {
		t.Fatal(err)
	}
	rotation := key.KIDFromURI("rotation:r1")
	wrapped, err := b.WrapKey(t.Context(), rotation, secret, "MAC key")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.UnwrapKey(t.Context(), rotation, wrapped, "MAC key"); err != nil || !got.Equal(secret) {
		t.Fatalf("UnwrapKey: %v, or another key", err)
	}
	b.mustSet(t, kid, Compromised)
	if _, err := b.Unwrap(t.Context(), kid, Encrypt, ""); err == nil {
		t.Fatal("a compromised key encrypts")
	}
	objects := 0
	err = filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, c := range []key.ContentKey{k, secret, fresh} {
			wantHidden(t, "the name "+path, []byte(path), c)
		}
		if d.IsDir() {
			return nil
		}
		objects++
		text, err := os.ReadFile(path)
		for _, c := range []key.ContentKey{k, secret, fresh} {
			wantHidden(t, path, text, c)
		}
		return err
	})
	if err != nil || objects < 8 {
		t.Errorf("looked at %d objects: %v", objects, err)
	}
}

// TestUncertainWrite: the write lands, and the store says it may not have. The
// ring looks again, and does not do it twice.
func TestUncertainWrite(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	rival := New(b.store.Store, b.kek, b.log, b.clock)
	landed := false
	b.store.on(func(op, name string) error {
		if op != "put" || name != objectName(kid) || landed {
			return nil
		}
		landed = true
		if err := rival.SetState(t.Context(), kid, Compromised, "test"); err != nil {
			t.Error(err)
		}
		return store.ErrUnavailable
	})
	b.mustSet(t, kid, Compromised)
	if rec, err := b.Get(t.Context(), kid); err != nil || len(rec.History) != 2 {
		t.Errorf("%d events, %v; want 2", len(rec.History), err)
	}
}

// TestImportURIRace: while an import adds a URI, the state changes; both stay.
func TestImportURIRace(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	rival := New(b.store.Store, b.kek, b.log, b.clock)
	var once sync.Once
	b.store.on(func(op, name string) error {
		if op == "put" && name == objectName(kid) {
			once.Do(func() {
				if err := rival.SetState(t.Context(), kid, Compromised, "rival"); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	})
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"}); err != nil || created {
		t.Fatalf("Import: %v, %v; want false, nil", created, err)
	}
	if rec, err := b.Get(t.Context(), kid); err != nil || rec.State != Compromised || rec.URI != "a.key" || len(rec.History) != 3 {
		t.Errorf("record %+v, %v; want compromised, with the URI", rec, err)
	}
}

// TestRivalCreates: another makes the record between the look and the write.
func TestRivalCreates(t *testing.T) {
	for name, same := range map[string]bool{"same": true, "other": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			kid, k := key.NewKID(), key.NewContentKey()
			rival := New(b.store.Store, b.kek, b.log, b.clock)
			var once sync.Once
			b.store.on(func(op, name string) error {
				if op != "put" || name != objectName(kid) {
					return nil
				}
				once.Do(func() {
					theirs := k
					if !same {
						theirs = key.NewContentKey()
					}
					if _, err := rival.Import(t.Context(), kid, theirs, ImportOptions{}); err != nil {
						t.Error(err)
					}
				})
				return nil
			})
			created, err := b.Import(t.Context(), kid, k, ImportOptions{})
			if created || same && err != nil || !same && !errors.Is(err, ErrExists) {
				t.Errorf("Import: %v, %v", created, err)
			}
		})
	}
}
