package cenc

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// fourcc is a box or grouping type.
type fourcc uint32

func (f fourcc) String() string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(f))
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b[:])
}

// box is where a box lies in its object, by offsets from the object's start. An
// offset is an int: rekey is built for 64-bit machines.
type box struct {
	typ              fourcc
	start, body, end int
}

// reader walks the boxes of one object and keeps the path for errors. b may be a
// window of the object; all offsets count from the object's start.
type reader struct {
	object string
	b      []byte
	base   int // where b begins in the object
	path   []step
}

type step struct {
	typ   fourcc
	index int // among siblings of the type
}

// end is where the window ends.
func (r *reader) end() int { return r.base + len(r.b) }

// bytes are those of a span that lies within the window.
func (r *reader) bytes(from, to int) []byte { return r.b[from-r.base : to-r.base] }

func (r *reader) push(typ fourcc, index int) { r.path = append(r.path, step{typ, index}) }
func (r *reader) pop()                       { r.path = r.path[:len(r.path)-1] }

// fail makes an Error at the current path.
func (r *reader) fail(class error, at int, format string, a ...any) error {
	var path strings.Builder
	for i, s := range r.path {
		if i > 0 {
			path.WriteByte('/')
		}
		path.WriteString(s.typ.String())
		if s.index > 0 {
			fmt.Fprintf(&path, "[%d]", s.index)
		}
	}
	if path.Len() == 0 {
		path.WriteString("file")
	}
	return &Error{r.object, path.String(), int64(at), fmt.Sprintf(format, a...), class}
}

func (r *reader) malformed(at int, format string, a ...any) error {
	return r.fail(ErrMalformed, at, format, a...)
}

func (r *reader) unsupported(at int, format string, a ...any) error {
	return r.fail(ErrUnsupported, at, format, a...)
}

// box reads the header at at, of a box that must end by end (ISO/IEC 14496-12
// §4.2). Size 0, to the end of the file, is for the top level only.
func (r *reader) box(at, end int) (box, error) {
	if end-at < 8 {
		return box{}, r.malformed(at, "%d bytes are too few for a box", end-at)
	}
	head := r.b[at-r.base:]
	x := box{typ: fourcc(binary.BigEndian.Uint32(head[4:])), start: at, body: at + 8}
	size := uint64(binary.BigEndian.Uint32(head))
	switch size {
	case 0:
		if len(r.path) > 0 {
			return box{}, r.malformed(at, "box %v of size 0 inside another", x.typ)
		}
		size = uint64(end - at)
	case 1:
		if end-at < 16 {
			return box{}, r.malformed(at, "box %v ends in its header", x.typ)
		}
		size = binary.BigEndian.Uint64(head[8:])
		x.body = at + 16
	}
	if size > uint64(end-at) || size < uint64(x.body-at) {
		return box{}, r.malformed(at, "box %v of %d bytes where %d are left", x.typ, size, end-at)
	}
	x.end = at + int(size)
	return x, nil
}

// fields reads the big-endian fields of a box body one after another. Reading
// past the end sets short, and gives zeros.
type fields struct {
	b     []byte
	base  int
	at    int // offset in the object
	end   int
	short bool
}

func (r *reader) fields(x box) fields { return fields{b: r.b, base: r.base, at: x.body, end: x.end} }

// skip passes n bytes and returns the offset where they begin.
func (f *fields) skip(n int) int {
	at := f.at
	if n < 0 || n > f.end-f.at {
		f.short, f.at = true, f.end
		return at
	}
	f.at += n
	return at
}

func (f *fields) u8() uint8 {
	if at := f.skip(1); !f.short {
		return f.b[at-f.base]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if at := f.skip(2); !f.short {
		return binary.BigEndian.Uint16(f.b[at-f.base:])
	}
	return 0
}

func (f *fields) u32() uint32 {
	if at := f.skip(4); !f.short {
		return binary.BigEndian.Uint32(f.b[at-f.base:])
	}
	return 0
}

func (f *fields) u64() uint64 {
	if at := f.skip(8); !f.short {
		return binary.BigEndian.Uint64(f.b[at-f.base:])
	}
	return 0
}

// full reads the version and flags of a full box.
func (f *fields) full() (version uint8, flags uint32) {
	v := f.u32()
	return uint8(v >> 24), v & 0xffffff
}

func (f *fields) left() int { return f.end - f.at }

// each calls fn for every box inside x.
func (r *reader) each(x box, fn func(box) error) error {
	for at := x.body; at < x.end; {
		child, err := r.box(at, x.end)
		if err != nil {
			return err
		}
		at = child.end
		if err := fn(child); err != nil {
			return err
		}
	}
	return nil
}

// inside is each, with x on the path.
func (r *reader) inside(x box, fn func(box) error) error {
	r.push(x.typ, 0)
	defer r.pop()
	return r.each(x, fn)
}
