package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// localState is the file of one KEK's state, beside the master keys. There is
// none while the KEK is enabled.
type localState struct {
	KEK   string    `json:"kek"`
	State KEKState  `json:"state"`
	Due   time.Time `json:"due,omitzero"`
	By    string    `json:"by,omitempty"` // id of the control store that scheduled it
}

const (
	keySuffix   = ".key"
	stateSuffix = ".state"
	// primaryName is the name of the KEK whose file is at Path.
	primaryName = "primary"
)

// primaryFile is the file that Path leads to, whatever links do: who share it share
// what is beside it, and where it is destroyed no link is removed instead. It is
// looked up each time, since a mounted secret is a link that moves.
func (l *Local) primaryFile() string {
	if file, err := filepath.EvalSymlinks(l.o.Path); err == nil {
		return file
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(l.o.Path)); err == nil { // not made yet
		return filepath.Join(dir, filepath.Base(l.o.Path))
	}
	return l.o.Path
}

func (l *Local) folder() string { return l.primaryFile() + ".d" }

func (l *Local) stateFile(kek string) string {
	return filepath.Join(l.folder(), strings.TrimPrefix(kek, LocalScheme+":")+stateSuffix)
}

// Create makes a master key in a file of its own, sealed if there is a
// passphrase.
func (l *Local) Create(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("create local KEK: %w", err)
	}
	if err := CheckName(name); err != nil {
		return "", fmt.Errorf("create local KEK: %w", err)
	}
	if name == primaryName {
		return "", fmt.Errorf("create local KEK: %w: %s is the one at %s", ErrExists, name, l.o.Path)
	}
	file := filepath.Join(l.folder(), name+keySuffix)
	made, err := l.make(file, false)
	if err != nil {
		return "", fmt.Errorf("create local KEK %s: %w", name, err)
	}
	if !made {
		is := name
		if id, _, err := headID(file); err == nil {
			is += " is " + id
		}
		return "", fmt.Errorf("create local KEK: %w: %s", ErrExists, is)
	}
	m, err := l.read(file)
	if err != nil {
		return "", fmt.Errorf("create local KEK %s: %w", name, err)
	}
	defer clear(m[:])
	return l.keep(m)
}

// Describe also carries out a destruction that is due, unless another control
// store has asked for the KEK since it was scheduled.
func (l *Local) Describe(ctx context.Context, kek string) (Description, error) {
	if err := ctx.Err(); err != nil {
		return Description{}, fmt.Errorf("describe KEK %s: %w", kek, err)
	}
	d, _, err := l.look(kek)
	if err != nil {
		return Description{}, fmt.Errorf("describe KEK: %w", err)
	}
	return d, nil
}

// Disable is seen by every process at its next use of the KEK.
func (l *Local) Disable(ctx context.Context, kek string) error {
	return l.change(ctx, "disable", kek, localState{State: KEKDisabled})
}

// Enable is seen by every process at its next use of the KEK.
func (l *Local) Enable(ctx context.Context, kek string) error {
	return l.change(ctx, "enable", kek, localState{State: KEKEnabled})
}

// ScheduleDestruction disables the KEK; the file of its master key is removed at
// the first call after due that describes or changes the KEK: who wants to use it
// ends nothing. That is no erasure of a disk.
func (l *Local) ScheduleDestruction(ctx context.Context, kek string) (time.Time, error) {
	s, _, err := l.of(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK %s: %w", kek, err)
	}
	due := l.o.Clock().UTC().Round(0).Add(l.o.DestroyAfter)
	return due, l.change(ctx, "schedule destruction of", kek, localState{State: KEKPending, Due: due, By: s.ID})
}

func (l *Local) change(ctx context.Context, verb, kek string, to localState) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s KEK %s: %w", verb, kek, err)
	}
	d, _, err := l.look(kek)
	to.KEK = kek
	switch {
	case err != nil:
	case d.State == KEKDestroyed:
		err = fmt.Errorf("%w: %s is destroyed", ErrDisabled, kek)
	case to.State == KEKEnabled:
		if _, err = l.note(ctx, kek); err == nil {
			err = l.writeState(to)
		}
	case to.State == KEKPending || d.State == KEKEnabled:
		err = l.switchOff(ctx, to)
	}
	if err != nil {
		return fmt.Errorf("%s KEK: %w", verb, err)
	}
	return nil
}

// switchOff leaves a KEK as it is that other control stores use. This one does
// not any more, whoever may call Disable says: it is forgotten either way, so that
// the last of several stores can switch off what they shared.
func (l *Local) switchOff(ctx context.Context, to localState) error {
	was, err := l.readState(to.KEK)
	if err == nil {
		err = l.unused(ctx, to.KEK)
	}
	if err == nil {
		if err = l.writeState(to); err != nil {
			return err
		}
		if err = l.unused(ctx, to.KEK); err != nil { // came in between
			err = errors.Join(err, l.writeState(was))
		}
	}
	if err == nil || to.State == KEKDisabled {
		err = errors.Join(err, l.forget(ctx, to.KEK))
	}
	return err
}

// look finds a KEK's file and state, and destroys what is due and not held.
func (l *Local) look(kek string) (Description, string, error) {
	d, file, err := l.peek(kek)
	if err == nil && d.State == KEKPending && d.Held == "" && !l.o.Clock().Before(d.Destroys) {
		return l.destroy(d, file)
	}
	return d, file, err
}

// peek finds a KEK's file and state.
func (l *Local) peek(kek string) (Description, string, error) {
	if Scheme(kek) != LocalScheme || strings.ContainsAny(kek, "/\\") {
		return Description{}, "", fmt.Errorf("%w: %q is no local KEK", ErrNotFound, kek)
	}
	s, err := l.readState(kek)
	if err != nil {
		return Description{}, "", err
	}
	d := Description{KEK: kek, State: s.State}
	if s.State == KEKDestroyed {
		return d, "", nil
	}
	file, created, err := l.find(kek)
	if err != nil {
		return Description{}, "", err
	}
	d.Name, d.Created, d.File = primaryName, created, file
	if strings.HasSuffix(file, keySuffix) && filepath.Dir(file) == l.folder() {
		d.Name = strings.TrimSuffix(filepath.Base(file), keySuffix)
	}
	if s.State == KEKPending {
		d.Destroys = s.Due
		users, err := l.users(kek, s.By)
		if err != nil {
			return Description{}, "", err
		}
		d.Held = strings.Join(users, ", ")
	}
	return d, file, nil
}

// destroy removes the file first: what is left of a crash in between is a KEK
// without a file whose destruction is due.
func (l *Local) destroy(d Description, file string) (Description, string, error) {
	l.mu.Lock()
	delete(l.open, d.KEK)
	l.mu.Unlock()
	err := os.Remove(file)
	if err == nil || isMissing(err) {
		err = l.writeState(localState{KEK: d.KEK, State: KEKDestroyed, Due: d.Destroys})
	}
	if err != nil {
		return Description{}, "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.State, d.File = KEKDestroyed, ""
	return d, "", nil
}

// find looks through the heads of the master key files.
func (l *Local) find(kek string) (file string, made time.Time, err error) {
	entries, err := os.ReadDir(l.folder())
	if err != nil && !isMissing(err) {
		return "", time.Time{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	files := []string{l.primaryFile()}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), keySuffix) {
			files = append(files, filepath.Join(l.folder(), e.Name()))
		}
	}
	var bad error // of a file that cannot be read: perhaps the one
	for _, f := range files {
		id, at, err := headID(f)
		if err != nil && !isMissing(err) {
			bad = errors.Join(bad, err)
		}
		if err == nil && id == kek {
			return f, at, nil
		}
	}
	if bad != nil {
		return "", time.Time{}, fmt.Errorf("find %s: %w", kek, bad)
	}
	return "", time.Time{}, fmt.Errorf("%w: %s has no file at %s or in %s", ErrNotFound, kek, l.o.Path, l.folder())
}

func (l *Local) readState(kek string) (localState, error) {
	file := l.stateFile(kek)
	b, err := os.ReadFile(file)
	if isMissing(err) {
		return localState{KEK: kek, State: KEKEnabled}, nil
	}
	var s localState
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	switch {
	case err != nil: // fail closed: it may have said disabled
		return s, fmt.Errorf("%w: read state of %s: %w", ErrUnavailable, kek, err)
	case s.KEK != kek || s.State != KEKEnabled && s.State != KEKDisabled && s.State != KEKPending && s.State != KEKDestroyed:
		return s, fmt.Errorf("%w: %s is not the state of %s", ErrUnavailable, file, kek)
	}
	return s, nil
}

// writeState replaces the state whole.
func (l *Local) writeState(s localState) error {
	if err := makeDir(l.folder()); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp, err := writeTemp(l.folder(), append(b, '\n'))
	if err != nil {
		return err
	}
	if err := os.Rename(temp, l.stateFile(s.KEK)); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(l.folder())
}

// read opens a master key file, asking for its passphrase if it is sealed. The
// caller clears what it returns.
func (l *Local) read(file string) (*master, error) {
	line, err := readLine(file)
	if err != nil {
		return nil, err
	}
	defer clear(line)
	m, err := parseMaster(line, func() ([]byte, error) {
		if l.o.Passphrase == nil {
			return nil, fmt.Errorf("%w: sealed under a passphrase, and nobody to ask for it", ErrMasterFile)
		}
		return l.o.Passphrase(file, false)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// make writes a new master key file; made is false where one stands. quiet: then
// nobody is asked for a passphrase.
func (l *Local) make(file string, quiet bool) (made bool, err error) {
	if _, err := os.Lstat(file); err == nil && quiet {
		return false, nil
	}
	var pass []byte
	if l.o.Passphrase != nil {
		if pass, err = l.o.Passphrase(file, true); err != nil {
			return false, err
		}
		defer clear(pass)
	}
	err = createMaster(file, pass)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
