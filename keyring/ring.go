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

// Wrapper wraps content keys under KEKs named by their ids. The providers of
// package kms are Wrappers; kms documents their errors.
type Wrapper interface {
	// Wrap encrypts k, bound to kid and the KEK.
	Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error)
	// Unwrap decrypts what Wrap made for the same kid under the same KEK, and
	// fails on all else.
	Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error)
}

// Rotations tells what a compromised key, or one that has expired, may still be
// opened for.
type Rotations interface {
	// Opened is when a rotation that rotates the key was started. A rotation that
	// is not there, is over, or is of other keys is ErrForbidden; other errors are
	// the store's. A zero KID asks of the rotation alone, whatever its keys.
	Opened(ctx context.Context, rotation string, kid key.KID) (time.Time, error)
}

// Options set up a Ring.
type Options struct {
	// Store is the control store.
	Store store.Store
	// KMS wraps.
	KMS Wrapper
	// KEK is the id of the KEK that keys are wrapped under where the control
	// store names none yet. After that the control store's counts (see UseKEK).
	KEK string
	// FirstKEK, where KEK is empty, says which that is, and may make it. It is not
	// asked where the control store names one: a new KEK there would only hide that
	// the right one is missing. Zero: there is none.
	FirstKEK func(ctx context.Context) (string, error)
	Log      *audit.Log
	// Clock dates events.
	Clock func() time.Time
	// Rotations is asked before a compromised key is opened. Nil: none is.
	Rotations Rotations
	// Window bounds how long after its start a rotation may open a compromised
	// key. Zero: 7 days.
	Window time.Duration
	// Lifetimes say when new keys expire. Zero: never.
	Lifetimes []Lifetime
}

// Ring is the key records of one control store. It is safe for concurrent use,
// also by many processes.
type Ring struct {
	o      Options
	worker bool
	leaves bool // see WithoutUnreadable
	values *values
	asker  Asker
}

// Asker is on whose behalf a ring acts, as the audit log has it. Zero: the log's
// actor.
type Asker struct {
	Person, Role string
	Origin       string // network address
	Client       string // which of the person's tokens
}

// For is the ring for what somebody asked over the network.
func (r *Ring) For(a Asker) *Ring {
	other := *r
	other.asker = a
	return &other
}

// append writes an audit record in the name of who asked.
func (r *Ring) append(ctx context.Context, e audit.Record) error {
	if r.asker.Person != "" {
		e.Actor, e.Role, e.Origin, e.Client = r.asker.Person, r.asker.Role, r.asker.Origin, r.asker.Client
	}
	return r.o.Log.Append(ctx, e)
}

func (r *Ring) actor() string {
	if r.asker.Person != "" {
		return r.asker.Person
	}
	return r.o.Log.Actor()
}

// New returns the ring of a control store.
func New(o Options) *Ring {
	if o.Window == 0 {
		o.Window = 7 * 24 * time.Hour
	}
	return &Ring{o: o, values: &values{}}
}

// AsWorker is the ring for whoever does a rotation's work, who alone may open a
// compromised key.
func (r *Ring) AsWorker() *Ring {
	w := *r
	w.worker = true
	return &w
}

// Get reads a record: ErrNotFound, ErrCorrupt, or an error of the store. No key
// is opened and nothing goes on the log.
func (r *Ring) Get(ctx context.Context, kid key.KID) (Record, error) {
	rec, _, err := r.read(ctx, kid)
	if err != nil {
		return Record{}, fmt.Errorf("get key %s: %w", kid, err)
	}
	return rec, nil
}

// stand says at which version of its object a record was read.
type stand struct {
	etag   string
	behind int // events that the object lacks
}

// read returns a record as its events have it, and where its object stands.
func (r *Ring) read(ctx context.Context, kid key.KID) (Record, stand, error) {
	rec, etag, err := r.readObject(ctx, objectName(kid))
	if err != nil {
		return Record{}, stand{}, err
	}
	behind, err := r.catchUp(ctx, &rec)
	if err == nil && behind == 0 {
		err = r.vouch(ctx, rec)
	}
	if err != nil {
		return Record{}, stand{}, err
	}
	return rec, stand{etag, behind}, nil
}

func (r *Ring) readObject(ctx context.Context, name string) (Record, string, error) {
	body, info, err := store.ReadAll(ctx, r.o.Store, name, "", maxRecord, nil)
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
// arrive, in order. It walks the anchors beside them, so that only a record that
// lacks events costs a look for them.
func (r *Ring) readAhead(ctx context.Context, running *sync.WaitGroup, slots chan<- chan listed) error {
	next, stop := iter.Pull2(r.anchored(ctx))
	defer stop()
	send := func() (chan<- listed, error) {
		slot := make(chan listed, 1)
		select {
		case slots <- slot:
			return slot, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	at, err, more := next()
	// pass goes on to the anchors of the keys from name on; what is no anchor is
	// yielded as an error.
	pass := func(name string) error {
		for more && (err != nil || name == "" || objectName(at.kid) < name) {
			if err != nil && !errors.Is(err, ErrCorrupt) {
				return err
			}
			if err != nil {
				slot, sendErr := send()
				if sendErr != nil {
					return sendErr
				}
				slot <- listed{err: err}
			}
			at, err, more = next()
		}
		return nil
	}
	for info, listErr := range r.o.Store.List(ctx, prefix) {
		if listErr != nil {
			return listErr
		}
		if err := pass(info.Key); err != nil {
			return err
		}
		slot, err := send()
		if err != nil {
			return err
		}
		events := 0
		if more && objectName(at.kid) == info.Key {
			events = at.n
		}
		running.Go(func() {
			rec, err := r.readListed(ctx, info.Key, events)
			slot <- listed{rec, err}
		})
	}
	return pass("")
}

// readListed reads a record that has that many events at least.
func (r *Ring) readListed(ctx context.Context, name string, events int) (Record, error) {
	rec, _, err := r.readObject(ctx, name)
	if err != nil {
		return rec, err
	}
	if len(rec.History) >= events {
		if err := r.vouch(ctx, rec); err != nil {
			return Record{}, err
		}
		return rec, nil
	}
	if _, err := r.catchUp(ctx, &rec); err != nil {
		return Record{}, err
	}
	if n := len(rec.History); n < events {
		return Record{}, corrupt(anchorName(rec.KID, n+1), -1, fmt.Sprintf("is missing, and event %d is there", events))
	}
	return rec, nil
}

// maxTries bounds how often a conditional write that lost is decided again.
const maxTries = 8

// replace writes rec over the version at etag.
func (r *Ring) replace(ctx context.Context, rec Record, etag string) error {
	body, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	_, err = r.o.Store.Put(ctx, objectName(rec.KID), body, store.PutOptions{IfMatch: etag, Attributes: recordAttributes()})
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
func (r *Ring) now() time.Time { return r.o.Clock().UTC().Round(0) }

func (r *Ring) event(s State, reason, rotation string) Event {
	return Event{Time: r.now(), Actor: r.actor(), State: s, Reason: reason, Rotation: rotation}
}
