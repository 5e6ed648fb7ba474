package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

func TestCreate(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	rec, err := b.Create(t.Context(), kid, CreateOptions{URI: "keys/n.key", Rotation: "r1"})
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
	again, err := b.Create(t.Context(), kid, CreateOptions{URI: "keys/n.key", Rotation: "r1"})
	if err != nil || !bytes.Equal(again.Wrapped, rec.Wrapped) {
		t.Errorf("again: another key, or %v", err)
	}
	for _, c := range []struct{ uri, rotation string }{{"keys/n.key", "r2"}, {"keys/n.key", ""}, {"keys/o.key", "r1"}} {
		if _, err := b.Create(t.Context(), kid, CreateOptions{URI: c.uri, Rotation: c.rotation}); !errors.Is(err, ErrExists) {
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
	if _, err := b.Create(t.Context(), kid, CreateOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("Create over an imported key: %v, want ErrExists", err)
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
	other := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master")})
	if _, err := other.Primary(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := b.ring(b.store, other)
	_, err := r.Unwrap(t.Context(), kid, Verify, "")
	if !errors.Is(err, kms.ErrNotFound) || !strings.Contains(err.Error(), b.kek) {
		t.Errorf("Unwrap: %v, want kms.ErrNotFound and the KEK's id", err)
	}
	if _, err := r.Import(t.Context(), kid, k, ImportOptions{}); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("Import: %v, want kms.ErrNotFound", err)
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
	made, err := b.Create(t.Context(), key.NewKID(), CreateOptions{Rotation: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := b.Unwrap(t.Context(), made.KID, Export, "")
	if err != nil {
		t.Fatal(err)
	}
	rotation := key.KIDFromURI("rotation:r1")
	if err := b.CreateSecret(t.Context(), rotation, "MAC key"); err != nil {
		t.Fatal(err)
	}
	mac, err := b.OpenSecret(t.Context(), rotation, "MAC key")
	if err != nil {
		t.Fatalf("OpenSecret: %v", err)
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
		for _, c := range []key.ContentKey{k, secret, fresh, mac} {
			wantHidden(t, "the name "+path, []byte(path), c)
		}
		if d.IsDir() {
			return nil
		}
		objects++
		text, err := os.ReadFile(path)
		for _, c := range []key.ContentKey{k, secret, fresh, mac} {
			wantHidden(t, path, text, c)
		}
		return err
	})
	if err != nil || objects < 8 {
		t.Errorf("looked at %d objects: %v", objects, err)
	}
}
