package kms_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// TestLocalAsksOnce: of many who need a sealed file at once, one asks for its
// passphrase. Two at one terminal would each get a part of what is typed.
func TestLocalAsksOnce(t *testing.T) {
	var asked atomic.Int32
	o := kms.LocalOptions{
		Path: filepath.Join(t.TempDir(), "master.key"),
		Passphrase: func(string, bool) ([]byte, error) {
			asked.Add(1)
			return []byte("correct horse battery staple"), nil
		},
	}
	made := kms.NewLocal(o)
	kek, err := made.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kid, k := key.NewKID(), key.NewContentKey()
	w, err := made.Wrap(t.Context(), kek, kid, k)
	if err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	fresh := kms.NewLocal(o)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := fresh.Unwrap(t.Context(), kek, kid, w); err != nil || !got.Equal(k) {
				t.Errorf("Unwrap: %v", err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times for one file, want 1", n)
	}
}
