package kms_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// called is a control store of a name, whose id is that too.
func called(name string) func(context.Context) (kms.LocalStore, error) {
	return known(kms.LocalStore{ID: name, Name: name})
}

func known(s kms.LocalStore) func(context.Context) (kms.LocalStore, error) {
	return func(context.Context) (kms.LocalStore, error) { return s, nil }
}

// sharing are the providers of control stores that share their master keys.
func sharing(t *testing.T, stores ...string) (string, []*kms.Local) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master")
	kek := primary(t, path)
	out := make([]*kms.Local, len(stores))
	for i, s := range stores {
		out[i] = kms.NewLocal(kms.LocalOptions{Path: path, Store: called(s)})
	}
	return kek, out
}

func wrapped(t *testing.T, l *kms.Local, kek string) (key.KID, []byte) {
	t.Helper()
	kid := key.NewKID()
	w, err := l.Wrap(t.Context(), kek, kid, key.NewContentKey())
	if err != nil {
		t.Fatal(err)
	}
	return kid, w
}

func wantKEKState(t *testing.T, l *kms.Local, kek string, want kms.KEKState) {
	t.Helper()
	if d, err := l.Describe(t.Context(), kek); err != nil || d.State != want {
		t.Errorf("%s is %s, %v; want %s", kek, d.State, err, want)
	}
}

// TestLocalShared: a KEK that another control store wraps under stays on, whoever
// asks; the last of them switches it off.
func TestLocalShared(t *testing.T) {
	kek, l := sharing(t, "/srv/a-control", "/srv/b-control")
	a, b := l[0], l[1]
	wrapped(t, a, kek)
	kid, w := wrapped(t, b, kek)
	for name, f := range map[string]func() error{
		"Disable": func() error { return a.Disable(t.Context(), kek) },
		"ScheduleDestruction": func() error {
			_, err := a.ScheduleDestruction(t.Context(), kek)
			return err
		},
	} {
		if err := f(); !errors.Is(err, kms.ErrInUse) || !strings.Contains(err.Error(), "/srv/b-control") || strings.Contains(err.Error(), "/srv/a-control") {
			t.Errorf("%s: %v, want ErrInUse of /srv/b-control alone", name, err)
		}
		wantKEKState(t, a, kek, kms.KEKEnabled)
	}
	if _, err := b.Unwrap(t.Context(), kek, kid, w); err != nil {
		t.Errorf("Unwrap for the other store: %v", err)
	}
	// The one has gone elsewhere, as it said: now the other is alone.
	if err := b.Disable(t.Context(), kek); err != nil {
		t.Errorf("Disable by the last one: %v", err)
	}
	if _, err := a.ScheduleDestruction(t.Context(), kek); err != nil {
		t.Errorf("ScheduleDestruction of what nobody uses: %v", err)
	}
	// Who switches it on wants it, and so does who tried to use it in vain.
	if err := a.Enable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	if err := b.Disable(t.Context(), kek); !errors.Is(err, kms.ErrInUse) || !strings.Contains(err.Error(), "/srv/a-control") {
		t.Errorf("Disable of what another switched on: %v, want ErrInUse", err)
	}
	if err := a.Disable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unwrap(t.Context(), kek, kid, w); !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("Unwrap: %v, want ErrDisabled", err)
	}
	if _, err := a.ScheduleDestruction(t.Context(), kek); !errors.Is(err, kms.ErrInUse) {
		t.Errorf("ScheduleDestruction of what another asked for: %v, want ErrInUse", err)
	}
}

// TestLocalSharedName: one path may be two stores, and one store have two paths.
func TestLocalSharedName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	kek := primary(t, path)
	open := func(id, name string) *kms.Local {
		return kms.NewLocal(kms.LocalOptions{Path: path, Store: known(kms.LocalStore{ID: id, Name: name})})
	}
	a, b := open("a", "/control"), open("b", "/control")
	wrapped(t, a, kek)
	wrapped(t, b, kek)
	if err := a.Disable(t.Context(), kek); !errors.Is(err, kms.ErrInUse) || !strings.Contains(err.Error(), "/control (id b,") {
		t.Errorf("Disable: %v, want ErrInUse of the other /control", err)
	}
	moved := open("b", "/new")
	wrapped(t, moved, kek)
	if text, err := os.ReadFile(noteOf(t, b)); err != nil || !strings.Contains(string(text), "/new") {
		t.Errorf("the note of the moved store is %s, %v", text, err)
	}
	if err := moved.Disable(t.Context(), kek); err != nil {
		t.Errorf("Disable by the one that was moved: %v", err)
	}
}

// TestLocalStoreUnknown: while it cannot be told which store this is, keys are
// opened, and nothing is wrapped or switched off.
func TestLocalStoreUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	kek := primary(t, path)
	kid, w := wrapped(t, kms.NewLocal(kms.LocalOptions{Path: path}), kek)
	away := error(fs.ErrPermission)
	l := kms.NewLocal(kms.LocalOptions{Path: path, Store: func(context.Context) (kms.LocalStore, error) {
		return kms.LocalStore{ID: "a", Name: "/a"}, away
	}})
	if _, err := l.Unwrap(t.Context(), kek, kid, w); err != nil {
		t.Errorf("Unwrap: %v", err)
	}
	if _, err := l.Wrap(t.Context(), kek, kid, key.NewContentKey()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Wrap: %v, want ErrUnavailable", err)
	}
	if err := l.Disable(t.Context(), kek); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Disable: %v, want ErrUnavailable", err)
	}
	away = nil
	wrapped(t, l, kek)
}

// TestLocalSharedNote: a note that does not read keeps the KEK on, one that is
// removed does not.
func TestLocalSharedNote(t *testing.T) {
	kek, l := sharing(t, "/srv/a-control", "/srv/gone-control")
	wrapped(t, l[1], kek)
	note := noteOf(t, l[1])
	for _, body := range []string{"", "{", "{}"} {
		if err := os.WriteFile(note, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l[0].Disable(t.Context(), kek); !errors.Is(err, kms.ErrInUse) || !strings.Contains(err.Error(), note) {
			t.Errorf("Disable beside note %q: %v, want ErrInUse and the file", body, err)
		}
	}
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	if err := l[0].Disable(t.Context(), kek); err != nil {
		t.Errorf("Disable: %v", err)
	}
}

// TestLocalSharedRace: of one who wraps for the first time and one who switches
// off at once, never both succeed.
func TestLocalSharedRace(t *testing.T) {
	kek, l := sharing(t, "/srv/a-control", "/srv/b-control")
	for range 50 {
		w := make(chan error, 1)
		go func() {
			_, err := l[1].Wrap(t.Context(), kek, key.NewKID(), key.NewContentKey())
			w <- err
		}()
		off := l[0].Disable(t.Context(), kek)
		if err := <-w; err == nil && off == nil {
			// Wrapped first and not seen, or seen and not refused.
			t.Fatal("wrapped under a KEK that was switched off meanwhile")
		} else if err != nil && !errors.Is(err, kms.ErrDisabled) || off != nil && !errors.Is(off, kms.ErrInUse) {
			t.Fatalf("Wrap: %v, Disable: %v", err, off)
		}
		if err := l[1].Enable(t.Context(), kek); err != nil {
			t.Fatal(err)
		}
		if err := l[1].Disable(t.Context(), kek); err != nil { // forgets it
			t.Fatal(err)
		}
		if err := l[1].Enable(t.Context(), kek); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(noteOf(t, l[1])); err != nil {
			t.Fatal(err)
		}
	}
}

// noteOf is the only note beside the master keys.
func noteOf(t *testing.T, l *kms.Local) string {
	t.Helper()
	notes, err := filepath.Glob(strings.TrimPrefix(l.String(), "local:") + ".d/*.used-by-*")
	if err != nil || len(notes) != 1 {
		t.Fatalf("notes %q, %v; want one", notes, err)
	}
	return notes[0]
}

// TestLocalUnnotable: where it cannot be noted who uses a KEK, keys are opened as
// ever, and nothing new is wrapped.
func TestLocalUnnotable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	kek := primary(t, path)
	kid, w := wrapped(t, kms.NewLocal(kms.LocalOptions{Path: path}), kek)
	if err := os.Symlink("nowhere", path+".d"); err != nil {
		t.Fatal(err)
	}
	l := kms.NewLocal(kms.LocalOptions{Path: path, Store: called("/srv/a-control")})
	if _, err := l.Unwrap(t.Context(), kek, kid, w); err != nil {
		t.Errorf("Unwrap: %v", err)
	}
	if _, err := l.Wrap(t.Context(), kek, kid, key.NewContentKey()); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("Wrap: %v, want ErrUnavailable", err)
	}
}

// TestLocalLinked: whoever reaches a master key by a link sees the notes, states and
// KEKs beside it, and destroys the file and not the link.
func TestLocalLinked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	link := filepath.Join(t.TempDir(), "link")
	kek := primary(t, path)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	var later time.Duration
	a := kms.NewLocal(kms.LocalOptions{Path: path, Store: called("/srv/a-control")})
	b := kms.NewLocal(kms.LocalOptions{Path: link, Store: called("/srv/b-control"), Clock: func() time.Time { return time.Now().Add(later) }})
	wrapped(t, a, kek)
	if err := b.Disable(t.Context(), kek); !errors.Is(err, kms.ErrInUse) {
		t.Errorf("Disable by the link: %v, want ErrInUse", err)
	}
	if err := a.Disable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	wantKEKState(t, b, kek, kms.KEKDisabled)
	two, err := b.Create(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	wantKEKState(t, a, two, kms.KEKEnabled)
	if _, err := b.ScheduleDestruction(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	later = 8 * 24 * time.Hour
	wantKEKState(t, b, kek, kms.KEKDestroyed)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the master key file: %v, want it gone", err)
	}
}

// TestLocalHeld: whoever asks for a KEK after its destruction was scheduled keeps
// it from being carried out, until it is forgotten; who scheduled it does not.
func TestLocalHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	var later time.Duration
	open := func(store string) *kms.Local {
		return kms.NewLocal(kms.LocalOptions{Path: path, Store: called(store), Clock: func() time.Time { return time.Now().Add(later) }})
	}
	kek := primary(t, path)
	a, b := open("/srv/a-control"), open("/srv/b-control")
	kid, w := wrapped(t, kms.NewLocal(kms.LocalOptions{Path: path}), kek) // and took no note
	if _, err := a.ScheduleDestruction(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	later = 8 * 24 * time.Hour
	for _, l := range []*kms.Local{a, b} {
		if _, err := l.Unwrap(t.Context(), kek, kid, w); !errors.Is(err, kms.ErrDisabled) {
			t.Errorf("Unwrap: %v, want ErrDisabled", err)
		}
	}
	for _, l := range []*kms.Local{b, a} {
		if d, err := l.Describe(t.Context(), kek); err != nil || d.State != kms.KEKPending || !strings.Contains(d.Held, "/srv/b-control") || strings.Contains(d.Held, "/srv/a-control") {
			t.Errorf("Describe when due: %+v, %v; want it held by /srv/b-control", d, err)
		}
	}
	if err := b.Enable(t.Context(), kek); err != nil {
		t.Errorf("Enable: %v", err)
	}
	if _, err := b.Unwrap(t.Context(), kek, kid, w); err != nil {
		t.Errorf("Unwrap: %v", err)
	}
	if err := b.Disable(t.Context(), kek); !errors.Is(err, kms.ErrInUse) { // which forgets b
		t.Errorf("Disable: %v, want ErrInUse of a", err)
	}
	if _, err := a.ScheduleDestruction(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	later *= 2
	wantKEKState(t, b, kek, kms.KEKDestroyed)
}

// TestLocalAnyPath: KEKs are found beside a master key of any name.
func TestLocalAnyPath(t *testing.T) {
	l := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "[a*", "master?"), Store: called("/srv/a-control")})
	kek, err := l.Create(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := l.Describe(t.Context(), kek); err != nil || d.Name != "two" || filepath.Base(d.File) != "two.key" {
		t.Errorf("Describe: %+v, %v", d, err)
	}
}
