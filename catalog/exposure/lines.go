package exposure

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
)

// lineReader splits a log into lines of bounded length.
type lineReader struct {
	in     *bufio.Reader
	number int64 // of the line that next returned
	kept   []byte
}

// next returns a line without its end, which the following call overwrites. Of a
// line over the bound it says so, and returns none of it. io.EOF: there is none.
func (r *lineReader) next() (line []byte, long bool, err error) {
	r.number++
	part, err := r.in.ReadSlice('\n')
	if err == nil {
		return trimEnd(part), false, nil
	}
	r.kept = r.kept[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		if long = long || len(r.kept)+len(part) > maxLine; !long {
			r.kept = append(r.kept, part...)
		}
		part, err = r.in.ReadSlice('\n')
	}
	long = long || len(r.kept)+len(part) > maxLine+len("\r\n")
	switch {
	case err == nil || errors.Is(err, io.EOF) && (long || len(r.kept)+len(part) > 0):
		if long {
			return nil, true, nil
		}
		r.kept = append(r.kept, part...)
		line = trimEnd(r.kept)
		return line, len(line) > maxLine, nil
	default:
		return nil, false, err
	}
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// sticky returns an error again and again: peeking takes it out of a bufio.Reader,
// and a log must not end where its reader failed.
type sticky struct {
	in  io.Reader
	err error
}

func (s *sticky) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.in.Read(p)
	s.err = err
	return n, err
}

// bounded reads at most left bytes and then fails with ErrTooLarge.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

// damaged reports an error that says that gzip data are not whole.
func damaged(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt)
}
