package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Dir is a store in a directory. Several processes may use one at a time, on one
// machine: they exclude each other by flock(2) on the folder of the object. It
// leaves no files of its own, but a process that is killed while it writes may
// leave one named .rekey-tmp-…, which List does not show.
//
// A folder and an object can't have the same name, as they can in S3: such a key
// is ErrInvalidKey. Symbolic links are followed inside the root only; List does
// not descend into linked folders.
type Dir struct {
	root *os.Root
}

// OpenDir opens a directory that is there: ErrNotFound where nothing is,
// ErrLocation where something else is.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err == nil {
		return &Dir{root: root}, nil
	}
	if st, statErr := os.Stat(path); statErr == nil && !st.IsDir() {
		return nil, fmt.Errorf("open directory %q: %w: it is none", path, ErrLocation)
	}
	return nil, fmt.Errorf("open directory %q: %w", path, dirClass(err))
}

// Close releases the directory; nothing may be under way.
func (d *Dir) Close() error { return d.root.Close() }

// Stat implements Reader.
func (d *Dir) Stat(ctx context.Context, key string) (Info, error) {
	info, err := d.stat(ctx, key)
	return info, opError("stat", key, err)
}

func (d *Dir) stat(ctx context.Context, key string) (Info, error) {
	if err := ready(ctx, key); err != nil {
		return Info{}, err
	}
	f, err := d.root.Stat(key)
	if err != nil {
		return Info{}, dirClass(err)
	}
	if !f.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%w: %s is no regular file", ErrNotFound, key)
	}
	return fileInfo(key, f), nil
}

// Get implements Reader.
func (d *Dir) Get(ctx context.Context, key string, o GetOptions) (Info, io.ReadCloser, error) {
	info, body, err := d.get(ctx, key, o)
	if err != nil {
		return Info{}, nil, opError("get", key, err)
	}
	return info, body, nil
}

func (d *Dir) get(ctx context.Context, key string, o GetOptions) (Info, io.ReadCloser, error) {
	if err := ready(ctx, key); err != nil {
		return Info{}, nil, err
	}
	// O_NONBLOCK: opening a named pipe must not wait for its writer.
	f, err := d.root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Info{}, nil, dirClass(err)
	}
	info, start, length, err := look(f, key, o)
	if err != nil {
		return Info{}, nil, errors.Join(err, f.Close())
	}
	return info, &fileBody{ctx: ctx, key: key, file: f, part: io.NewSectionReader(f, start, length)}, nil
}

// look describes the open file, which keeps its content whatever is renamed over
// its name, and says which part of it is asked for.
func look(f *os.File, key string, o GetOptions) (info Info, start, length int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return Info{}, 0, 0, dirClass(err)
	}
	if !st.Mode().IsRegular() {
		return Info{}, 0, 0, fmt.Errorf("%w: %s is no regular file", ErrNotFound, key)
	}
	info = fileInfo(key, st)
	if o.IfMatch != "" && o.IfMatch != info.ETag {
		return Info{}, 0, 0, fmt.Errorf("%w: ETag is %s, not %s", ErrPrecondition, info.ETag, o.IfMatch)
	}
	if err := checkRange(o); err != nil {
		return Info{}, 0, 0, err
	}
	if o != (GetOptions{IfMatch: o.IfMatch}) && o.Offset >= info.Size {
		return Info{}, 0, 0, fmt.Errorf("%w: offset %d of %d bytes", ErrInvalidRange, o.Offset, info.Size)
	}
	length = info.Size - o.Offset
	if o.Length > 0 {
		length = min(length, o.Length)
	}
	return info, o.Offset, length, nil
}

func checkRange(o GetOptions) error {
	if o.Offset < 0 || o.Length < 0 {
		return fmt.Errorf("%w: offset %d, length %d", ErrInvalidRange, o.Offset, o.Length)
	}
	return nil
}

// fileBody is the asked-for part of an open file.
type fileBody struct {
	ctx  context.Context
	key  string
	file *os.File
	part *io.SectionReader
}

// Read ends with an error when the file became shorter than it was.
func (b *fileBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, opError("get", b.key, err)
	}
	n, err := b.part.Read(p)
	switch {
	case err == nil || !errors.Is(err, io.EOF):
		return n, opError("get", b.key, dirClass(err))
	case b.left() > 0:
		return n, opError("get", b.key, fmt.Errorf("%w: file cut short: %w", ErrUnavailable, io.ErrUnexpectedEOF))
	}
	return n, io.EOF
}

func (b *fileBody) left() int64 {
	at, _ := b.part.Seek(0, io.SeekCurrent)
	return b.part.Size() - at
}

func (b *fileBody) Close() error { return opError("get", b.key, dirClass(b.file.Close())) }

// ready checks what every operation needs before it begins.
func ready(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckKey(key)
}

func fileInfo(key string, f fs.FileInfo) Info {
	return Info{
		Key: key, Size: f.Size(), ETag: fileETag(f), Modified: f.ModTime(),
		Attributes: Attributes{ContentType: contentType(key)},
	}
}

// fileETag is made of inode, mtime in nanoseconds and size. Every write makes a
// new inode; since a file system uses inodes again, a file that replaces another
// also gets a later mtime than that had, however coarse the clock is.
func fileETag(f fs.FileInfo) string {
	var inode uint64
	if st, ok := f.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x"`, inode, f.ModTime().UnixNano(), f.Size())
}

func contentType(key string) string {
	switch path.Ext(key) {
	case ".m3u8":
		return "application/vnd.apple.mpegurl" // RFC 8216 §4
	case ".mpd":
		return "application/dash+xml" // ISO/IEC 23009-1 annex C
	case ".ts":
		return "video/mp2t" // RFC 3555 §4.2.9
	case ".m4s":
		return "video/iso.segment"
	case ".mp4":
		return "video/mp4"
	case ".vtt":
		return "text/vtt"
	case ".json":
		return "application/json"
	}
	return "application/octet-stream"
}

// dirClass gives an error of the file system its class.
func dirClass(err error) error {
	classes := []struct {
		class  error
		causes []error
	}{
		// A file among the folders of a key: nothing can stand under it.
		{ErrNotFound, []error{fs.ErrNotExist, syscall.ENOTDIR}},
		{ErrDenied, []error{fs.ErrPermission, syscall.EROFS}},
		{ErrInvalidKey, []error{syscall.ENAMETOOLONG, syscall.EILSEQ, syscall.ELOOP, syscall.EINVAL}},
		{ErrUnavailable, []error{
			syscall.EIO, syscall.EINTR, syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE,
			syscall.ESTALE, syscall.ETIMEDOUT, syscall.EBUSY,
		}},
	}
	for _, c := range classes {
		for _, cause := range c.causes {
			if errors.Is(err, cause) {
				return fmt.Errorf("%w: %w", c.class, err)
			}
		}
	}
	if escapes(err) {
		return fmt.Errorf("%w: %w", ErrInvalidKey, err)
	}
	return err
}

// openFolder is OpenRoot whose error says in a way that can be matched (ENOTDIR)
// that something else than a folder has that name.
func openFolder(r *os.Root, name string) (*os.Root, error) {
	sub, err := r.OpenRoot(name)
	if err == nil {
		return sub, nil
	}
	st, statErr := r.Stat(name)
	switch {
	case statErr != nil:
		return nil, statErr
	case !st.IsDir():
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return nil, err
}

// escapes reports os.Root's refusal to leave the root, for which package os has
// no exported error.
func escapes(err error) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && e.Err != nil && e.Err.Error() == "path escapes from parent"
}
