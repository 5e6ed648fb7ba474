package keyring

import (
	"errors"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

func (b *bench) wantKID(t *testing.T, uri string, want key.KID, found bool) {
	t.Helper()
	kid, ok, err := b.KIDOfURI(t.Context(), uri)
	if err != nil || ok != found || kid != want {
		t.Errorf("KIDOfURI(%q) = %s, %v, %v; want %s, %v", uri, kid, ok, err, want, found)
	}
}

func TestKIDOfURI(t *testing.T) {
	b := newBench(t)
	imported, made, late := key.NewKID(), key.NewKID(), key.NewKID()
	k := key.NewContentKey()
	if _, err := b.Import(t.Context(), imported, k, ImportOptions{URI: "https://keys.example/1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(t.Context(), made, CreateOptions{URI: "m/key.bin", Rotation: "r1"}); err != nil {
		t.Fatal(err)
	}
	b.mustImport(t, late, key.NewContentKey())
	if err := b.AddURI(t.Context(), late, "skd://late"); err != nil {
		t.Fatal(err)
	}
	b.wantKID(t, "https://keys.example/1", imported, true)
	b.wantKID(t, "m/key.bin", made, true)
	b.wantKID(t, "skd://late", late, true)
	b.wantKID(t, "skd://nobody", key.KID{}, false)
	if err := b.AddURI(t.Context(), late, "m/key.bin"); !errors.Is(err, ErrExists) {
		t.Errorf("AddURI of another key's URI: %v, want ErrExists", err)
	}
	if _, err := b.Import(t.Context(), key.NewKID(), key.NewContentKey(), ImportOptions{URI: "m/key.bin"}); !errors.Is(err, ErrExists) {
		t.Errorf("Import under another key's URI: %v, want ErrExists", err)
	}
}

// TestURIOfNoKey: a name whose key was never written waits for that key.
func TestURIOfNoKey(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	if err := b.nameURI(t.Context(), kid, "m/key.bin"); err != nil {
		t.Fatal(err)
	}
	b.wantKID(t, "m/key.bin", key.KID{}, false)
	if _, err := b.Create(t.Context(), key.NewKID(), CreateOptions{URI: "m/key.bin", Rotation: "r1"}); !errors.Is(err, ErrExists) {
		t.Errorf("Create of another key: %v, want ErrExists", err)
	}
	if _, err := b.Create(t.Context(), kid, CreateOptions{URI: "m/key.bin", Rotation: "r1"}); err != nil {
		t.Fatal(err)
	}
	b.wantKID(t, "m/key.bin", kid, true)
}

// TestOneKIDAURI: of many who name one URI at once one wins.
func TestOneKIDAURI(t *testing.T) {
	b := newBench(t)
	const n = 8
	errs := make([]error, n)
	kids := make([]key.KID, n)
	var running sync.WaitGroup
	for i := range n {
		kids[i] = key.NewKID()
		running.Go(func() {
			_, errs[i] = b.Import(t.Context(), kids[i], key.NewContentKey(), ImportOptions{URI: "m/key.bin"})
		})
	}
	running.Wait()
	won, found, err := b.KIDOfURI(t.Context(), "m/key.bin")
	if err != nil || !found {
		t.Fatalf("KIDOfURI: %v, %v", found, err)
	}
	for i, err := range errs {
		if (err == nil) != (kids[i] == won) || err != nil && !errors.Is(err, ErrExists) {
			t.Errorf("import %d: %v", i, err)
		}
	}
}
