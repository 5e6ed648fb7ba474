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

// box is where a box lies in its object.
type box struct {
	typ              fourcc
	start, body, end int
}

// reader walks the boxes of one object and keeps the path for errors.
type reader struct {
	object string
	b      []byte
	path   []step
}

type step struct {
	typ   fourcc
	index int // among siblings of the type
}

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
	x := box{typ: fourcc(binary.BigEndian.Uint32(r.b[at+4:])), start: at, body: at + 8}
	size := uint64(binary.BigEndian.Uint32(r.b[at:]))
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
		size = binary.BigEndian.Uint64(r.b[at+8:])
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
	at    int // absolute offset
	end   int
	short bool
}

func (r *reader) fields(x box) fields { return fields{b: r.b, at: x.body, end: x.end} }

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
		return f.b[at]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if at := f.skip(2); !f.short {
		return binary.BigEndian.Uint16(f.b[at:])
	}
	return 0
}

func (f *fields) u32() uint32 {
	if at := f.skip(4); !f.short {
		return binary.BigEndian.Uint32(f.b[at:])
	}
	return 0
}

func (f *fields) u64() uint64 {
	if at := f.skip(8); !f.short {
		return binary.BigEndian.Uint64(f.b[at:])
	}
	return 0
}

// full reads the version and flags of a full box.
func (f *fields) full() (version uint8, flags uint32) {
	v := f.u32()
	return uint8(v >> 24), v & 0xffffff
}

func (f *fields) left() int { return f.end - f.at }
