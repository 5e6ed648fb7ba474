package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// input is IN, whole and to be read anywhere. Its reads end with ctx.
type input struct {
	ctx  context.Context
	name string // for errors
	file *os.File
	at   *io.SectionReader
	size int64
	// was is the file as it was opened; nil where it is a copy of our own.
	was fs.FileInfo
}

// openInput opens IN in place where it is a regular file, else copies it first.
func (a *app) openInput(ctx context.Context, name string) (*input, error) {
	if name == "-" {
		f, ok := a.stdin.(*os.File)
		if !ok {
			return spool(ctx, "standard input", a.stdin)
		}
		return place(ctx, "standard input", f)
	}
	f, err := await(ctx, func() (*os.File, error) { return os.Open(name) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, usagef("open IN: %v", err)
	}
	in, err := place(ctx, name, f)
	if err != nil || in.file != f {
		err = errors.Join(err, f.Close())
	}
	return in, err
}

// place takes f from where it stands to its end.
func place(ctx context.Context, name string, f *os.File) (*input, error) {
	was, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at IN: %w", err)
	}
	if was.IsDir() {
		return nil, usagef("IN %s is a directory", name)
	}
	if !was.Mode().IsRegular() {
		return spool(ctx, name, f)
	}
	from, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("look at IN: %w", err)
	}
	size := max(was.Size()-from, 0)
	return &input{ctx: ctx, name: name, file: f, at: io.NewSectionReader(f, from, size), size: size, was: was}, nil
}

// spool copies what cannot be read in place to a file that has no name, so that
// nothing stays behind however the program ends. It is ciphertext still.
func spool(ctx context.Context, name string, r io.Reader) (in *input, err error) {
	f, err := os.CreateTemp("", "rekey-spool-*")
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			in, err = nil, fmt.Errorf("copy %s: %w", name, errors.Join(err, f.Close()))
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	n, err := io.Copy(f, patientReader{ctx, r})
	if err != nil {
		return nil, err
	}
	return &input{ctx: ctx, name: name, file: f, at: io.NewSectionReader(f, 0, n), size: n}, nil
}

// ReadAt implements io.ReaderAt.
func (in *input) ReadAt(b []byte, off int64) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	return in.at.ReadAt(b, off)
}

// Close implements io.Closer.
func (in *input) Close() error { return in.file.Close() }

// mode is what OUT's permissions are to be.
func (in *input) mode() fs.FileMode {
	if in.was == nil {
		return 0o600
	}
	return in.was.Mode().Perm()
}

// unchanged fails where someone wrote to IN meanwhile: OUT may be a mix.
func (in *input) unchanged() error {
	if in.was == nil {
		return nil
	}
	is, err := in.file.Stat()
	if err != nil {
		return fmt.Errorf("look at IN: %w", err)
	}
	if is.Size() != in.was.Size() || !is.ModTime().Equal(in.was.ModTime()) {
		return fmt.Errorf("rekey %s: it was written to while it was read", in.name)
	}
	return nil
}

// await runs f, which may block for ever, and leaves it behind when ctx ends.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// patientReader waits for r no longer than ctx lasts.
type patientReader struct {
	ctx context.Context
	r   io.Reader
}

func (p patientReader) Read(b []byte) (int, error) {
	return await(p.ctx, func() (int, error) { return p.r.Read(b) })
}
