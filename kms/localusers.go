package kms

import (
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
// for others. So either of two at once sees the other.
type localUser struct {
	KEK   string `json:"kek"`
	Store string `json:"store"`
}

const userInfix = ".used-by-"

func (l *Local) userFile(kek string) string {
	sum := sha256.Sum256([]byte(l.o.Store))
	name := strings.TrimPrefix(kek, LocalScheme+":") + userInfix + hex.EncodeToString(sum[:8])
	return filepath.Join(l.folder(), name)
}

// note puts down that this store uses a KEK; fresh says that it was not noted.
func (l *Local) note(kek string) (fresh bool, err error) {
	if l.o.Store == "" {
		return false, nil
	}
	file := l.userFile(kek)
	if _, err := os.Lstat(file); err == nil {
		return false, nil
	}
	if err := makeDir(l.folder()); err != nil {
		return false, err
	}
	b, err := json.Marshal(localUser{KEK: kek, Store: l.o.Store})
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

// notNotable reports a folder that may not be written, such as that of a systemd
// credential: from there no KEK is switched off either.
func notNotable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// forget takes back what note put down.
func (l *Local) forget(kek string) error {
	if l.o.Store == "" {
		return nil
	}
	err := os.Remove(l.userFile(kek))
	if isMissing(err) {
		return nil
	}
	return err
}

// unused returns nil, or an error of class ErrInUse that names the other control
// stores that use a KEK. A note that does not read counts as one.
func (l *Local) unused(kek string) error {
	entries, err := os.ReadDir(l.folder())
	if err != nil && !isMissing(err) {
		return fmt.Errorf("%w: look for users of %s: %w", ErrUnavailable, kek, err)
	}
	var users []string
	for _, e := range entries {
		file := filepath.Join(l.folder(), e.Name())
		if !strings.HasPrefix(e.Name(), strings.TrimPrefix(kek, LocalScheme+":")+userInfix) || file == l.userFile(kek) {
			continue
		}
		u, err := readUser(file)
		if isMissing(err) { // forgotten meanwhile
			continue
		}
		if err != nil {
			u.Store = fmt.Sprintf("that cannot be told (%v)", err)
		}
		users = append(users, fmt.Sprintf("the control store %s (%s)", u.Store, file))
	}
	if len(users) == 0 {
		return nil
	}
	return fmt.Errorf("%w: under %s are keys of %s: kek rotate there first; if a store is gone for good, remove the file that is named beside it", ErrInUse, kek, strings.Join(users, ", "))
}

func readUser(file string) (u localUser, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	if err == nil && u.Store == "" {
		err = errors.New("names no store")
	}
	return u, err
}
