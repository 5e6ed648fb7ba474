package store

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
)

// List implements Reader. It holds the names of the folders on the way to the
// current object, not of the tree.
func (d *Dir) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		w := walk{ctx: ctx, root: d.root, yield: yield}
		if err := w.start(prefix); err != nil && !w.stopped {
			yield(Info{}, opError("list", prefix, err))
		}
	}
}

// walk is one List under way.
type walk struct {
	ctx     context.Context
	root    *os.Root // the store's
	yield   func(Info, error) bool
	stopped bool // the caller wants no more
}

func (w *walk) start(prefix string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	slash := strings.LastIndexByte(prefix, '/')
	path, begin := prefix[:max(slash, 0)], prefix[slash+1:]
	if path == "" {
		return w.folder(w.root, "", begin)
	}
	err := w.enter(w.root, path, path+"/", begin)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// enter walks the folder with the given name in r.
func (w *walk) enter(r *os.Root, name, path, begin string) error {
	sub, err := openFolder(r, name)
	if err != nil {
		return dirClass(err)
	}
	return errors.Join(w.folder(sub, path, begin), sub.Close())
}

// folder yields what is in r and below, with keys that begin with path, for names
// that begin with begin. It ends early, without an error, when w stops.
func (w *walk) folder(r *os.Root, path, begin string) error {
	names, err := readNames(r, begin)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if name, ok := strings.CutSuffix(n, "/"); ok {
			err = w.enter(r, name, path+n, "")
		} else {
			err = w.file(r, n, path+n)
		}
		// Deleted since the names were read: weak, as the contract says.
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if w.stopped {
			return nil
		}
	}
	return nil
}

func (w *walk) file(r *os.Root, name, key string) error {
	st, err := r.Lstat(name)
	if err != nil {
		return dirClass(err)
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		// From the store's root, since it may lead to another folder in it. One
		// that leads nowhere, or out of the root, is no object.
		if st, err = w.root.Stat(key); err != nil {
			return nil //nolint:nilerr // see above
		}
	}
	if !st.Mode().IsRegular() {
		return nil
	}
	info := fileInfo(key, st)
	info.Attributes = Attributes{}
	w.stopped = !w.yield(info, nil)
	return nil
}

// readNames returns the names in a folder in the order of the keys they lead to:
// a folder's ends in a slash, which sorts it behind "a-" and before "a0".
func readNames(r *os.Root, begin string) ([]string, error) {
	f, err := r.Open(".")
	if err != nil {
		return nil, dirClass(err)
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, dirClass(err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, begin) || strings.HasPrefix(name, tempPrefix) {
			continue
		}
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	return names, nil
}
