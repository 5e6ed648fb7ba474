package kms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A file beside the master keys notes each control store that wraps under a KEK:
// one file for each store, so that two who note and forget at once are not in
// each other's way. It is there before anything is wrapped, and before the state
// of the KEK is looked at; who switches a KEK off writes the state and then looks
// for others. So either of two at once sees the other. It is named by the store's
// id: two containers may both have theirs at /control.
type localUser struct {
	KEK   string `json:"kek"`
	ID    string `json:"id"`
	Store string `json:"store"` // its path or URL when it was noted
}

const userInfix = ".used-by-"

// of is the control store that this one wraps for; ok is false where there is
// none.
func (l *Local) of(ctx context.Context) (s LocalStore, ok bool, err error) {
	if l.o.Store == nil {
		return LocalStore{}, false, nil
	}
	l.naming.Lock()
	defer l.naming.Unlock()
	if l.store.ID != "" {
		return l.store, true, nil
	}
	s, err = l.o.Store(ctx)
	switch {
	case ctx.Err() != nil:
		return LocalStore{}, true, ctx.Err()
	case err == nil && s.ID == "":
		err = errors.New("it has no id")
		fallthrough
	case err != nil: // of no class of its own: it tells nothing of the folder
		return LocalStore{}, true, fmt.Errorf("%w: tell which control store this is: %s", ErrUnavailable, err.Error())
	}
	l.store = s
	return s, true, nil
}

func (l *Local) userFile(kek, id string) string {
	sum := sha256.Sum256([]byte(id))
	name := strings.TrimPrefix(kek, LocalScheme+":") + userInfix + hex.EncodeToString(sum[:8])
	return filepath.Join(l.folder(), name)
}

// note puts down that this store uses a KEK; fresh says that it was not noted, or
// elsewhere: a store may be moved.
func (l *Local) note(ctx context.Context, kek string) (fresh bool, err error) {
	s, ok, err := l.of(ctx)
	if err != nil || !ok {
		return false, err
	}
	file := l.userFile(kek, s.ID)
	if l.isNoted(kek, file, s) {
		return false, nil
	}
	if err := makeDir(l.folder()); err != nil {
		return false, err
	}
	b, err := json.Marshal(localUser{KEK: kek, ID: s.ID, Store: s.Name})
	if err != nil {
		return false, err
	}
	temp, err := writeTemp(l.folder(), append(b, '\n'))
	if err != nil {
		return false, err
	}
	if err := os.Rename(temp, file); err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	return true, syncDir(l.folder())
}

// isNoted reads a note once: one store may be reached by two names, and that is
// not written again at each use.
func (l *Local) isNoted(kek, file string, s LocalStore) bool {
	if _, err := os.Lstat(file); err != nil {
		return false
	}
	l.mu.Lock()
	_, read := l.noted[kek]
	l.noted[kek] = struct{}{}
	l.mu.Unlock()
	if read {
		return true
	}
	u, err := readUser(file)
	return err == nil && u.ID == s.ID && u.Store == s.Name
}

// notNotable reports a folder that may not be written, such as that of a systemd
// credential: from there no KEK is switched off either.
func notNotable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// warn tells that a use could not be noted.
func (l *Local) warn(kek string, err error) {
	l.mu.Lock()
	_, told := l.unnoted[kek]
	l.unnoted[kek] = struct{}{}
	l.mu.Unlock()
	if !told {
		l.o.Unnoted(kek, err)
	}
}

// forget takes back what note put down.
func (l *Local) forget(ctx context.Context, kek string) error {
	s, ok, err := l.of(ctx)
	if err != nil || !ok {
		return err
	}
	err = os.Remove(l.userFile(kek, s.ID))
	if isMissing(err) {
		return nil
	}
	return err
}

// unused returns nil, or an error of class ErrInUse that names the other control
// stores that use a KEK.
func (l *Local) unused(ctx context.Context, kek string) error {
	s, _, err := l.of(ctx)
	if err != nil {
		return err
	}
	users, err := l.users(kek, s.ID)
	if err != nil || len(users) == 0 {
		return err
	}
	return fmt.Errorf("%w: under %s are keys of %s: kek rotate there first; if a store is gone for good, remove the file that is named beside it", ErrInUse, kek, strings.Join(users, ", "))
}

// users are the control stores that use a KEK, but for the one of an id. A note
// that does not read counts as one.
func (l *Local) users(kek, but string) (users []string, err error) {
	folder, own := l.folder(), ""
	if but != "" {
		own = filepath.Base(l.userFile(kek, but))
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !isMissing(err) {
		return nil, fmt.Errorf("%w: look for users of %s: %w", ErrUnavailable, kek, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), strings.TrimPrefix(kek, LocalScheme+":")+userInfix) || e.Name() == own {
			continue
		}
		file := filepath.Join(folder, e.Name())
		u, err := readUser(file)
		if isMissing(err) { // forgotten meanwhile
			continue
		}
		if err != nil {
			u.Store = fmt.Sprintf("that cannot be told (%v)", err)
		}
		users = append(users, fmt.Sprintf("the control store %s (id %s, %s)", u.Store, u.ID, file))
	}
	return users, nil
}

func readUser(file string) (u localUser, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	if err == nil && u.ID == "" {
		err = errors.New("names no store")
	}
	return u, err
}
