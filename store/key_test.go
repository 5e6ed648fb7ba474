package store_test

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

func libraryKeys(tb testing.TB) []string {
	tb.Helper()
	var keys []string
	err := fs.WalkDir(fixtures.Library(), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			keys = append(keys, p)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if len(keys) == 0 {
		tb.Fatal("the library is empty")
	}
	return keys
}

func TestCheckKey(t *testing.T) {
	for _, key := range storetest.RefusedKeys() {
		if err := store.CheckKey(key); !errors.Is(err, store.ErrInvalidKey) {
			t.Errorf("%.40q: %v", key, err)
		}
	}
	good := append(libraryKeys(t), "...", "..a", "a..", ".a", " ", "a\nb", strings.Repeat("s", 255),
		strings.TrimSuffix(strings.Repeat("s/", 512), "/"), "\u202e", "C:\\x", ".rekey-tmp")
	for _, key := range good {
		if err := store.CheckKey(key); err != nil {
			t.Errorf("%.40q: %v", key, err)
		}
	}
}

// FuzzCheckKey holds it to what other code takes for a path inside a root, and a
// directory to the same answer.
func FuzzCheckKey(f *testing.F) {
	for _, key := range append(libraryKeys(f), storetest.RefusedKeys()...) {
		f.Add(key)
	}
	root := f.TempDir()
	d, err := store.OpenDir(root)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := store.CheckKey(key)
		if err != nil && !errors.Is(err, store.ErrInvalidKey) {
			t.Errorf("%q: no class: %v", key, err)
		}
		if err == nil {
			joined := path.Join("/root", key)
			if !fs.ValidPath(key) || key == "." || joined != "/root/"+key || strings.Contains(key, "\x00") {
				t.Errorf("%q was taken", key)
			}
		}
		want := store.ErrNotFound // nothing is in the directory
		if err != nil {
			want = store.ErrInvalidKey
		}
		if _, err := d.Stat(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("stat %q: %v, want %v", key, err, want)
		}
		for info, err := range d.List(t.Context(), key) {
			if !errors.Is(err, store.ErrInvalidKey) {
				t.Errorf("list %q: %+v, %v", key, info, err)
			}
		}
	})
}

func TestCRC64NVME(t *testing.T) {
	// The check value of CRC-64/NVME (ae8b14860a799888 of "123456789"), and none.
	for text, want := range map[string]string{"123456789": "rosUhgp5mIg=", "": "AAAAAAAAAAA="} {
		if got := store.CRC64NVME([]byte(text)); got != want {
			t.Errorf("CRC64NVME(%q) = %s, want %s", text, got, want)
		}
	}
}
