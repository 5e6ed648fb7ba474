package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// lanes is how many records a Log writes at once. Each has a stream of its own.
const lanes = 16

// Log appends records. It is safe for concurrent use, also beside other Logs in
// other processes.
type Log struct {
	store store.Store
	clock func() time.Time
	actor string
	host  string

	slots chan struct{} // one for each lane in use
	mu    sync.Mutex
	idle  []*lane
}

// lane writes one stream, one entry after the other: the next number is tried
// only when the one before is known to stand, so that there are no gaps.
type lane struct {
	stream string // empty: none yet
	seq    int64  // the next number
	prev   string // digest of the entry before
}

// New returns a log that appends to s, the control store, in the name of actor.
// Records carry the name of the host the log was made on. Nothing is written
// before the first record.
func New(s store.Store, clock func() time.Time, actor string) *Log {
	host, err := os.Hostname()
	if err != nil {
		host = "" // a host without a name still keeps its log
	}
	return &Log{store: s, clock: clock, actor: actor, host: host, slots: make(chan struct{}, lanes)}
}

// Actor is in whose name the log writes.
func (l *Log) Actor() string { return l.actor }

// Append writes r under a new name, before the effect that r records: one
// conditional write, durable when Append returns. Time and Host are set by the
// log; Actor is the log's unless r names another.
//
// An error means that the record may not stand and that the effect must not
// happen; the record may stand all the same. Errors are of class [ErrInvalid], or
// of package store, or the context's.
func (l *Log) Append(ctx context.Context, r Record) error {
	if err := l.append(ctx, r); err != nil {
		return fmt.Errorf("append audit record %s: %w", r.Action, err)
	}
	return nil
}

func (l *Log) append(ctx context.Context, r Record) error {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.slots }()
	way := l.take()
	// Only now, so that a stream's records are in the order of time.
	r.Time = l.clock().UTC().Round(0)
	r.Host = l.host
	if r.Actor == "" {
		r.Actor = l.actor
	}
	err := way.append(ctx, l.store, r)
	if err == nil || errors.Is(err, ErrInvalid) {
		l.giveBack(way)
		return err
	}
	// Whether the record stands is not known. If it does it is the last of its
	// stream, which nobody writes to any more.
	return err
}

func (l *Log) take() *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return &lane{}
	}
	way := l.idle[n-1] // the last one used: a quiet log keeps to one stream
	l.idle = l.idle[:n-1]
	return way
}

func (l *Log) giveBack(way *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, way)
}

func (way *lane) append(ctx context.Context, s store.Store, r Record) error {
	if way.seq >= maxSeq {
		*way = lane{}
	}
	err := way.write(ctx, s, r)
	if way.seq > 0 && errors.Is(err, store.ErrPrecondition) {
		// The number is taken by what is not ours: the sequencer has closed the
		// stream. Nothing of ours was written there, nor ever will be.
		*way = lane{}
		err = way.write(ctx, s, r)
	}
	return err
}

func (way *lane) write(ctx context.Context, s store.Store, r Record) error {
	stream := way.stream
	if stream == "" {
		stream = newStream(r.Time)
	}
	body, err := entry{Stream: stream, Seq: way.seq, Prev: way.prev, Record: &r}.encode()
	if err != nil {
		return err
	}
	// PutOnce: a repeat whose first try got through is a success, not a second
	// record.
	if _, err := store.PutOnce(ctx, s, objectName(stream, way.seq), body, store.Attributes{ContentType: "application/json"}); err != nil {
		return err
	}
	way.stream, way.seq, way.prev = stream, way.seq+1, digest(body)
	return nil
}
