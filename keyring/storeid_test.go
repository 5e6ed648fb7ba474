package keyring

import (
	"errors"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

func openStore(t *testing.T) store.Store {
	t.Helper()
	s, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStoreID: all who come first get one id, another store another, and what is
// none is not replaced.
func TestStoreID(t *testing.T) {
	s := openStore(t)
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = StoreID(t.Context(), s); err != nil {
				t.Errorf("StoreID: %v", err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || len(id) != 32 {
			t.Fatalf("ids %q, want one of 32 digits", ids)
		}
	}
	if id, err := StoreID(t.Context(), openStore(t)); err != nil || id == ids[0] {
		t.Errorf("another store: %s, %v; want another id", id, err)
	}
	for _, body := range []string{"", "{}", `{"id":"x"}`, `{"id":"00"}`} {
		if _, err := s.Put(t.Context(), storeIDName, []byte(body), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if id, err := StoreID(t.Context(), s); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %q, %v; want ErrCorrupt", body, id, err)
		}
	}
}

func FuzzStoreID(f *testing.F) {
	f.Add([]byte(`{"id":"00112233445566778899aabbccddeeff"}` + "\n"))
	f.Add([]byte(`{"id":"00112233445566778899AABBCCDDEEFF"}`))
	f.Add([]byte(`{"id":"../../../../etc/passwd"}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := decodeStoreID(b)
		if err != nil {
			wantCorrupt(t, err, storeIDName)
		} else if len(id) != 32 {
			t.Errorf("id %q", id)
		}
	})
}
