package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

const (
	folderMode = 0o755
	fileMode   = 0o644 // less the umask; a replaced file's permissions are kept

	lockFirst   = 200 * time.Microsecond // wait between tries for a lock,
	lockLongest = 10 * time.Millisecond  // doubling up to this
)

// Put implements Writer. The bytes go to a temporary file in the object's folder
// and reach the disk; then the file takes the object's name in one step: by
// link(2) for CreateOnly, which fails if the name is taken, else by rename(2);
// then the folder reaches the disk.
func (d *Dir) Put(ctx context.Context, key string, body []byte, o PutOptions) (Info, error) {
	info, err := d.put(ctx, key, body, o)
	return info, opError("put", key, err)
}

func (d *Dir) put(ctx context.Context, key string, body []byte, o PutOptions) (Info, error) {
	if err := ready(ctx, key); err != nil {
		return Info{}, err
	}
	if o.CreateOnly && o.IfMatch != "" {
		return Info{}, errBothConditions
	}
	if o.IfMatch != "" {
		// Without this, a conditional write that can't succeed would make folders.
		if _, err := d.stat(ctx, key); err != nil {
			return Info{}, absent(err)
		}
	}
	p, err := d.openParent(key, true)
	if err != nil {
		return Info{}, err
	}
	defer p.close()
	var st fs.FileInfo
	if o.CreateOnly {
		st, err = p.create(body)
	} else {
		st, err = p.replace(ctx, d, key, body, o.IfMatch)
	}
	if err != nil {
		return Info{}, err
	}
	info := fileInfo(key, st)
	info.CRC64NVME = CRC64NVME(body)
	return info, nil
}

// Delete implements Writer. Folders stay, also empty ones.
func (d *Dir) Delete(ctx context.Context, key string) error {
	return opError("delete", key, d.delete(ctx, key))
}

func (d *Dir) delete(ctx context.Context, key string) error {
	if err := ready(ctx, key); err != nil {
		return err
	}
	p, err := d.openParent(key, false)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.lock(ctx); err != nil {
		return err
	}
	st, err := p.root.Lstat(p.name)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && st.IsDir()) {
		return nil // no object: a folder is none, and Remove would take an empty one
	}
	if err != nil {
		return dirClass(err)
	}
	if err := p.root.Remove(p.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dirClass(err)
	}
	return dirClass(p.fd.Sync())
}

// parent is an object's folder, held open: its descriptor is what flock(2) locks
// and fsync(2) writes, and names in it are resolved from there.
type parent struct {
	root *os.Root
	fd   *os.File
	name string // of the object in it
}

func (d *Dir) openParent(key string, create bool) (*parent, error) {
	folder, name := path.Split(key)
	folder = path.Clean(folder)
	root, err := openFolder(d.root, folder)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolders(folder); err != nil {
			return nil, err
		}
		root, err = openFolder(d.root, folder)
	}
	if err != nil {
		if create && errors.Is(err, syscall.ENOTDIR) {
			return nil, fmt.Errorf("%w: an object stands where a folder is needed: %w", ErrInvalidKey, err)
		}
		return nil, dirClass(err)
	}
	fd, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(dirClass(err), root.Close())
	}
	return &parent{root: root, fd: fd, name: name}, nil
}

// makeFolders makes each folder that is missing and has its parent reach the disk.
func (d *Dir) makeFolders(folder string) error {
	above := "."
	for segment := range strings.SplitSeq(folder, "/") {
		here := path.Join(above, segment)
		err := d.root.Mkdir(here, folderMode)
		switch {
		case errors.Is(err, fs.ErrExist):
		case errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("%w: an object stands where a folder is needed: %w", ErrInvalidKey, err)
		case err != nil:
			return dirClass(err)
		default:
			if err := d.syncFolder(above); err != nil {
				return err
			}
		}
		above = here
	}
	return nil
}

func (d *Dir) syncFolder(folder string) error {
	f, err := d.root.Open(folder)
	if err != nil {
		return dirClass(err)
	}
	return dirClass(errors.Join(f.Sync(), f.Close()))
}

// close also gives up the lock.
func (p *parent) close() {
	_ = p.fd.Close()
	_ = p.root.Close()
}

// lock waits for the folder's exclusive lock. It asks again and again because a
// blocked flock(2) does not end with a context.
func (p *parent) lock(ctx context.Context) error {
	wait := lockFirst
	for {
		err := flock(p.fd)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return dirClass(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, lockLongest)
	}
}

func flock(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	err = raw.Control(func(fd uintptr) {
		for {
			locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
			if !errors.Is(locked, syscall.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, locked)
}

// create needs no lock: link(2) itself refuses a name that is taken.
func (p *parent) create(body []byte) (fs.FileInfo, error) {
	switch st, err := p.root.Lstat(p.name); {
	case err == nil:
		return nil, taken(st) // spares writing the bytes; link decides when they race
	case !errors.Is(err, fs.ErrNotExist):
		return nil, dirClass(err)
	}
	temp, st, err := p.write(body, nil)
	if err != nil {
		return nil, err
	}
	err = p.root.Link(temp, p.name)
	if removed := p.root.Remove(temp); err == nil {
		err = removed
	}
	if errors.Is(err, fs.ErrExist) {
		if st, err := p.root.Lstat(p.name); err == nil {
			return nil, taken(st)
		}
		return nil, fmt.Errorf("%w: something stood under the key", ErrConflict)
	}
	if err != nil {
		return nil, dirClass(err)
	}
	return st, dirClass(p.fd.Sync())
}

func taken(st fs.FileInfo) error {
	if st.IsDir() {
		return fmt.Errorf("%w: a folder has that name", ErrInvalidKey)
	}
	return fmt.Errorf("%w: an object stands under the key", ErrPrecondition)
}

// replace holds the lock from looking at what stands to renaming over it, so that
// of several writers with one ETag one succeeds.
func (p *parent) replace(ctx context.Context, d *Dir, key string, body []byte, ifMatch string) (fs.FileInfo, error) {
	if err := p.lock(ctx); err != nil {
		return nil, err
	}
	old, err := d.root.Stat(key)
	switch {
	case err != nil && errors.Is(err, fs.ErrNotExist) && ifMatch == "":
		old = nil
	case err != nil && ifMatch != "":
		return nil, absent(dirClass(err))
	case err != nil:
		return nil, dirClass(err)
	case old.IsDir():
		return nil, fmt.Errorf("%w: a folder has that name", ErrInvalidKey)
	case ifMatch != "" && fileETag(old) != ifMatch:
		return nil, fmt.Errorf("%w: ETag is %s, not %s", ErrPrecondition, fileETag(old), ifMatch)
	}
	temp, st, err := p.write(body, old)
	if err != nil {
		return nil, err
	}
	if err := p.root.Rename(temp, p.name); err != nil {
		return nil, errors.Join(dirClass(err), p.root.Remove(temp))
	}
	return st, dirClass(p.fd.Sync())
}

// absent makes of ErrNotFound what it is to a conditional write. The old class
// must not show any more.
func absent(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: no object stands under the key", ErrPrecondition)
	}
	return err
}

// write makes a temporary file that holds body on the disk, with the permissions
// of the file it is to replace and a later mtime. On an error it is gone again.
func (p *parent) write(body []byte, old fs.FileInfo) (string, fs.FileInfo, error) {
	temp := tempPrefix + rand.Text()
	f, err := p.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", nil, dirClass(err)
	}
	st, err := p.fill(f, temp, body, old)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", nil, errors.Join(dirClass(err), p.root.Remove(temp))
	}
	return temp, st, nil
}

func (p *parent) fill(f *os.File, temp string, body []byte, old fs.FileInfo) (fs.FileInfo, error) {
	if _, err := f.Write(body); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return nil, err
		}
		if !st.ModTime().After(old.ModTime()) {
			later := old.ModTime().Add(1)
			if err := p.root.Chtimes(temp, later, later); err != nil {
				return nil, err
			}
		}
		if st, err = f.Stat(); err != nil {
			return nil, err
		}
	}
	return st, f.Sync()
}
