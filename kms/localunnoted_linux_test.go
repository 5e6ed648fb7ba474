package kms_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// unprivileged runs f as one who may read the master key at path, and may not write
// beside it.
func unprivileged(t *testing.T, path string, f func()) {
	t.Helper()
	dir := filepath.Dir(path)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Error(err)
		}
	}()
	if os.Geteuid() == 0 { // whom no mode keeps out
		const nobody = 65534
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	f()
}

// TestLocalUnnoted: where the folder may not be written keys are wrapped all the
// same, and it is told once for each KEK.
func TestLocalUnnoted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	kek := primary(t, path)
	var told []string
	l := kms.NewLocal(kms.LocalOptions{
		Path: path, Store: called("/srv/a-control"),
		Unnoted: func(kek string, err error) {
			told = append(told, kek)
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("told %v, want fs.ErrPermission", err)
			}
		},
	})
	unprivileged(t, path, func() {
		for range 2 {
			kid, w := wrapped(t, l, kek)
			if _, err := l.Unwrap(t.Context(), kek, kid, w); err != nil {
				t.Errorf("Unwrap: %v", err)
			}
		}
		if _, err := kms.NewLocal(kms.LocalOptions{Path: path, Store: called("/srv/b-control")}).Wrap(t.Context(), kek, key.NewKID(), key.NewContentKey()); err != nil {
			t.Errorf("Wrap with nobody to tell: %v", err)
		}
	})
	if len(told) != 1 || told[0] != kek {
		t.Errorf("told of %q, want %s once", told, kek)
	}
	wrapped(t, l, kek)
	noteOf(t, l)
}
