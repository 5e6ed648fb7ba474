package cenc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// Limits of what a File holds at once.
const (
	maxMoov   = 64 << 20
	maxWindow = 512 << 20 // one fragment, or one sample of a progressive file
	maxTop    = 1 << 20   // boxes of the top level
)

// File is a whole file, moov and media in one object: progressive (ISO/IEC
// 14496-12 §8.7) or fragmented (§8.8). It is read in windows: a fragment, or a
// few MiB of a progressive file's samples. One goroutine may use it at a time.
type File struct {
	object string
	src    io.ReaderAt
	size   int
	top    []box
	moov   box
	in     *Init
	buf    []byte
}

// FileOptions are what a caller may want besides the new file. The zero value
// wants nothing.
type FileOptions struct {
	Options
	// Clear gets the canonical clear form, as Result.Clear has it; in moov every
	// KID of tenc and seig and the content of every pssh box are zeroed too.
	Clear io.Writer
	// Progress is told the bytes done so far, after each window.
	Progress func(done int64)
}

// FileResult is what a file came to; its fields mean what Result's do.
type FileResult struct {
	Samples   int
	Protected int64
	Evidence  evidence.Evidence
	ByKID     map[key.KID]evidence.Evidence
	Stored    evidence.Evidence
	Readings  Readings
	Findings  []Finding
	Kept      []key.KID
	// NotUpdated names the protection systems whose pssh data was kept as it was,
	// because nothing in it could be understood to name a key.
	NotUpdated []string
}

// OpenFile reads the top level of a file of size bytes and its moov. Errors of
// src are wrapped; all others are an *Error.
func OpenFile(object string, src io.ReaderAt, size int64) (*File, error) {
	f := &File{object: object, src: src, size: int(size)}
	if err := f.readTop(); err != nil {
		return nil, err
	}
	b := make([]byte, f.moov.end-f.moov.start)
	if err := f.read(b, f.moov.start); err != nil {
		return nil, err
	}
	f.in = &Init{object: object, b: b, base: f.moov.start}
	r := &reader{object: object, b: b, base: f.moov.start}
	if err := f.in.readMoov(r, f.moov); err != nil {
		return nil, err
	}
	return f, nil
}

// readTop lists the boxes of the top level.
func (f *File) readTop() error {
	r := &reader{object: f.object}
	for at := 0; at < f.size; {
		if len(f.top) == maxTop {
			return r.fail(ErrLimit, at, "more than %d boxes at the top level", maxTop)
		}
		x, err := f.header(r, at)
		if err != nil {
			return err
		}
		if x.typ == typeMoov {
			if f.moov.end != 0 {
				return r.malformed(at, "second moov")
			}
			f.moov = x
		}
		f.top = append(f.top, x)
		at = x.end
	}
	switch {
	case f.moov.end == 0:
		return r.malformed(0, "no moov")
	case f.moov.end-f.moov.start > maxMoov:
		return r.fail(ErrLimit, f.moov.start, "moov of %d bytes, more than %d", f.moov.end-f.moov.start, maxMoov)
	}
	return nil
}

// header reads the header of the box at at.
func (f *File) header(r *reader, at int) (box, error) {
	var head [16]byte
	n := min(len(head), f.size-at)
	if err := f.read(head[:n], at); err != nil {
		return box{}, err
	}
	if n < 8 {
		return box{}, r.malformed(at, "%d bytes are too few for a box", n)
	}
	x := box{typ: fourcc(binary.BigEndian.Uint32(head[4:])), start: at, body: at + 8}
	size := uint64(binary.BigEndian.Uint32(head[:]))
	switch {
	case size == 0: // to the end of the file (ISO/IEC 14496-12 §4.2)
		size = uint64(f.size - at)
	case size == 1 && n == 16:
		size = binary.BigEndian.Uint64(head[8:])
		x.body = at + 16
	}
	if size > uint64(f.size-at) || size < uint64(x.body-at) {
		return box{}, r.malformed(at, "box %v of %d bytes where %d are left", x.typ, size, f.size-at)
	}
	x.end = at + int(size)
	return x, nil
}

// read fills b from offset at.
func (f *File) read(b []byte, at int) error {
	n, err := f.src.ReadAt(b, int64(at))
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %s: %d bytes at %d: %w", f.object, len(b), at, err)
}

// Init is the file's moov.
func (f *File) Init() *Init { return f.in }

// Supported is nil if the file can be rekeyed, as far as moov tells.
func (f *File) Supported() error {
	if err := f.in.Supported(); err != nil {
		return err
	}
	if f.in.Encrypted() && f.in.listed > 0 && f.fragmented() {
		r := &reader{object: f.object}
		return r.unsupported(f.moov.start, "moov lists samples and the file has fragments too")
	}
	return nil
}

func (f *File) fragmented() bool {
	for _, x := range f.top {
		if x.typ == typeMoof {
			return true
		}
	}
	return false
}

// KIDs lists the KIDs that moov and the fragments name for media, and those in
// all pssh boxes, each once: it reads every moof.
func (f *File) KIDs() (kids, boxes []key.KID, err error) {
	kids, boxes = f.in.KIDs(), f.in.PSSHKIDs()
	for _, x := range f.top {
		if x.typ != typeMoof {
			continue
		}
		b, err := f.window(x.start, x.end)
		if err != nil {
			return nil, nil, err
		}
		media, more, err := fragmentKIDs(f.in, f.object, b, x)
		if err != nil {
			return nil, nil, err
		}
		for _, kid := range media {
			kids = appendKID(kids, kid)
		}
		for _, kid := range more {
			boxes = appendKID(boxes, kid)
		}
	}
	return kids, boxes, nil
}

// window reads the bytes from from to to into the file's buffer.
func (f *File) window(from, to int) ([]byte, error) {
	if to-from > maxWindow {
		r := &reader{object: f.object}
		return nil, r.fail(ErrLimit, from, "%d bytes that belong together, more than %d", to-from, maxWindow)
	}
	f.buf = grow(f.buf, to-from)
	return f.buf, f.read(f.buf, from)
}
