package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Entries reads the backup from its beginning and yields every entry from
// authenticated chunks. The walk is complete only if no error was yielded; an error is
// the last thing yielded: *Error of class ErrForeign, ErrDamaged or ErrSyntax,
// ErrClosed, or of r. It holds one entry and one chunk at a time.
func (u *Unlocked) Entries(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		_, err := u.walk(r, func(e Entry) bool { return yield(e, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(Entry{}, fmt.Errorf("read backup: %w", err))
		}
	}
}

// Verify reads the whole backup and gives out nothing of it but its counts. Its
// errors are those of Entries.
func (u *Unlocked) Verify(r io.Reader) (Summary, error) {
	digest := sha256.New()
	in := &countReader{r: io.TeeReader(r, digest)}
	sum, err := u.walk(in, func(Entry) bool { return true })
	if err != nil {
		return Summary{}, fmt.Errorf("verify backup: %w", err)
	}
	sum.Bytes, sum.SHA256 = in.n, hex.EncodeToString(digest.Sum(nil))
	return sum, nil
}

// errStopped: the caller wanted no more entries.
var errStopped = errors.New("stopped")

func (u *Unlocked) walk(r io.Reader, each func(Entry) bool) (Summary, error) {
	br := bufio.NewReaderSize(r, maxLine)
	h, err := readHeader(br)
	if err != nil {
		return Summary{}, err
	}
	chunks, err := u.chunks(br, h)
	if err != nil {
		return Summary{}, err
	}
	defer chunks.wipe()
	frames := &entryReader{r: chunks}
	for {
		e, err := frames.next()
		if errors.Is(err, io.EOF) {
			return frames.sum, nil
		}
		if err != nil {
			return Summary{}, err
		}
		if !each(e) {
			return Summary{}, errStopped
		}
	}
}

// chunks opens the part after h, if that is the header the master belongs to.
func (u *Unlocked) chunks(br *bufio.Reader, h *Header) (*chunkReader, error) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	if h.manifest != u.m.h.manifest {
		return nil, fault(ErrForeign, "manifest", 0, "is of %.8s…, the shares are of %.8s…", h.Fingerprint(), u.m.h.Fingerprint())
	}
	aead, err := u.m.aead(labelChunks, h.whole)
	if err != nil {
		return nil, err
	}
	return newChunkReader(br, aead, h.size), nil
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
