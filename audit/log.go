package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// Prefix is where records stand in the control store.
const Prefix = "audit/records/"

// nameTime is 20060102T150405 with nanoseconds: names sort as times do.
const nameTime = "20060102T150405.000000000Z"

// Log appends records. It is safe for concurrent use.
type Log struct {
	store store.Store
	clock func() time.Time
	actor string
	host  string
}

// New returns a log that appends to s, the control store, in the name of actor.
// Records carry the name of the host the log was made on.
func New(s store.Store, clock func() time.Time, actor string) *Log {
	host, err := os.Hostname()
	if err != nil {
		host = "" // a host without a name still keeps its log
	}
	return &Log{store: s, clock: clock, actor: actor, host: host}
}

// Actor is in whose name the log writes.
func (l *Log) Actor() string { return l.actor }

// Append writes r under a new name, before the effect that r records. Time and
// Host are set by the log; Actor is the log's unless r names another.
//
// An error means that the record may not stand and that the effect must not
// happen. Errors are of class [ErrInvalid], or of package store.
func (l *Log) Append(ctx context.Context, r Record) error {
	r.Time = l.clock().UTC().Round(0)
	r.Host = l.host
	if r.Actor == "" {
		r.Actor = l.actor
	}
	body, err := encode(r)
	if err != nil {
		return fmt.Errorf("append audit record %s: %w", r.Action, err)
	}
	// PutOnce: a repeat whose first try got through is a success, not a second
	// record.
	if _, err := store.PutOnce(ctx, l.store, newName(r.Time), body, store.Attributes{ContentType: "application/json"}); err != nil {
		return fmt.Errorf("append audit record %s: %w", r.Action, err)
	}
	return nil
}

func newName(t time.Time) string {
	var tail [8]byte
	_, _ = rand.Read(tail[:]) // never fails: it crashes the program instead
	return Prefix + t.Format(nameTime) + "-" + hex.EncodeToString(tail[:]) + ".json"
}

// nameFits reports whether name is one that newName makes for t.
func nameFits(name string, t time.Time) bool {
	rest, ok := strings.CutPrefix(name, Prefix+t.UTC().Format(nameTime)+"-")
	if !ok {
		return false
	}
	tail, ok := strings.CutSuffix(rest, ".json")
	if !ok || len(tail) != 16 || tail != strings.ToLower(tail) {
		return false
	}
	_, err := hex.DecodeString(tail)
	return err == nil
}

// Read yields every record in the order of their names, which is the order of
// time. One that does not read is yielded as an *Error of class [ErrCorrupt]
// and the walk goes on; if the store cannot be listed, that error is the last.
func Read(ctx context.Context, s store.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for info, err := range s.List(ctx, Prefix) {
			if err != nil {
				yield(Record{}, fmt.Errorf("list audit records: %w", err))
				return
			}
			if r, err := readOne(ctx, s, info.Key); !yield(r, err) {
				return
			}
		}
	}
}

func readOne(ctx context.Context, s store.Reader, name string) (Record, error) {
	body, _, err := store.ReadAll(ctx, s, name, "", maxRecord, nil)
	if err != nil {
		return Record{}, fmt.Errorf("read audit record: %w", err)
	}
	return decode(name, body)
}
