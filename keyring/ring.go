package keyring

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Wrapper wraps content keys under one KEK. The providers of package kms are
// Wrappers; kms documents their errors.
type Wrapper interface {
	// ID names the KEK. It never changes.
	ID() string
	// Wrap encrypts k, bound to kid and the KEK.
	Wrap(ctx context.Context, kid key.KID, k key.ContentKey) ([]byte, error)
	// Unwrap decrypts what Wrap made for the same kid, and fails on all else.
	Unwrap(ctx context.Context, kid key.KID, wrapped []byte) (key.ContentKey, error)
}

// Ring is the key records of one control store. It is safe for concurrent use,
// also by many processes.
type Ring struct {
	store   store.Store
	wrapper Wrapper
	log     *audit.Log
	clock   func() time.Time
}

// New returns the ring of the control store s.
func New(s store.Store, w Wrapper, log *audit.Log, clock func() time.Time) *Ring {
	return &Ring{store: s, wrapper: w, log: log, clock: clock}
}

// Get reads a record: ErrNotFound, ErrCorrupt, or an error of the store. No key
// is opened and nothing goes on the log.
func (r *Ring) Get(ctx context.Context, kid key.KID) (Record, error) {
	rec, _, err := r.read(ctx, objectName(kid))
	if err != nil {
		return Record{}, fmt.Errorf("get key %s: %w", kid, err)
	}
	return rec, nil
}

// read also returns the ETag that the record stands at.
func (r *Ring) read(ctx context.Context, name string) (Record, string, error) {
	body, info, err := store.ReadAll(ctx, r.store, name, "", maxRecord, nil)
	if errors.Is(err, store.ErrNotFound) {
		return Record{}, "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return Record{}, "", err
	}
	rec, err := decodeRecord(name, body)
	return rec, info.ETag, err
}

// listAhead is how many records List reads at once.
const listAhead = 16

type listed struct {
	rec Record
	err error
}

// List yields every record in the order of KIDs. One that cannot be read is
// yielded as an error (ErrCorrupt names it) and the walk goes on; if the store
// cannot be listed, or ctx ends, that error is the last.
func (r *Ring) List(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var running sync.WaitGroup
		defer running.Wait()
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		slots := make(chan chan listed, listAhead)
		var ended error // of the listing; read after slots is closed
		running.Go(func() {
			defer close(slots)
			ended = r.readAhead(inner, &running, slots)
		})
		for slot := range slots {
			if l := <-slot; !yield(l.rec, l.err) {
				return
			}
		}
		if ended != nil {
			yield(Record{}, fmt.Errorf("list keys: %w", ended))
		}
	}
}

// readAhead starts reading each record that is listed and sends where it will
// arrive, in order.
func (r *Ring) readAhead(ctx context.Context, running *sync.WaitGroup, slots chan<- chan listed) error {
	for info, err := range r.store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		slot := make(chan listed, 1)
		select {
		case slots <- slot:
		case <-ctx.Done():
			return ctx.Err()
		}
		running.Go(func() {
			rec, _, err := r.read(ctx, info.Key)
			slot <- listed{rec, err}
		})
	}
	return nil
}

// maxTries bounds how often a conditional write that lost is decided again.
const maxTries = 8

// replace writes rec over the version at etag.
func (r *Ring) replace(ctx context.Context, rec Record, etag string) error {
	body, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	_, err = r.store.Put(ctx, objectName(rec.KID), body, store.PutOptions{IfMatch: etag, Attributes: recordAttributes()})
	return err
}

func recordAttributes() store.Attributes {
	return store.Attributes{ContentType: "application/json"}
}

// lost reports an error after which the record is read again and the change
// decided again. After ErrUnavailable the write may have got through.
func lost(err error) bool {
	return errors.Is(err, store.ErrPrecondition) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnavailable)
}

// pause waits before the next try: 5 ms doubled each time, at random within
// that.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(rand.N(5 * time.Millisecond << try))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// now is the time as it reads back from JSON.
func (r *Ring) now() time.Time { return r.clock().UTC().Round(0) }

func (r *Ring) event(s State, reason, rotation string) Event {
	return Event{Time: r.now(), Actor: r.log.Actor(), State: s, Reason: reason, Rotation: rotation}
}
