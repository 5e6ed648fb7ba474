package backup

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/seed-6133abe0/rekey/key"
)

// Entry is one content key of a backup. Entries stand by KID, those without a
// record (JSON null) after all that have one; each KID once in either run.
type Entry struct {
	KID    key.KID
	Key    key.ContentKey  // zero: the key is destroyed
	Record json.RawMessage // JSON, without the wrapped key; not interpreted
}

// MaxRecord is the most bytes that a record may have.
const MaxRecord = 1 << 20

// Kinds of frames.
const (
	frameKey       = 1
	frameDestroyed = 2
	frameEnd       = 3
)

// order checks that entries come as Entry says.
type order struct {
	last key.KID
	bare bool // entries without a record have begun
}

// check says what is wrong with e, or "".
func (o *order) check(e Entry) (reason string) {
	bare := bytes.Equal(e.Record, []byte("null"))
	switch {
	case e.KID.IsZero():
		return "a KID of zeros names no key"
	case len(e.Record) > MaxRecord:
		return fmt.Sprintf("record is longer than %d bytes", MaxRecord)
	case !json.Valid(e.Record):
		return "record is not JSON"
	case bare && e.Key.IsZero():
		return "neither key nor record"
	case o.bare && !bare:
		return "comes after entries without a record"
	}
	if bare && !o.bare {
		o.last, o.bare = key.KID{}, true
	}
	if bytes.Compare(e.KID[:], o.last[:]) <= 0 {
		return "does not come after the KID before it"
	}
	o.last = e.KID
	return ""
}

// entryWriter spells entries and counts them.
type entryWriter struct {
	w     io.Writer
	order order
	buf   []byte
	sum   Summary
}

func (f *entryWriter) put(e Entry) error {
	if reason := f.order.check(e); reason != "" {
		return fmt.Errorf("%w: KID %s: %s", ErrEntry, e.KID, reason)
	}
	defer func() { clear(f.buf[:cap(f.buf)]) }()
	b := f.buf[:0]
	if e.Key.IsZero() {
		b = append(append(b, frameDestroyed), e.KID[:]...)
		f.sum.Destroyed++
	} else {
		raw := e.Key.RevealSecretBytes()
		defer clear(raw[:])
		b = append(append(b, frameKey), e.KID[:]...)
		b = append(b, raw[:]...)
	}
	f.sum.Entries++
	f.buf = binary.BigEndian.AppendUint32(b, uint32(len(e.Record)))
	if _, err := f.w.Write(f.buf); err != nil {
		return err
	}
	_, err := f.w.Write(e.Record)
	return err
}

func (f *entryWriter) end() error {
	b := binary.BigEndian.AppendUint64([]byte{frameEnd}, f.sum.Entries)
	_, err := f.w.Write(binary.BigEndian.AppendUint64(b, f.sum.Destroyed))
	return err
}

// entryReader reads entries from authenticated bytes. They may still be wrong: k
// holders can write what they like.
type entryReader struct {
	r     io.Reader
	order order
	sum   Summary
}

// next is io.EOF after the end frame, if nothing follows it. Its errors are
// *Error of class ErrSyntax, or come from r.
func (f *entryReader) next() (Entry, error) {
	var kind [1]byte
	if err := f.fill(kind[:]); err != nil {
		return Entry{}, err
	}
	switch kind[0] {
	case frameKey, frameDestroyed:
		return f.entry(kind[0])
	case frameEnd:
		return Entry{}, f.finish()
	}
	return Entry{}, f.bad("unknown kind %d", kind[0])
}

func (f *entryReader) entry(kind byte) (Entry, error) {
	var e Entry
	if err := f.fill(e.KID[:]); err != nil {
		return Entry{}, err
	}
	if kind == frameKey {
		var raw [16]byte
		defer clear(raw[:])
		if err := f.fill(raw[:]); err != nil {
			return Entry{}, err
		}
		var err error
		if e.Key, err = key.ContentKeyFromBytes(raw[:]); err != nil {
			return Entry{}, f.bad("key is not 16 bytes")
		}
	} else {
		f.sum.Destroyed++
	}
	var size [4]byte
	if err := f.fill(size[:]); err != nil {
		return Entry{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > MaxRecord {
		return Entry{}, f.bad("record of %d bytes, at most %d", n, MaxRecord)
	}
	e.Record = make(json.RawMessage, n)
	if err := f.fill(e.Record); err != nil {
		return Entry{}, err
	}
	if reason := f.order.check(e); reason != "" {
		return Entry{}, f.bad("KID %s: %s", e.KID, reason)
	}
	f.sum.Entries++
	return e, nil
}

func (f *entryReader) finish() error {
	var counts [16]byte
	if err := f.fill(counts[:]); err != nil {
		return err
	}
	entries, destroyed := binary.BigEndian.Uint64(counts[:8]), binary.BigEndian.Uint64(counts[8:])
	if entries != f.sum.Entries || destroyed != f.sum.Destroyed {
		return f.bad("the end counts %d entries, %d destroyed; there were %d and %d", entries, destroyed, f.sum.Entries, f.sum.Destroyed)
	}
	var more [1]byte
	if n, err := io.ReadFull(f.r, more[:]); n > 0 {
		return f.bad("more follows after the end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

func (f *entryReader) fill(p []byte) error {
	_, err := io.ReadFull(f.r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return f.bad("the last chunk is over before the end")
	}
	return err
}

func (f *entryReader) bad(reason string, args ...any) error {
	return fault(ErrSyntax, fmt.Sprintf("entry %d", f.sum.Entries+1), -1, reason, args...)
}
