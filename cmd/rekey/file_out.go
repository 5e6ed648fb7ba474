package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// output is OUT.
type output interface {
	io.Writer
	// commit makes what was written OUT.
	commit(ctx context.Context) error
	// discard leaves nothing of what was not committed. It comes last, always.
	discard() error
	// given: others may have bytes of it.
	given() bool
}

func (a *app) openOutput(ctx context.Context, o fileOptions, in *input) (output, error) {
	if o.out == "-" {
		return &streamOut{ctx: ctx, w: a.stdout}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(o.out), ".rekey-*.part")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", o.out, err)
	}
	return &fileOut{ctx: ctx, f: f, path: o.out, mode: in.mode(), force: o.force}, nil
}

// streamOut is standard output, which may block for ever.
type streamOut struct {
	ctx context.Context
	w   io.Writer
	any bool
}

func (s *streamOut) Write(b []byte) (int, error) {
	s.any = s.any || len(b) > 0
	return await(s.ctx, func() (int, error) { return s.w.Write(b) })
}

func (s *streamOut) commit(context.Context) error { return nil }
func (s *streamOut) discard() error               { return nil }
func (s *streamOut) given() bool                  { return s.any }

// fileOut is a file beside OUT until it is whole.
type fileOut struct {
	ctx    context.Context
	f      *os.File // made 0600
	path   string
	mode   fs.FileMode
	force  bool
	placed bool
}

func (o *fileOut) Write(b []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	return o.f.Write(b)
}

func (o *fileOut) given() bool { return o.placed }

func (o *fileOut) commit(ctx context.Context) error {
	if err := o.seal(); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	if err := o.place(); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	o.placed = true
	if err := syncFolder(o.path); err != nil {
		return fmt.Errorf("write %s: it is there, but may not last: %w", o.path, err)
	}
	return nil
}

// seal makes the bytes durable before the name leads to them.
func (o *fileOut) seal() error {
	if err := o.f.Chmod(o.mode); err != nil {
		return err
	}
	if err := o.f.Sync(); err != nil {
		return err
	}
	return o.f.Close()
}

// place gives the file its name. A link fails where the name was taken since we
// looked, which a rename does not.
func (o *fileOut) place() error {
	if o.force {
		return os.Rename(o.f.Name(), o.path)
	}
	err := os.Link(o.f.Name(), o.path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// The file system has no links.
	if _, err := os.Lstat(o.path); err == nil {
		return fs.ErrExist
	}
	return os.Rename(o.f.Name(), o.path)
}

func (o *fileOut) discard() error {
	_ = o.f.Close() // closed already after commit
	return removeFile(o.f.Name())
}
