package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
)

// Where a stream's objects stand in the control store.
const (
	headsPrefix   = "audit/heads/"
	recordsPrefix = "audit/records/"
)

const (
	headSuffix   = ".json"
	closedSuffix = ".closed"

	streamTime = "20060102T150405Z" // stream ids sort as the times they began
	hourChars  = len("20060102T15")
	numberLen  = 10

	// maxEntry bounds one object, in bytes: what an entry bundle can hold.
	maxEntry = 1<<16 - 1
	// maxSeq bounds a stream, so that to list one stays cheap.
	maxSeq = 1 << 20
)

// entry is one object of a stream: a record, or the stream's end.
type entry struct {
	Stream string `json:"stream"`
	Seq    int64  `json:"seq"`
	// Prev is the SHA-256 of the object before, in hex; empty for the first.
	Prev   string  `json:"prev,omitempty"`
	Closed bool    `json:"closed,omitempty"`
	Record *Record `json:"record,omitempty"`
}

// id is how a record is named to people: stream/number.
func (e entry) id() string { return e.Stream + "/" + strconv.FormatInt(e.Seq, 10) }

func newStream(t time.Time) string {
	var tail [8]byte
	_, _ = rand.Read(tail[:]) // never fails: it crashes the program instead
	return t.UTC().Format(streamTime) + "-" + hex.EncodeToString(tail[:])
}

// streamBegan reads a stream's id.
func streamBegan(id string) (time.Time, bool) {
	if len(id) != len(streamTime)+1+16 || id[len(streamTime)] != '-' {
		return time.Time{}, false
	}
	if strings.Trim(id[len(streamTime)+1:], "0123456789abcdef") != "" {
		return time.Time{}, false
	}
	t, err := time.Parse(streamTime, id[:len(streamTime)])
	return t, err == nil && t.Year() >= 1 && t.Format(streamTime) == id[:len(streamTime)]
}

// objectName is where the entry of a stream with a number stands.
func objectName(stream string, seq int64) string {
	if seq == 0 {
		return headsPrefix + stream[:hourChars] + "/" + stream + headSuffix
	}
	return streamPrefix(stream) + fmt.Sprintf("%0*d", numberLen, seq) + ".json"
}

// streamPrefix is where the entries after the first stand.
func streamPrefix(stream string) string {
	return recordsPrefix + stream[:hourChars] + "/" + stream + "/"
}

func closedName(stream string) string {
	return headsPrefix + stream[:hourChars] + "/" + stream + closedSuffix
}

// closedBody says how many entries the closed stream has.
func closedBody(stream string, entries int64) []byte {
	return fmt.Appendf(nil, "%s %d\n", stream, entries)
}

// parseHead reads a name under headsPrefix.
func parseHead(name string) (stream string, closed, ok bool) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if s, is := strings.CutSuffix(base, closedSuffix); is {
		stream, closed = s, true
	} else if stream, is = strings.CutSuffix(base, headSuffix); !is {
		return "", false, false
	}
	if _, ok := streamBegan(stream); !ok {
		return "", false, false
	}
	return stream, closed, name == objectName(stream, 0) || name == closedName(stream)
}

// parseName reads the name of an entry, whether it is its stream's first or not.
func parseName(name string) (stream string, seq int64, ok bool) {
	if strings.HasPrefix(name, headsPrefix) {
		stream, closed, ok := parseHead(name)
		return stream, 0, ok && !closed
	}
	rest, ok := strings.CutSuffix(name, ".json")
	if !ok {
		return "", 0, false
	}
	i := strings.LastIndexByte(rest, '/')
	if i < 0 || len(rest)-i-1 != numberLen {
		return "", 0, false
	}
	seq, err := strconv.ParseInt(rest[i+1:], 10, 64)
	if err != nil || seq < 1 || seq > maxSeq {
		return "", 0, false
	}
	stream = rest[strings.LastIndexByte(rest[:i], '/')+1 : i]
	if _, ok := streamBegan(stream); !ok || objectName(stream, seq) != name {
		return "", 0, false
	}
	return stream, seq, true
}

// ParseID reads a record's id, stream/number, or the name of its object.
func ParseID(id string) (object string, err error) {
	if _, _, ok := parseName(id); ok {
		return id, nil
	}
	stream, number, ok := strings.Cut(id, "/")
	if _, good := streamBegan(stream); ok && good {
		if seq, err := strconv.ParseInt(number, 10, 64); err == nil && seq >= 0 && seq <= maxSeq && strconv.FormatInt(seq, 10) == number {
			return objectName(stream, seq), nil
		}
	}
	return "", fmt.Errorf("%w: %q names no audit record", ErrInvalid, id)
}

func (e entry) check() error {
	began, ok := streamBegan(e.Stream)
	switch {
	case !ok:
		return fmt.Errorf("%w: stream has no valid id", ErrInvalid)
	case e.Seq < 0 || e.Seq > maxSeq:
		return fmt.Errorf("%w: number %d is out of range", ErrInvalid, e.Seq)
	case (e.Prev == "") != (e.Seq == 0):
		return fmt.Errorf("%w: no hash of the entry before, or one of none", ErrInvalid)
	case e.Closed == (e.Record != nil):
		return fmt.Errorf("%w: neither a record nor a closing, or both", ErrInvalid)
	case e.Closed && e.Seq == 0:
		return fmt.Errorf("%w: a stream begins with its end", ErrInvalid)
	case e.Closed:
		return nil
	}
	if b, err := hex.DecodeString(e.Prev); err != nil || e.Seq > 0 && len(b) != sha256.Size {
		return fmt.Errorf("%w: hash of the entry before is none", ErrInvalid)
	}
	if err := e.Record.check(); err != nil {
		return err
	}
	if e.Seq == 0 && !e.Record.Time.UTC().Truncate(time.Second).Equal(began) {
		return fmt.Errorf("%w: the first record is not of the time its stream began", ErrInvalid)
	}
	return nil
}

func (e entry) encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(b) >= maxEntry {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrInvalid, len(b)+1, maxEntry)
	}
	return append(b, '\n'), nil
}

// decodeEntry reads an entry from wherever it is kept, which object names.
func decodeEntry(object string, b []byte) (entry, error) {
	var e entry
	if err := decodeJSON(object, b, &e); err != nil {
		return entry{}, err
	}
	if err := e.check(); err != nil {
		return entry{}, &Error{Object: object, Offset: -1, Reason: err.Error(), Class: ErrCorrupt}
	}
	return e, nil
}

// decodeObject reads the entry that stands under name: its fields, and that it
// is the entry that the name says.
func decodeObject(name string, b []byte) (entry, error) {
	e, err := decodeEntry(name, b)
	if err != nil {
		return entry{}, err
	}
	if objectName(e.Stream, e.Seq) != name {
		return entry{}, corrupt(name, "is not the record of this name")
	}
	return e, nil
}

func decodeJSON(object string, b []byte, v any) error {
	err := strictjson.Decode(b, v)
	if err == nil {
		return nil
	}
	if at, ok := errors.AsType[*strictjson.Error](err); ok {
		return &Error{Object: object, Offset: at.Offset, Reason: at.Reason, Class: ErrCorrupt}
	}
	return &Error{Object: object, Offset: -1, Reason: err.Error(), Class: ErrCorrupt}
}

// digest is what the next entry of the stream carries as Prev.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
